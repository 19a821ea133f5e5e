/** A whole Debian with a real systemd as its PID 1, booted from a folder by systemd-nspawn. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { must, sh, until } from './shell.mjs';

const LAB = fileURLToPath(new URL('lab/', import.meta.url));
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export class Machine {
  constructor(root) {
    this.root = root;
    this.run = `${root}.run`;
  }

  /** Why it cannot be had here, or undefined. */
  static async missing() {
    if (process.platform !== 'linux') return 'needs Linux';
    if (process.getuid?.() !== 0) return 'needs root (systemd-nspawn)';
    for (const [tool, name] of [
      ['debootstrap', 'debootstrap'],
      ['systemd-nspawn', 'systemd-container'],
    ]) {
      if ((await sh('sh', ['-c', `command -v ${tool}`])).code !== 0)
        return `${tool} is not installed (apt install ${name})`;
    }
    return undefined;
  }

  /** Makes the root where it is not there yet: a minute, and the network. */
  async make() {
    mkdirSync(dirname(this.root), { recursive: true });
    await must(join(LAB, 'rootfs.sh'), [this.root]);
  }

  write(path, text, mode = 0o644) {
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text, { mode });
  }

  /** In the root, not booted. */
  chroot(command) {
    return must('chroot', [this.root, 'sh', '-c', command], { env: { PATH } });
  }

  async boot() {
    await must(join(LAB, 'boot.sh'), [this.root, this.run]);
    this.leader = readFileSync(join(this.run, 'leader.pid'), 'utf8').trim();
    await until('systemd is up', async () =>
      /running|degraded/.test((await this.try('systemctl is-system-running')).out),
    );
  }

  /** A shell command inside; gives code, out and err. */
  try(command, input) {
    const args = ['-t', this.leader, '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w', '--'];
    const env = [
      'env',
      '-i',
      `PATH=${PATH}`,
      'TERM=dumb',
      'SYSTEMD_COLORS=0',
      'SYSTEMD_PAGER=cat',
      'LC_ALL=C.UTF-8',
    ];
    return sh('nsenter', [...args, ...env, 'sh', '-c', command], { input, timeoutMs: 180_000 });
  }

  /** The output of a command that must work. */
  async do(command, input) {
    const { code, out, err } = await this.try(command, input);
    if (code !== 0) throw new Error(`${command}: exit code ${code}: ${(err + out).slice(-2000)}`);
    return out.trim();
  }

  /** Asks the server inside. */
  asker(url, password) {
    return async (method, path, body, seconds = 20) => {
      const auth = password ? `-u 'opencode:${password}'` : '';
      const data = body === undefined ? '' : "-H 'content-type: application/json' --data-binary @-";
      const out = await this.do(
        `curl -s -N -m ${seconds} -o - -w '\\n%{http_code}' -X ${method} ${auth} ${data} '${url}${path}' || true`,
        body === undefined ? undefined : JSON.stringify(body),
      );
      const cut = out.lastIndexOf('\n');
      return { status: Number(out.slice(cut + 1)), text: out.slice(0, Math.max(0, cut)) };
    };
  }

  async property(unit, name) {
    return this.do(`systemctl show -P ${name} ${unit}`);
  }

  async halt() {
    if (!this.leader) return;
    await sh('kill', ['-s', 'RTMIN+3', this.leader]);
    const nspawn = readFileSync(join(this.run, 'nspawn.pid'), 'utf8').trim();
    try {
      await until('halted', async () => (await sh('kill', ['-0', nspawn])).code !== 0, 30_000);
    } catch {
      // Its PID 1: everything inside ends with it.
      await sh('kill', ['-9', this.leader]);
    }
  }
}
