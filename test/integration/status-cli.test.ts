/** `status`, `pause`, `resume`, `restart`, `abort`, `completion` as a person runs them, beside a daemon that watches. */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { CLI, startDaemon, type TestDaemon } from '../support/daemon.js';
import { withUnits } from '../support/durations.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';
import { waitFor } from '../support/wait.js';

/** util-linux's, which every Debian has: it gives a command a terminal. */
const SCRIPT = '/usr/bin/script';
const NO_TERMINAL = existsSync(SCRIPT) ? '' : ` (skipped: ${SCRIPT} is not installed)`;

let folder: string;
let file: string;
let server: FakeOpencode;
let daemon: TestDaemon;
const env = () => ({ PATH: process.env.PATH, HOME: folder, TZ: 'UTC' });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watchdog-status-cli-'));
  server = await startFakeOpencode();
  const config = {
    server: { url: server.url, control: 'observe' },
    watch: { pollInterval: 200 },
    probe: { interval: 200 },
    status: { listen: `unix:${join(folder, 'status.sock')}` },
  };
  file = join(folder, 'config.yaml');
  await writeFile(file, stringify(withUnits(config)));
  daemon = await startDaemon({ config, env: env() });
  await Promise.all([daemon.saw('status.listening'), daemon.saw('stream.connected')]);
});
afterAll(async () => {
  await daemon?.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

function run(...args: string[]) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    const options = { env: env(), cwd: folder };
    execFile(process.execPath, [CLI, ...args], options, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err });
    });
  });
}
const here = (...args: string[]) => run(...args, '--config', file);

/** What the endpoint says of the active sessions. */
function seen(): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ socketPath: join(folder, 'status.sock'), path: '/status' }, (response) => {
      text(response).then(resolve, reject);
    }).on('error', reject);
  });
}

function session(title: string, health: 'busy' | 'retry') {
  const { id } = server.addSession({ title, directory: '/home/ada/shop' });
  const next = Date.now() + 120_000;
  const retry = { type: 'retry', attempt: 2, message: 'Rate limit reached', next };
  server.setStatus(id, health === 'busy' ? { type: 'busy' } : retry);
  return id;
}

describe('status', () => {
  it('prints everything to a pipe, and what one wants to know in at most 20 lines to a terminal', async () => {
    const ids = Array.from({ length: 14 }, (_, i) =>
      session(`Session number ${i}`, i % 2 ? 'busy' : 'retry'),
    );
    await daemon.saw('session.health', { sessionID: ids.at(-1)! });
    const { code, out, err } = await here('status');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const lines = out.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^server {4}healthy {2}for .*1\.18\.33.* http:\/\/127\.0\.0\.1:\d+$/);
    expect(lines[1]).toMatch(/^watchdog {2}\d.*up .*pid \d+/);
    expect(lines[2]).toBe('sessions  7 retrying, 7 busy');
    expect(out).toMatch(/^retrying .* shop .* attempt 2 of 12, Rate limit reached, next in/m);
    for (const id of ids) expect(out).toContain(id);
    expect(out).not.toContain('\u001b');
    if (NO_TERMINAL === '') {
      const shown = plain(await inTerminal(100, `status --config ${file}`));
      expect(shown.split('\n').length).toBeLessThanOrEqual(20);
      expect(shown).toContain('… and 5 more');
    }
    for (const id of ids) server.setStatus(id, { type: 'idle' });
    await daemon.saw('session.health', { sessionID: ids.at(-1)!, health: 'idle' });
  });

  it('prints JSON, which is what the endpoint says', async () => {
    const { code, out } = await here('status', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ server: { health: 'healthy' }, openIncidents: 0 });
  });

  it('ends with 3 where no daemon runs, and says where it looked', async () => {
    const listen = '127.0.0.1:1';
    const other = join(folder, 'other.yaml');
    await writeFile(other, stringify({ status: { listen } }));
    expect(await run('status', '--config', other)).toEqual({
      code: 3,
      out: '',
      err: `opencode-watchdog: no daemon answers at ${listen} (status.listen): nobody listens there\n`,
    });
    await writeFile(other, stringify({ status: { listen: 'off' } }));
    expect((await run('pause', '--config', other)).code).toBe(3);
  });
});

