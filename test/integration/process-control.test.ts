import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sleep } from '../../src/lib/clock.js';
import { AdoptControl } from '../../src/process/control/adopt.js';
import { createControl } from '../../src/process/control/auto.js';
import { CommandControl } from '../../src/process/control/command.js';
import { ControlError } from '../../src/process/control/control.js';
import { DryRunControl } from '../../src/process/control/dry-run.js';
import { ExternalControl } from '../../src/process/control/external.js';
import { ObserveControl } from '../../src/process/control/observe.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

let habitat: Habitat;
const children: ChildProcess[] = [];
beforeEach(async () => {
  habitat = await Habitat.make();
});
afterEach(async () => {
  await habitat.clear();
  children.length = 0;
});

/** Starts a server that is not ours. */
async function foreign(fake = '', args: string[] = [], more: Record<string, string> = {}) {
  const cwd = join(habitat.dir, 'elsewhere');
  mkdirSync(cwd, { recursive: true });
  const argv = [habitat.script, 'serve', ...args, '--port', String(habitat.port)];
  const child = spawn(process.execPath, argv, {
    cwd,
    env: habitat.env({ FAKE: fake, ...more }),
    stdio: 'ignore',
    detached: true,
  });
  children.push(child);
  return waitFor(() => habitat.ask(), { what: 'a foreign server' });
}

const failure = (promise: Promise<unknown>): Promise<ControlError> =>
  promise.then(
    () => expect.fail('it succeeded'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(ControlError);
      return error as ControlError;
    },
  );

describe('adopt', () => {
  test('the successor has the same command line, directory and environment, and is ours', async () => {
    const before = await foreign('tool', ['--print-logs', 'a b', ''], { SPECIAL: 'x=y\nz' });
    const control = new AdoptControl(habitat.options());
    expect(await control.attach(habitat.signal)).toMatchObject({ pid: before.pid });
    const restarted = await control.restart(habitat.signal);
    const after = await habitat.ask();
    expect(restarted).toMatchObject({ oldPid: before.pid, pid: after.pid });
    expect(after.argv).toEqual(before.argv);
    expect(after.cwd).toBe(before.cwd);
    expect(after.env).toEqual({ ...before.env, OPENCODE_WATCHED_AS: expect.any(String) });
    expect([before.pid, before.tool!].filter(isAlive)).toEqual([]);
    await habitat.ask('/say');
    await waitFor(() => habitat.lines.includes('said red'));
    await control.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });

  test('a server that ended is started as it was', async () => {
    const before = await foreign('', ['--print-logs']);
    const control = new AdoptControl(habitat.options());
    await control.attach(habitat.signal);
    process.kill(before.pid, 'SIGKILL');
    await waitFor(() => habitat.exits.length > 0);
    const { pid } = await control.start(habitat.signal);
    const after = await habitat.ask();
    expect(after).toMatchObject({ pid, cwd: before.cwd, argv: before.argv });
    await control.dispose('stop');
  });

  test.each([
    ['gets the one that the watchdog knows', {}, { OPENCODE_PASSWORD: 'known' }],
    ['keeps its own', { OPENCODE_SERVER_PASSWORD: 'own' }, { OPENCODE_SERVER_PASSWORD: 'own' }],
    ['keeps its own', { OPENCODE_PASSWORD: 'own' }, { OPENCODE_PASSWORD: 'own' }],
  ])(
    'the successor of a server without a password in its environment %s: %j',
    async (_, has, gets) => {
      await foreign('', [], has);
      const control = new AdoptControl(habitat.options({ password: 'known', username: 'me' }));
      await control.attach(habitat.signal);
      await control.restart(habitat.signal);
      const { env } = await habitat.ask();
      const passwords = Object.entries(env).filter(([name]) => name.endsWith('PASSWORD'));
      expect(Object.fromEntries(passwords)).toEqual(gets);
      await control.dispose('stop');
    },
  );

  test('what cannot be read any more is said', async () => {
    const before = await foreign();
    const control = new AdoptControl(habitat.options());
    rmSync(before.cwd, { recursive: true });
    await control.attach(habitat.signal);
    await control.restart(habitat.signal);
    expect(habitat.notices.join()).toContain(
      'could not read of the old server: its working directory',
    );
    expect((await habitat.ask()).cwd).toBe(habitat.dir);
    await control.dispose('stop');
  });

  test('a restart that the daemon’s stop cuts leaves no tool of the old server', async () => {
    const { pid } = await foreign('tool-ignore-term');
    const control = new AdoptControl(habitat.options());
    await control.attach(habitat.signal);
    const stop = new AbortController();
    const restart = control.restart(stop.signal).catch((error: unknown) => error);
    await waitFor(() => !isAlive(pid), { what: 'the server to end', interval: 5 });
    const stopping = new Error('stopping');
    stop.abort(stopping);
    expect(await restart).toBe(stopping);
    await control.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });

  test('dispose leaves a server that somebody else started', async () => {
    const { pid } = await foreign();
    const control = new AdoptControl(habitat.options());
    await control.attach(habitat.signal);
    await control.dispose('stop');
    expect(isAlive(pid)).toBe(true);
  });

  test('an opencode with its terminal face is watched and never restarted', async () => {
    const argv = [habitat.script, '--port', String(habitat.port)];
    const child = spawn(process.execPath, argv, { env: habitat.env(), stdio: 'ignore' });
    const { pid } = await waitFor(() => habitat.ask());
    const control = new AdoptControl(habitat.options());
    expect(control.acts).toBe(true);
    await control.attach(habitat.signal);
    expect(control.acts).toBe(false);
    expect((await failure(control.restart(habitat.signal))).serverAlive).toBe(true);
    expect(isAlive(pid)).toBe(true);
    child.kill('SIGKILL');
  });

  test('starts nothing where nothing was ever found', async () => {
    const control = new AdoptControl(habitat.options({ startTimeoutMs: 200 }));
    expect((await failure(control.start(habitat.signal))).message).toContain('starts none');
    expect((await failure(control.restart(habitat.signal))).message).toContain(
      'no opencode was found',
    );
    expect(habitat.processes()).toEqual([]);
  });
});

