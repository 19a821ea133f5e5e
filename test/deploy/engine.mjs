/** A container engine for the trials: podman with a store of its own, so that nobody else's images are touched. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { must, sh } from './shell.mjs';

const LAB = fileURLToPath(new URL('lab/', import.meta.url));
export const NODE_IMAGE = 'docker.io/library/node:24-bookworm-slim';

export class Engine {
  constructor(lab) {
    this.lab = lab;
    this.env = {
      ...process.env,
      CONTAINERS_STORAGE_CONF: join(lab, 'storage.conf'),
      CONTAINERS_CONF: join(lab, 'containers.conf'),
      DISABLE_HC_SYSTEMD: 'true',
    };
    this.made = [];
  }

  /** Why it cannot be had here, or undefined. */
  static async missing() {
    if (process.platform !== 'linux') return 'needs Linux';
    if (process.getuid?.() !== 0) return 'needs root (its own store, namespaces of containers)';
    for (const tool of ['podman', 'runc', 'curl', 'debootstrap']) {
      if ((await sh('sh', ['-c', `command -v ${tool}`])).code !== 0)
        return `${tool} is not installed (apt install podman buildah runc conmon catatonit curl debootstrap)`;
    }
    return undefined;
  }

  /** Makes the store, and the base image: pulled where a registry is reachable, else made from Debian. */
  async make() {
    await must(join(LAB, 'podman.sh'), [this.lab]);
    if ((await this.try(['image', 'exists', NODE_IMAGE])).code === 0) return;
    if ((await this.try(['pull', '--quiet', NODE_IMAGE])).code === 0) return;
    await must(join(LAB, 'node-image.sh'), [this.lab, NODE_IMAGE], { env: this.env });
  }

  try(args, options = {}) {
    return sh('podman', args, { env: this.env, ...options });
  }

  do(args) {
    return must('podman', args, { env: this.env });
  }

  build(tag, context, ...more) {
    const volumes = [
      `--volume=${join(this.lab, 'ca.crt')}:/etc/ssl/certs/ca-certificates.crt:ro`,
      `--volume=${join(this.lab, 'npmrc')}:/usr/local/etc/npmrc:ro`,
    ];
    const flags = ['--format=docker', '--pull=never', '--isolation=chroot', '--network=host'];
    return this.do(['build', ...flags, ...volumes, '-t', tag, ...more, context]);
  }

  async start(name, image, flags = [], args = []) {
    await this.try(['rm', '-fv', '--depend', '-t', '0', name]);
    this.made.push(name);
    await this.do(['run', '-d', '--name', name, ...flags, image, ...args]);
  }

  async inspect(name, format) {
    return this.do(['inspect', '--format', format, name]);
  }

  logs(name) {
    return this.try(['logs', name]).then(({ out, err }) => out + err);
  }

  /** Asks a server in the network of a container; see opencode.mjs. */
  asker(name, url, password) {
    return async (method, path, body, seconds = 20) => {
      const pid = await this.inspect(name, '{{.State.Pid}}');
      const args = [
        '-t',
        pid,
        '-n',
        'curl',
        '-s',
        '-N',
        '-m',
        `${seconds}`,
        '-w',
        '\n%{http_code}',
        '-X',
        method,
      ];
      if (password) args.push('-u', `opencode:${password}`);
      if (body !== undefined)
        args.push('-H', 'content-type: application/json', '--data-binary', '@-');
      const { out } = await sh('nsenter', [...args, url + path], {
        input: body === undefined ? undefined : JSON.stringify(body),
      });
      const cut = out.lastIndexOf('\n');
      return { status: Number(out.slice(cut + 1)), text: out.slice(0, Math.max(0, cut)) };
    };
  }

  /** The engine's API on a socket, for Compose; ends with `kill`. */
  serve(socket) {
    return spawn('podman', ['system', 'service', '--time=0', `unix://${socket}`], {
      env: this.env,
      stdio: 'ignore',
    });
  }

  /** Removes what was started, last first: who joined a namespace goes before who made it. */
  async clean() {
    for (const name of this.made.splice(0).reverse())
      await this.try(['rm', '-fv', '--depend', '-t', '1', name]);
  }
}