describe.skipIf(NO_TERMINAL !== '')(`on a terminal${NO_TERMINAL}`, () => {
  it.each([
    ['wide', 140],
    ['narrow', 48],
    ['of 80 columns', 80],
  ])('a %s one gets colours, and no line is broken', async (_name, columns) => {
    const id = session('Investigate a rather long-winded problem', 'retry');
    await daemon.saw('session.health', { sessionID: id, health: 'retrying' });
    // What the endpoint says may be a quarter of a second old.
    await waitFor(async () => (await seen()).includes(id), { interval: 50 });
    const out = await inTerminal(columns, `status --config ${file}`);
    expect(plain(out)).toContain(columns === 80 ? id.slice(-6) : id);
    expect(out).toContain('\u001b[32mhealthy\u001b[39m');
    expect(out).toContain('\u001b[33mretrying\u001b[39m');
    const lines = plain(out).split('\n');
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns);
    // The last of them is what follows the last line's end.
    expect(lines.length).toBeLessThanOrEqual(21);
    server.setStatus(id, { type: 'idle' });
  });

  it('refreshes in place with --watch, follows changes, and leaves the terminal as it was', async () => {
    const child = spawn(
      SCRIPT,
      [
        '-qefc',
        `stty cols 100 rows 30; exec ${process.execPath} ${CLI} status --watch --config ${file}`,
        '/dev/null',
      ],
      {
        env: { ...env(), TERM: 'xterm' },
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    const exited = new Promise<number | null>((resolve) => child.on('exit', resolve));
    try {
      await waitFor(
        () => out.includes('\u001b[?1049h') && plain(out).includes('server    healthy'),
        { interval: 20 },
      );
      const id = session('Seen while watching', 'busy');
      await waitFor(() => plain(out).includes('Seen while watching'), { interval: 20 });
      // Each picture begins at the top: the screen does not scroll.
      expect(out.split('\u001b[H').length).toBeGreaterThan(2);
      expect(plain(out)).toContain('q ends, / searches');
      child.stdin.write('/nothing that is there\r');
      await waitFor(() => plain(out).includes('/nothing that is there  q ends'), { interval: 20 });
      server.setStatus(id, { type: 'idle' });
      child.stdin.write('q');
      expect(await exited).toBe(0);
      expect(out.indexOf('\u001b[?1049l')).toBeGreaterThan(out.indexOf('\u001b[?25h'));
    } finally {
      child.kill('SIGKILL');
    }
  });
});

describe('acts', () => {
  it('pauses and resumes the daemon', async () => {
    expect(await here('pause')).toMatchObject({ code: 0, out: '' });
    await daemon.saw('daemon.paused');
    expect((await here('status')).out).toContain('PAUSED');
    expect(JSON.parse((await here('resume', '--json')).out)).toMatchObject({ ok: true });
    await daemon.saw('daemon.resumed');
  });

  it('aborts by the daemon, which knows the directory and logs it', async () => {
    const id = session('To be aborted', 'busy');
    await daemon.saw('session.health', { sessionID: id });
    const { code, err } = await here('abort', id);
    expect([code, err]).toEqual([0, expect.stringContaining('is aborted: seen idle after')]);
    await daemon.saw('act.done', { sessionID: id, outcome: 'done' });
    expect((await here('abort', 'ses_unknown')).code).toBe(1);
  });

  it('says why the daemon does not restart a server that it only observes', async () => {
    const { code, err } = await here('restart');
    expect(code).toBe(1);
    expect(err).toContain('server.control is observe');
  });
});

describe('restart', () => {
  it('ends with what became of it, where the restart command fails', async () => {
    const config = {
      server: { url: server.url, control: 'command', restartCommand: ['sh', '-c', 'exit 7'] },
      status: { listen: `unix:${join(folder, 'command.sock')}` },
    };
    const path = join(folder, 'command.yaml');
    await writeFile(path, stringify(config));
    const commanded = await startDaemon({ config, env: env() });
    try {
      await Promise.all([commanded.saw('status.listening'), commanded.saw('server.healthy')]);
      const { code, err } = await run('restart', '--config', path);
      expect(code).toBe(1);
      expect(err).toMatch(/the restart failed: the restart command .* failed \(exit code 7\)/);
      expect(commanded.events('session.interrupted')).toEqual([]);
      expect(commanded.events('server.restarting')).toHaveLength(1);
    } finally {
      await commanded.stop();
    }
  });
});

describe('completion', () => {
  it('knows every command and option, in a script that bash can read', async () => {
    const { out } = await run('completion', 'bash');
    const id = session('To be completed', 'busy');
    const wrapper = join(folder, 'opencode-watchdog');
    await writeFile(
      wrapper,
      `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@" --config '${file}'\n`,
      {
        mode: 0o755,
      },
    );
    const script = join(folder, 'completion.bash');
    await writeFile(script, out);
    const complete = (words: string[]) =>
      new Promise<string>((resolve, reject) => {
        const line = `source ${script}; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _opencode_watchdog; echo "\${COMPREPLY[@]}"`;
        execFile('bash', ['-c', line], (error, found) =>
          error ? reject(error) : resolve(found.trim()),
        );
      });
    const answers = await Promise.all([
      complete(['opencode-watchdog', 're']),
      complete(['opencode-watchdog', 'status', '--w']),
      complete(['opencode-watchdog', 'run', '--con']),
      complete(['opencode-watchdog', 'run', '--profile', '']),
      complete(['opencode-watchdog', 'report', '--format', 'm']),
      complete(['opencode-watchdog', 'notify', 't']),
      complete([wrapper, 'abort', id]),
    ]);
    expect(answers).toEqual([
      'replay report restart resume',
      '--watch',
      '--config --control',
      'default unattended strict',
      'markdown',
      'test',
      id,
    ]);
    const others = await Promise.all(
      ['zsh', 'fish', 'tcsh'].map((shell) => run('completion', shell)),
    );
    expect(others.map(({ code }) => code)).toEqual([0, 0, 2]);
    for (const each of others.slice(0, 2)) expect(each.out).toContain('status');
  });
});

function inTerminal(columns: number, args: string): Promise<string> {
  return new Promise((resolve) => {
    const command = `stty cols ${columns} rows 40; ${process.execPath} ${CLI} ${args}`;
    execFile(
      SCRIPT,
      ['-qec', command, '/dev/null'],
      { env: { ...env(), TERM: 'xterm' } },
      (_error, out) => resolve(out.replaceAll('\r', '')),
    );
  });
}

function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what is taken out are the terminal's own sequences
  return text.replaceAll(/\u001b\[[?\d;]*[A-Za-z]/g, '').trimEnd();
}