describe('a stop', () => {
  const started = async () => {
    const control = new SpawnControl(habitat.options());
    return { control, pid: (await control.start(habitat.signal)).pid! };
  };
  const adoptedAndRestarted = async () => {
    await foreign();
    const control = new AdoptControl(habitat.options());
    await control.attach(habitat.signal);
    return { control, pid: (await control.restart(habitat.signal)).pid! };
  };

  test.each([
    ['started', started],
    ['adopted and restarted', adoptedAndRestarted],
  ])('leaves the server of somebody else who took the place of one that we %s', async (_, make) => {
    const { control, pid } = await make();
    expect(await control.endsOnStop()).toBe(true);
    process.kill(pid, 'SIGKILL');
    await waitFor(() => habitat.exits.length > 0);
    const theirs = await foreign();
    expect(await control.endsOnStop()).toBe(false);
    await control.dispose('stop');
    expect(isAlive(theirs.pid)).toBe(true);
  });

  test('ends our server also when the wrapper above it was killed alone', async () => {
    const command = ['sh', '-c', '"$@" & wait', 'sh', ...habitat.command];
    const control = new SpawnControl(habitat.options({ command }));
    const { pid } = await control.start(habitat.signal);
    const [wrapper] = habitat.processes().filter((each) => each !== pid);
    process.kill(wrapper!, 'SIGKILL');
    await waitFor(() => !isAlive(wrapper!));
    expect(await control.endsOnStop()).toBe(true);
    await control.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });

  test('of a control that leaves the server says that nothing ends with it', async () => {
    const own = new SpawnControl(habitat.options());
    await own.start(habitat.signal);
    await own.dispose('leave');
    const external = new ExternalControl(habitat.options());
    const observe = new ObserveControl(habitat.options(), 'configured');
    for (const control of [external, observe]) {
      await control.attach(habitat.signal);
      expect(await control.endsOnStop()).toBe(false);
      await control.dispose();
    }
  });
});

