/** `status`, `pause`, `resume`, `restart`, `abort` and `completion` as a person runs them, beside a running daemon. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { type CommandsWorld, openCommandsWorld } from '../support/commands-world.js';
import { CLI, startDaemon } from '../support/daemon.js';
import { waitFor } from '../support/wait.js';

/** From util-linux, which every Debian has: gives a command a terminal. */
const SCRIPT = '/usr/bin/script';
const NO_TERMINAL = existsSync(SCRIPT) ? '' : ` (skipped: ${SCRIPT} is not installed)`;

let world: CommandsWorld;
beforeAll(async () => {
  world = await openCommandsWorld({ control: 'observe' });
});
afterAll(() => world?.close());

const here = (...args: string[]) => world.run(...args, '--config', world.file);

/** The endpoint's answer about the active sessions. */
function seen(): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ socketPath: world.socket, path: '/status' }, (response) => {
      text(response).then(resolve, reject);
    }).on('error', reject);
  });
}

describe('status', () => {
  it('prints everything to a pipe, and what one wants to know in at most 20 lines to a terminal', async () => {
    const ids = Array.from({ length: 14 }, (_, i) =>
      world.session(`Session number ${i}`, i % 2 ? 'busy' : 'retry'),
    );
    await world.daemon.saw('session.health', { sessionID: ids.at(-1)! });
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
      const shown = plain(await inTerminal(100, `status --config ${world.file}`));
      expect(shown.split('\n').length).toBeLessThanOrEqual(20);
      expect(shown).toContain('… and 5 more');
    }
    for (const id of ids) world.setStatus(id, 'idle');
    await world.daemon.saw('session.health', { sessionID: ids.at(-1)!, health: 'idle' });
  });

  it('prints JSON, which is what the endpoint says', async () => {
    const { code, out } = await here('status', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ server: { health: 'healthy' }, openIncidents: 0 });
  });

  it('ends with 3 where no daemon runs, and says where it looked', async () => {
    const listen = '127.0.0.1:1';
    const other = join(world.folder, 'other.yaml');
    await writeFile(other, stringify({ status: { listen } }));
    expect(await world.run('status', '--config', other)).toEqual({
      code: 3,
      out: '',
      err: `opencode-watchdog: no daemon answers at ${listen} (status.listen): nobody listens there\n`,
    });
    await writeFile(other, stringify({ status: { listen: 'off' } }));
    expect((await world.run('pause', '--config', other)).code).toBe(3);
  });
});

