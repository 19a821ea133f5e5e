import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlError } from '../../src/process/control/control.js';
import { ExternalControl } from '../../src/process/control/external.js';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { MAX_LINES_PER_SECOND } from '../../src/process/server/output.js';
import { ProcTable } from '../../src/process/table/proc-table.js';
import { commandLine, isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

let habitat: Habitat;
beforeEach(async () => {
  habitat = await Habitat.make();
});
afterEach(() => habitat.clear());

const failure = (promise: Promise<unknown>): Promise<ControlError> =>
  promise.then(
    () => expect.fail('it succeeded'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(ControlError);
      return error as ControlError;
    },
  );

test('start brings a server to health, with host and port appended and the password in the environment only', async () => {
  const control = new SpawnControl(
    habitat.options({
      password: 'hunter2',
      username: 'me',
      env: habitat.env({ OPENCODE_WATCHDOG_X: '1', NOTIFY_SOCKET: 'x' }),
    }),
  );
  const said: (number | undefined)[] = [];
  const started = await control.start(habitat.signal, (pid) => said.push(pid));
  const seen = await habitat.ask();
  expect(said).toEqual([seen.pid]);
  expect(started).toMatchObject({ pid: seen.pid, version: 'fake' });
  expect(started.tookMs).toBeGreaterThan(0);
  expect(seen.argv.slice(2)).toEqual([
    'serve',
    '--hostname',
    '127.0.0.1',
    '--port',
    String(habitat.port),
  ]);
  expect(seen.env).toMatchObject({
    OPENCODE_SERVER_PASSWORD: 'hunter2',
    OPENCODE_SERVER_USERNAME: 'me',
  });
  expect(seen.env).not.toHaveProperty('OPENCODE_WATCHDOG_X');
  expect(seen.env).not.toHaveProperty('NOTIFY_SOCKET');
  expect(commandLine(seen.pid)).not.toContain('hunter2');
  expect(await control.memory()).toBeGreaterThan(10 * 2 ** 20);
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
  expect(habitat.exits).toEqual([]);
});

test('a server in a session of its own writes to files that only its user may read', async () => {
  const control = new SpawnControl(habitat.options());
  const { pid } = await control.start(habitat.signal);
  const [, , pgid, sid] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  expect([pgid, sid]).toEqual([String(pid), String(pid)]);
  await habitat.ask('/say');
  await waitFor(() => habitat.lines.includes('said red'), { what: 'the line, without its colour' });
  const stateDir = join(habitat.dir, 'state');
  expect(statSync(stateDir).mode & 0o777).toBe(0o700);
  await control.dispose('leave');
  expect((await habitat.ask()).pid).toBe(pid);
});

test('the end of a server is told once, with its code', async () => {
  const control = new SpawnControl(habitat.options());
  const { pid } = await control.start(habitat.signal);
  await habitat.ask('/exit').catch(() => undefined);
  await waitFor(() => habitat.exits.length > 0);
  control.poke();
  expect(habitat.exits).toEqual([{ pid, code: 3, signal: null }]);
  await control.dispose('stop');
});

test('restart ends the tree, also a tool in its own session that ignores SIGTERM, and starts a new server', async () => {
  const control = new SpawnControl(habitat.options({ fake: 'tool-ignore-term', stopGraceMs: 300 }));
  await control.start(habitat.signal);
  const before = await habitat.ask();
  expect(isAlive(before.tool!)).toBe(true);
  const restarted = await control.restart(habitat.signal);
  const after = await habitat.ask();
  expect(restarted).toMatchObject({ oldPid: before.pid, pid: after.pid });
  expect(after.pid).not.toBe(before.pid);
  expect([before.pid, before.tool!].filter(isAlive)).toEqual([]);
  expect(habitat.exits).toEqual([]);
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('a server that ignores SIGTERM is killed after the grace', async () => {
  const control = new SpawnControl(habitat.options({ fake: 'ignore-term', stopGraceMs: 300 }));
  const { pid } = await control.start(habitat.signal);
  await control.dispose('stop');
  expect(isAlive(pid!)).toBe(false);
});

test('a frozen server is ended too', async () => {
  const control = new SpawnControl(habitat.options());
  const { pid } = await control.start(habitat.signal);
  process.kill(pid!, 'SIGSTOP');
  const restarted = await control.restart(habitat.signal);
  expect(restarted.oldPid).toBe(pid);
  await control.dispose('stop');
});

test('a server that a signal stopped is seen, and let run with what was stopped along with it', async () => {
  const control = new SpawnControl(habitat.options({ fake: 'tool' }));
  const { pid } = await control.start(habitat.signal);
  const { tool } = await habitat.ask();
  // A tool has a session of its own. If somebody stopped only the tool, that is not undone.
  process.kill(tool!, 'SIGSTOP');
  process.kill(-pid!, 'SIGSTOP');
  await waitFor(() => habitat.suspended.length > 0, { what: 'the stop is seen' });
  expect(new Set(habitat.suspended)).toEqual(new Set([pid]));
  await control.continueProcess();
  expect((await habitat.ask()).pid).toBe(pid);
  expect((await new ProcTable().read(tool!))?.state).toBe('T');
  const told = habitat.suspended.length;
  await control.continueProcess();
  expect(habitat.suspended).toHaveLength(told);
  expect(habitat.exits).toEqual([]);
  await control.dispose('stop');
  expect(habitat.processes()).toEqual([]);
});

test('what nobody serves cannot be continued, and the words say so', async () => {
  const control = new SpawnControl(habitat.options());
  const error = await failure(control.continueProcess());
  expect(error.message).toBe(`nobody listens on port ${habitat.port}`);
});

describe('a start that fails', () => {
  test('fails at once when the server exits, and shows its last lines', async () => {
    const control = new SpawnControl(habitat.options({ fake: 'exit' }));
    const began = Date.now();
    const error = await failure(control.start(habitat.signal));
    expect(Date.now() - began).toBeLessThan(10_000);
    expect(error.message).toContain('exit code 7');
    expect(error.message).toContain('bad config');
    expect(error.message).toContain('line 30');
    expect(error.message).not.toContain('line 5\n');
    expect(error.serverAlive).toBe(false);
    expect(habitat.exits).toEqual([]);
  });

  test('names the command that is missing and how to get it', async () => {
    const control = new SpawnControl(habitat.options({ command: ['no-such-opencode', 'serve'] }));
    const error = await failure(control.start(habitat.signal));
    expect(error.message).toContain('"no-such-opencode" was not found');
    expect(error.message).toContain('npm i -g opencode-ai');
  });

  test.each([
    ['it does not exist', '/no/such/dir'],
    ['it is not a directory', process.execPath],
    ['a part of its path is not a directory', `${process.execPath}/dir`],
    ['its name is too long', `/tmp/${'x'.repeat(300)}`],
  ])('names the working directory, and why it cannot be used: %s', async (why, directory) => {
    const control = new SpawnControl(habitat.options({ directory }));
    expect((await failure(control.start(habitat.signal))).message).toBe(
      `cannot start opencode: its working directory ${directory} cannot be used (${why}): set server.directory to one that can`,
    );
  });

  test('ends a server that does not get healthy in time', async () => {
    const control = new SpawnControl(habitat.options({ fake: 'deaf', startTimeoutMs: 700 }));
    const error = await failure(control.start(habitat.signal));
    expect(error.message).toContain('within 700 ms');
    expect(habitat.processes()).toEqual([]);
  });

  test('refuses a port that a stranger holds, names it, and does not touch it', async () => {
    const stranger = createServer((_, res) => res.writeHead(404).end()).listen(
      habitat.port,
      '127.0.0.1',
    );
    try {
      const control = new SpawnControl(habitat.options());
      for (const act of ['start', 'restart'] as const) {
        const error = await failure(control[act](habitat.signal));
        expect(error.message).toContain(`pid ${process.pid}`);
        expect(error.message).toContain('not opencode');
      }
      expect(await control.attach(habitat.signal)).toBeNull();
      expect(habitat.notices.join()).toContain('not opencode');
    } finally {
      stranger.close();
    }
  });

  test('is given up when the daemon stops, and leaves nothing behind after dispose', async () => {
    const control = new SpawnControl(habitat.options({ fake: 'deaf' }));
    const stop = new AbortController();
    const start = control.start(stop.signal);
    await waitFor(() => habitat.processes().length > 0);
    stop.abort(new Error('stopping'));
    await expect(start).rejects.toThrow('stopping');
    await control.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });

  test('works without a state directory, and says what is lost', async () => {
    const control = new SpawnControl(habitat.options({ stateDir: join(habitat.script, 'state') }));
    await control.start(habitat.signal);
    expect(habitat.notices.join()).toContain('cannot be written');
    await control.dispose('stop');
    expect(habitat.processes()).toEqual([]);
  });
});

describe('an opencode with its terminal face that took the port', () => {
  /** A person's `opencode --port N`, in front of which the person sits. */
  async function byPerson(fake = '') {
    const argv = [habitat.script, '--port', String(habitat.port)];
    const child = spawn(process.execPath, argv, { env: habitat.env({ FAKE: fake }) });
    await waitFor(() => habitat.ask(), { what: 'the person’s opencode' });
    return child.pid!;
  }

  test('is watched, and ended by no restart', async () => {
    const pid = await byPerson();
    for (const Control of [SpawnControl, ExternalControl]) {
      const control = new Control(habitat.options());
      expect(await control.attach(habitat.signal)).toMatchObject({ pid });
      const error = await failure(control.restart(habitat.signal));
      expect(error.message).toContain(`pid ${pid}`);
      expect(error.message).toContain('only the person in front of it');
      expect(error.serverAlive).toBe(true);
      expect(isAlive(pid)).toBe(true);
      await control.dispose('stop');
      expect(isAlive(pid)).toBe(true);
    }
  });

  test('is not replaced where it does not get healthy', async () => {
    const pid = await byPerson('deaf');
    const control = new SpawnControl(habitat.options({ startTimeoutMs: 200 }));
    const error = await failure(control.start(habitat.signal));
    expect(error.message).toContain('only the person in front of it');
    expect(isAlive(pid)).toBe(true);
    expect(habitat.notices.join()).not.toMatch(/replaced|ended/);
    await control.dispose('stop');
  });

  test('is not continued where the person has stopped it', async () => {
    const pid = await byPerson();
    process.kill(pid, 'SIGSTOP');
    const control = new SpawnControl(habitat.options());
    const error = await failure(control.continueProcess());
    expect(error.message).toContain('only the person in front of it');
    expect((await new ProcTable().read(pid))?.state).toBe('T');
    await control.dispose('stop');
  });
});

describe('the next daemon', () => {
  test('takes up the server of the one before, reads its output on, and may stop it', async () => {
    const first = new SpawnControl(habitat.options());
    const { pid } = await first.start(habitat.signal);
    await first.dispose('leave');
    const next = new SpawnControl(habitat.options());
    expect(await next.attach(habitat.signal)).toMatchObject({ pid });
    await habitat.ask('/say');
    await waitFor(() => habitat.lines.includes('said red'));
    await next.dispose('stop');
    expect(isAlive(pid!)).toBe(false);
  });

  test('waits for a server that still boots instead of starting a twin', async () => {
    const first = new SpawnControl(habitat.options({ fake: 'slow' }));
    const stop = new AbortController();
    const start = first.start(stop.signal);
    await waitFor(() => existsSync(join(habitat.dir, 'state')) && habitat.processes().length > 0);
    const [pid] = habitat.processes();
    stop.abort();
    await start.catch(() => undefined);
    await first.dispose('leave');
    const next = new SpawnControl(habitat.options());
    const said: (number | undefined)[] = [];
    const started = await next.start(habitat.signal, (each) => {
      said.push(each);
      writeFileSync(join(habitat.dir, 'go'), '');
    });
    expect(said).toEqual([pid]);
    expect(started.pid).toBe(pid);
    expect(habitat.processes()).toEqual([pid]);
    await next.dispose('stop');
  });

  test('sees the end of a server that is not its child', async () => {
    const first = new SpawnControl(habitat.options());
    const { pid } = await first.start(habitat.signal);
    await first.dispose('leave');
    const next = new SpawnControl(habitat.options());
    await next.attach(habitat.signal);
    process.kill(pid!, 'SIGKILL');
    await waitFor(() => {
      next.poke();
      return habitat.exits.length > 0;
    });
    expect(habitat.exits).toEqual([{ pid, code: null, signal: null }]);
    await next.dispose('stop');
  });

  test('gives up on a server that ends while it boots, long before the time for a start is over', async () => {
    const command = [process.execPath, '-e', 'setInterval(() => {}, 1e6)', 'serve'];
    const first = new SpawnControl(habitat.options({ command }));
    const stop = new AbortController();
    const start = first.start(stop.signal, () => stop.abort(new Error('stopping')));
    await expect(start).rejects.toThrow('stopping');
    await first.dispose('leave');
    const next = new SpawnControl(habitat.options({ command }));
    const error = await failure(next.start(habitat.signal, (pid) => process.kill(pid!, 'SIGKILL')));
    expect(error.message).toContain('it ended at once');
    expect(existsSync(join(habitat.dir, 'state', 'server.json'))).toBe(false);
    await next.dispose('stop');
  });

  test('leaves alone a server that somebody else started', async () => {
    const foreign = new SpawnControl(habitat.options({ stateDir: join(habitat.dir, 'other') }));
    const { pid } = await foreign.start(habitat.signal);
    await foreign.dispose('leave');
    const control = new SpawnControl(habitat.options());
    expect((await control.start(habitat.signal)).pid).toBe(pid);
    await control.dispose('stop');
    expect(isAlive(pid!)).toBe(true);
  });
});

describe('a wrapper that outlives its server', () => {
  /** Starts the server by a wrapper that never ends, kills the server, and gives what has been left running. */
  async function lingering(make: (command: string[]) => Promise<SpawnControl>) {
    const wrapper = join(habitat.dir, 'wrapper.mjs');
    writeFileSync(
      wrapper,
      `import { spawn } from 'node:child_process';
       spawn(process.execPath, [${JSON.stringify(habitat.script)}, ...process.argv.slice(2)], { stdio: 'inherit' });
       setInterval(() => {}, 1e6);`,
    );
    const control = await make([process.execPath, wrapper, 'serve']);
    const { pid } = await habitat.ask();
    process.kill(pid, 'SIGKILL');
    await waitFor(() => {
      control.poke();
      return habitat.exits.length > 0;
    });
    const left = habitat.processes();
    expect(left).toHaveLength(2);
    return { control, left };
  }

  const started = async (command: string[]) => {
    const control = new SpawnControl(habitat.options({ command, fake: 'tool' }));
    await control.start(habitat.signal);
    return control;
  };
  const takenUp = async (command: string[]) => {
    await (await started(command)).dispose('leave');
    const next = new SpawnControl(habitat.options({ command, fake: 'tool' }));
    await next.attach(habitat.signal);
    return next;
  };

  test.each([
    ['start', 'the next', takenUp],
    ['restart', 'the same', started],
  ] as const)(
    'is ended by a %s by %s daemon, with what the server left, and a server is started at once',
    async (act, _, make) => {
      const { control, left } = await lingering(make);
      const { pid } = await control[act](habitat.signal);
      expect(left.filter(isAlive)).toEqual([]);
      expect((await habitat.ask()).pid).toBe(pid);
      await control.dispose('stop');
      expect(habitat.processes()).toEqual([]);
    },
  );
});

test('output without end is bounded, and what is left out is counted', async () => {
  const control = new SpawnControl(habitat.options({ fake: 'noisy' }));
  const began = Date.now();
  await control.start(habitat.signal);
  await waitFor(() => habitat.notices.some((notice) => notice.includes('left out')));
  // One window of a second may have begun before, and another may not be over yet.
  const windows = Math.ceil((Date.now() - began) / 1_000) + 1;
  expect(habitat.lines.length).toBeLessThanOrEqual(MAX_LINES_PER_SECOND * windows);
  await control.dispose('stop');
});