describe('external', () => {
  test('ends the server and waits for the one that somebody else starts', async () => {
    const before = await foreign('tool');
    const control = new ExternalControl(habitat.options());
    await control.attach(habitat.signal);
    children[0]!.once('exit', () => void foreign());
    const restarted = await control.restart(habitat.signal);
    expect(restarted.oldPid).toBe(before.pid);
    expect(restarted.pid).toBe((await habitat.ask()).pid);
    expect(restarted.pid).not.toBe(before.pid);
    expect([before.pid, before.tool!].filter(isAlive)).toEqual([]);
    expect(habitat.exits).toEqual([]);
    await control.dispose();
    expect(isAlive(restarted.pid!)).toBe(true);
  });

  test('says so when nobody starts one, and starts none', async () => {
    await foreign();
    const control = new ExternalControl(habitat.options({ startTimeoutMs: 300 }));
    const error = await failure(control.restart(habitat.signal));
    expect(error.message).toContain('nobody started a new one within 300 ms');
    expect(habitat.processes()).toEqual([]);
    expect((await failure(control.start(habitat.signal))).message).toContain('nobody started');
    expect(habitat.processes()).toEqual([]);
  });
});

test('external never takes a server that it cannot see for a restarted one', async () => {
  const { pid } = await foreign();
  const control = new ExternalControl(habitat.options({ holders: async () => [] }));
  const error = await failure(control.restart(habitat.signal));
  expect(error.message).toContain('no process that can be seen');
  expect(error.serverAlive).toBe(true);
  expect(isAlive(pid)).toBe(true);
});

test('nothing is started for the URL of another machine', async () => {
  const control = new SpawnControl(habitat.options({ url: 'http://192.0.2.1:4096' }));
  expect((await failure(control.start(habitat.signal))).message).toContain('not this machine');
});