describe.skipIf(NO_TERMINAL !== '')(`on a terminal${NO_TERMINAL}`, () => {
  it.each([
    ['wide', 140],
    ['narrow', 48],
    ['of 80 columns', 80],
  ])('a %s one gets colours, and no line is broken', async (_name, columns) => {
    const id = world.session('Investigate a rather long-winded problem', 'retry');
    await world.daemon.saw('session.health', { sessionID: id, health: 'retrying' });
    // The endpoint's answer may be a quarter of a second old.
    await waitFor(async () => (await seen()).includes(id), { interval: 50 });
    const out = await inTerminal(columns, `status --config ${world.file}`);
    expect(plain(out)).toContain(columns === 80 ? id.slice(-6) : id);
    expect(out).toContain('\u001b[32mhealthy\u001b[39m');
    expect(out).toContain('\u001b[33mretrying\u001b[39m');
    const lines = plain(out).split('\n');
    for (const line of lines) expect(line.length, line).toBeLessThanOrEqual(columns);
    // The last line is the empty one after the final line break.
    expect(lines.length).toBeLessThanOrEqual(21);
    world.setStatus(id, 'idle');
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('ends a --watch that is no screen by %s with exit code %i', async (signal, code) => {
    const args = [CLI, 'status', '--watch', '--json', '--config', world.file];
    const child = spawn(process.execPath, args, { env: world.env() });
    try {
      // It listens to signals before it prints its first line.
      await once(child.stdout, 'data');
      child.kill(signal);
      expect(await once(child, 'exit')).toEqual([code, null]);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('refreshes in place with --watch, follows changes, and leaves the terminal as it was', async () => {
    const child = spawn(
      SCRIPT,
      [
        '-qefc',
        `stty cols 100 rows 30; exec ${process.execPath} ${CLI} status --watch --config ${world.file}`,
        '/dev/null',
      ],
      {
        env: { ...world.env(), TERM: 'xterm' },
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
      const id = world.session('Seen while watching', 'busy');
      await waitFor(() => plain(out).includes('Seen while watching'), { interval: 20 });
      // Each refresh begins at the top, so the screen does not scroll.
      expect(out.split('\u001b[H').length).toBeGreaterThan(2);
      expect(plain(out)).toContain('q ends, / searches');
      child.stdin.write('/nothing that is there\r');
      await waitFor(() => plain(out).includes('/nothing that is there  q ends'), { interval: 20 });
      world.setStatus(id, 'idle');
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
    await world.daemon.saw('daemon.paused');
    expect((await here('status')).out).toContain('PAUSED');
    expect(JSON.parse((await here('resume', '--json')).out)).toMatchObject({ ok: true });
    await world.daemon.saw('daemon.resumed');
  });

  it('aborts by the daemon, which knows the directory and logs it', async () => {
    const id = world.session('To be aborted', 'busy');
    await world.daemon.saw('session.health', { sessionID: id });
    const { code, err } = await here('abort', id);
    expect([code, err]).toEqual([0, expect.stringContaining('is aborted: seen idle after')]);
    await world.daemon.saw('act.done', { sessionID: id, outcome: 'done' });
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
      server: { url: world.server.url, control: 'command', restartCommand: ['sh', '-c', 'exit 7'] },
      status: { listen: `unix:${join(world.folder, 'command.sock')}` },
    };
    const path = join(world.folder, 'command.yaml');
    await writeFile(path, stringify(config));
    const commanded = await startDaemon({ config, env: world.env() });
    try {
      await Promise.all([commanded.saw('status.listening'), commanded.saw('server.healthy')]);
      const { code, err } = await world.run('restart', '--config', path);
      expect(code).toBe(1);
      expect(err).toMatch(/the restart failed: the restart command .* failed \(exit code 7\)/);
      expect(commanded.events('session.interrupted')).toEqual([]);
      expect(commanded.events('server.restarting')).toHaveLength(1);
    } finally {
      await commanded.stop();
    }
  });

  it('is made by the daemon, whichever name of loopback the URL has', async () => {
    const config = {
      server: { url: world.server.url, control: 'command', restartCommand: ['true'] },
      status: { listen: `unix:${join(world.folder, 'named.sock')}` },
    };
    const path = join(world.folder, 'named.yaml');
    await writeFile(path, stringify(config));
    const named = await startDaemon({ config, env: world.env() });
    try {
      await Promise.all([named.saw('status.listening'), named.saw('server.healthy')]);
      const url = world.server.url.replace('127.0.0.1', 'localhost');
      const { code, err } = await world.run('restart', '--config', path, '--url', url);
      expect([code, err]).toEqual([0, expect.stringContaining('the daemon restarts the server')]);
      expect(named.events('server.restarting', { reason: 'manual' })).toHaveLength(1);
    } finally {
      await named.stop();
    }
  });

  it('is refused beside a daemon that cannot be asked', async () => {
    const made = join(world.folder, 'restarted');
    const config = {
      server: { url: world.server.url, control: 'command', restartCommand: ['touch', made] },
      status: { listen: 'off' },
    };
    const path = join(world.folder, 'off.yaml');
    await writeFile(path, stringify(config));
    const silent = await startDaemon({ config, env: world.env() });
    try {
      await silent.saw('server.healthy');
      const { code, err } = await world.run('restart', '--config', path);
      expect([code, err]).toEqual([1, expect.stringContaining(`pid ${silent.pid}`)]);
      expect(err).toContain('status.listen');
      expect(existsSync(made)).toBe(false);
    } finally {
      await silent.stop();
    }
    expect((await world.run('restart', '--config', path)).code).toBe(0);
    expect(existsSync(made)).toBe(true);
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const)('is finished when %s comes in the middle of it', async (signal, expected) => {
    const path = (name: string) => join(world.folder, `${signal}-${name}`);
    const script = `touch ${path('begun')}; until [ -e ${path('go')} ]; do sleep 0.1; done; touch ${path('done')}`;
    const server = {
      url: world.server.url,
      control: 'command',
      restartCommand: ['sh', '-c', script],
    };
    await writeFile(path('config'), stringify({ server, status: { listen: 'off' } }));
    const child = spawn(process.execPath, [CLI, 'restart', '--config', path('config')], {
      env: world.env(),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const ended = once(child, 'close');
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += String(chunk);
    });
    await waitFor(() => existsSync(path('begun')), { what: 'the restart command' });
    child.kill(signal);
    await waitFor(() => err.includes('is finished first') || child.signalCode !== null);
    await writeFile(path('go'), '');
    expect(await ended, err).toEqual([expected, null]);
    expect(err).toContain('the server is healthy again');
    expect(existsSync(path('done'))).toBe(true);
  });
});

describe('completion', () => {
  it('knows every command and option, in a script that bash can read', async () => {
    const { out } = await world.run('completion', 'bash');
    const id = world.session('To be completed', 'busy');
    const wrapper = join(world.folder, 'opencode-watchdog');
    await writeFile(
      wrapper,
      `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@" --config '${world.file}'\n`,
      {
        mode: 0o755,
      },
    );
    const script = join(world.folder, 'completion.bash');
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
      ['zsh', 'fish', 'tcsh'].map((shell) => world.run('completion', shell)),
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
      { env: { ...world.env(), TERM: 'xterm' } },
      (_error, out) => resolve(out.replaceAll('\r', '')),
    );
  });
}

function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what is taken out are the terminal's own sequences
  return text.replaceAll(/\u001b\[[?\d;]*[A-Za-z]/g, '').trimEnd();
}