describe('command', () => {
  const control = (
    script: string,
    more: Partial<ConstructorParameters<typeof CommandControl>[0]> = {},
  ) => {
    const file = join(habitat.dir, 'restart.sh');
    writeFileSync(file, script);
    return new CommandControl({
      ...habitat.options({ stopGraceMs: 200 }),
      restartCommand: ['sh', file],
      commandTimeoutMs: 10_000,
      ...more,
    });
  };
  const restartScript = () =>
    `echo restarting; kill $(cat ${habitat.dir}/pid) 2>/dev/null; sleep 0.2
     ${process.execPath} ${habitat.script} serve --port ${habitat.port} >/dev/null 2>&1 </dev/null & echo $! > ${habitat.dir}/pid`;

  test('the command restarts the server, its output is logged, health is seen after it', async () => {
    const before = await foreign();
    writeFileSync(join(habitat.dir, 'pid'), String(before.pid));
    const command = control(restartScript());
    await command.attach(habitat.signal);
    const restarted = await command.restart(habitat.signal);
    expect(restarted).toMatchObject({ oldPid: before.pid, pid: (await habitat.ask()).pid });
    expect(habitat.notices).toContain('info: sh: restarting');
    expect(habitat.exits).toEqual([]);
  });

  test('a command that fails is quoted, and the server that lives on is watched on', async () => {
    const { pid } = await foreign();
    const command = control('echo no permission >&2; exit 4');
    await command.attach(habitat.signal);
    const error = await failure(command.restart(habitat.signal));
    expect(error.message).toContain('exit code 4');
    expect(error.message).toContain('no permission');
    expect(error.serverAlive).toBe(true);
    process.kill(pid, 'SIGKILL');
    await waitFor(() => habitat.exits.length === 1);
  });

  test('a command that fails behind a server that cannot be seen says that nobody knows', async () => {
    const { pid } = await foreign();
    const command = control('exit 4', { holders: async () => [] });
    await command.attach(habitat.signal);
    expect((await failure(command.restart(habitat.signal))).serverAlive).toBe('unknown');
    expect(isAlive(pid)).toBe(true);
  });

  test('a command that hangs is ended with all that it started', async () => {
    const command = control('sh -c "trap \'\' TERM; sleep 1000" & sleep 1000', {
      commandTimeoutMs: 300,
    });
    const error = await failure(command.restart(habitat.signal));
    expect(error.message).toContain('did not end within 300 ms');
    expect(habitat.processes()).toEqual([]);
  });

  test('a command that lies is found out: the old server still runs', async () => {
    const { pid } = await foreign();
    const command = control('exit 0', { startTimeoutMs: 300 });
    const error = await failure(command.restart(habitat.signal));
    expect(error.message).toContain(`said success, but the old server still runs (pid ${pid})`);
    expect(error.serverAlive).toBe(true);
  });

  test('a command that lies is found out: no server runs', async () => {
    const error = await failure(control('exit 0', { startTimeoutMs: 300 }).start(habitat.signal));
    expect(error.message).toContain('no healthy server was seen');
    // The caller must ask the server before it takes it for dead.
    expect(error.serverAlive).toBe('unknown');
  });

  test('a start leaves a server that answers, however late, to run on', async () => {
    const { pid } = await foreign();
    const command = control(`touch ${habitat.dir}/was-run`);
    expect(await command.start(habitat.signal)).toMatchObject({ pid, version: 'fake' });
    expect(existsSync(join(habitat.dir, 'was-run'))).toBe(false);
    process.kill(pid, 'SIGKILL');
    await waitFor(() => habitat.exits.length === 1);
  });

  test('a server that says that it boots is waited for, and the command is not run', async () => {
    const { pid } = await foreign();
    const { deps } = habitat.options();
    let booting = 3;
    const isHealthy: typeof deps.isHealthy = async (signal) => {
      booting -= 1;
      return booting > 0 ? { strange: 'boots' } : deps.isHealthy(signal);
    };
    const command = control(`touch ${habitat.dir}/was-run`, { deps: { ...deps, isHealthy } });
    expect(await command.start(habitat.signal)).toMatchObject({ pid, version: 'fake' });
    expect(existsSync(join(habitat.dir, 'was-run'))).toBe(false);
  });

  test('a command that does not exist is named', async () => {
    const command = control('', { restartCommand: ['no-such-command', '--token', 'hunter2'] });
    const error = await failure(command.start(habitat.signal));
    expect(error.message).toContain('no-such-command --token [secret]');
    expect(error.message).toContain('ENOENT');
  });

  test('a working directory that does not exist is named, and not the command', async () => {
    const directory = join(habitat.dir, 'gone');
    const error = await failure(control('exit 0', { directory }).start(habitat.signal));
    expect(error.message).toContain(
      `could not be started: its working directory ${directory} cannot be used (it does not exist): set server.directory`,
    );
    expect(error.message).not.toContain('ENOENT');
  });

  test('a daemon that stops ends its command', async () => {
    const stop = new AbortController();
    const start = control('sleep 1000').start(stop.signal);
    await waitFor(() => habitat.processes().length > 0);
    stop.abort(new Error('stopping'));
    await expect(start).rejects.toThrow('stopping');
    expect(habitat.processes()).toEqual([]);
  });
});

describe('observe', () => {
  test('sees the end of a server and touches nothing', async () => {
    const { pid } = await foreign();
    const control = new ObserveControl(habitat.options(), 'configured');
    expect(control.acts).toBe(false);
    expect(await control.attach(habitat.signal)).toMatchObject({ pid });
    expect((await failure(control.restart())).serverAlive).toBe(true);
    await control.dispose();
    expect(isAlive(pid)).toBe(true);
  });

  test('leaves what an earlier server of ours has left running', async () => {
    const acting = new SpawnControl(habitat.options({ fake: 'tool' }));
    await acting.start(habitat.signal);
    const { pid, tool } = await habitat.ask();
    await acting.dispose('leave');
    process.kill(pid, 'SIGKILL');
    await waitFor(() => !isAlive(pid), { what: 'the end of the server' });
    const next = await foreign();
    const observer = new ObserveControl(habitat.options(), 'configured');
    expect(await observer.attach(habitat.signal)).toMatchObject({ pid: next.pid });
    expect(isAlive(tool!)).toBe(true);
    await observer.dispose();
  });

  test('beside the daemon that acts leaves its record and its output alone', async () => {
    const acting = new SpawnControl(habitat.options());
    await acting.start(habitat.signal);
    const observer = new ObserveControl(habitat.options(), 'configured');
    await observer.attach(habitat.signal);
    await habitat.ask('/say');
    await waitFor(() => habitat.lines.includes('said red'), { what: 'the line' });
    await acting.restart(habitat.signal);
    await observer.attach(habitat.signal);
    expect(existsSync(join(habitat.dir, 'state', 'server.json'))).toBe(true);
    await observer.dispose();
    expect(habitat.lines.filter((line) => line === 'said red')).toHaveLength(1);
    await acting.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });
});

test('a server that a signal had stopped before the start is continued, and not replaced', async () => {
  const { pid } = await foreign();
  process.kill(pid, 'SIGSTOP');
  const control = new AdoptControl(habitat.options());
  await control.attach(habitat.signal);
  expect(await control.start(habitat.signal)).toMatchObject({ pid });
  expect((await habitat.ask()).pid).toBe(pid);
  await control.dispose('leave');
});

test('a server that runs already and answers too slowly for a short start timeout is not replaced', async () => {
  const { pid } = await foreign();
  const options = habitat.options({ startTimeoutMs: 300 });
  const { isHealthy } = options.deps;
  options.deps.isHealthy = async (within) => {
    await sleep(habitat.clock, 1_000, within).catch(() => undefined);
    return within.aborted ? null : isHealthy(within);
  };
  for (const control of [new AdoptControl(options), new SpawnControl(options)]) {
    await control.attach(habitat.signal);
    expect(await control.start(habitat.signal)).toMatchObject({ pid, version: 'fake' });
    await control.dispose('stop');
    expect(isAlive(pid)).toBe(true);
  }
});

test('a server whose answers are strange is taken on as it is, and never replaced', async () => {
  const { pid } = await foreign();
  const options = habitat.options({ startTimeoutMs: 300 });
  options.deps.isHealthy = async () => ({ strange: 'unclear' });
  for (const control of [new AdoptControl(options), new SpawnControl(options)]) {
    expect(await control.start(habitat.signal)).toMatchObject({ pid });
    await control.dispose('stop');
    expect(isAlive(pid)).toBe(true);
  }
});

test('a spawned server whose answers are strange is not ended for them', async () => {
  const options = habitat.options({ startTimeoutMs: 2_000 });
  const { isHealthy } = options.deps;
  options.deps.isHealthy = async (within) =>
    (await isHealthy(within)) === null ? null : { strange: 'certain' };
  const control = new SpawnControl(options);
  const { pid } = await control.start(habitat.signal);
  expect(isAlive(pid!)).toBe(true);
  await control.dispose('stop');
  expect(isAlive(pid!)).toBe(false);
});

describe('a dry run', () => {
  test('beside the daemon that started the server leaves the server, its record and its output alone', async () => {
    const own = new SpawnControl(habitat.options());
    const { pid } = await own.start(habitat.signal);
    const files = () =>
      readdirSync(habitat.options().stateDir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name), 'utf8')]);
    const before = files();
    for (const mode of ['auto', 'spawn', 'adopt'] as const) {
      const { control } = await createControl(
        { ...habitat.options({ readOnly: true }), mode },
        habitat.signal,
      );
      const dry = new DryRunControl(control);
      expect(await dry.attach(habitat.signal)).toMatchObject({ pid });
      expect((await failure(dry.restart())).message).toContain('dryRun');
      await dry.dispose();
      expect(isAlive(pid!)).toBe(true);
    }
    expect(files()).toEqual(before);
    await own.dispose('stop');
    expect(isAlive(pid!)).toBe(false);
  });
});

describe('auto', () => {
  test('spawns, then knows its own again, and adopts what others started', async () => {
    const create = (stateDir?: string) =>
      createControl(
        { ...habitat.options(stateDir === undefined ? {} : { stateDir }), mode: 'auto' },
        habitat.signal,
      );
    const first = await create();
    expect(first.mode).toBe('spawn');
    const { pid } = await first.control.start(habitat.signal);
    await first.control.dispose('leave');

    const stranger = await create(join(habitat.dir, 'other'));
    expect(stranger.mode).toBe('adopt');
    await stranger.control.dispose('stop');
    expect(isAlive(pid!)).toBe(true);

    const next = await create();
    expect(next).toMatchObject({ mode: 'spawn', reason: expect.stringContaining('earlier run') });
    await next.control.dispose('stop');
    expect(isAlive(pid!)).toBe(false);
  });

  /** What a daemon or a command does that restarts the server and then ends. */
  async function restartOnce(): Promise<string> {
    const made = await createControl({ ...habitat.options(), mode: 'auto' }, habitat.signal);
    await made.control.attach(habitat.signal);
    await made.control.restart(habitat.signal);
    await made.control.dispose('leave');
    return made.mode;
  }

  test('each daemon and command restarts an adopted server as its owner started it', async () => {
    const { argv, cwd } = await foreign('', ['--print-logs'], { API_KEY: 'k' });
    for (const which of ['first', 'second', 'third']) {
      expect(await restartOnce(), which).toBe('adopt');
      expect(await habitat.ask(), which).toMatchObject({ argv, cwd, env: { API_KEY: 'k' } });
    }
  });

  test('an adopted server that boots is waited for, and what does not get healthy is started as it was', async () => {
    const { argv, cwd } = await foreign('', ['--print-logs'], { API_KEY: 'k' });
    await restartOnce();
    const { pid } = await habitat.ask();
    // As a server that boots looks: it lives, and nobody listens.
    const isHealthy = async () => (isAlive(pid) ? null : { version: 'fake' });
    const options = habitat.options({
      holders: async () => [],
      startTimeoutMs: 200,
      deps: { ...habitat.deps, isHealthy },
    });
    const made = await createControl({ ...options, mode: 'auto' }, habitat.signal);
    expect(made.mode).toBe('adopt');
    expect(await made.control.attach(habitat.signal)).toBeNull();
    expect((await failure(made.control.start(habitat.signal))).message).toContain('200 ms');
    expect(isAlive(pid)).toBe(false);
    await made.control.start(habitat.signal);
    const after = await waitFor(() => habitat.ask(), { what: 'the next server to listen' });
    expect(after).toMatchObject({ argv, cwd, env: { API_KEY: 'k' } });
    await made.control.dispose('stop');
  });

  test('observes a server that answers and whose holder is not opencode', async () => {
    const stranger = createServer((_, res) => res.end('{"healthy":true}'));
    stranger.listen(habitat.port, '127.0.0.1');
    try {
      const made = await createControl({ ...habitat.options(), mode: 'auto' }, habitat.signal);
      expect(made).toMatchObject({
        mode: 'observe',
        reason: expect.stringContaining('not opencode'),
      });
    } finally {
      stranger.close();
    }
  });

  test('a control that lacks what it needs says what', async () => {
    for (const [mode, what] of [
      ['command', 'a restart command'],
      ['docker', "container's name"],
    ] as const) {
      const made = createControl({ ...habitat.options(), mode }, habitat.signal);
      expect((await failure(made)).message).toContain(what);
    }
  });
});
