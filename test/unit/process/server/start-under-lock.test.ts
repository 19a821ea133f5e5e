import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ControlDeps } from '../../../../src/process/control/control.js';
import { acquireLock, type Caller, type Lock } from '../../../../src/process/lock.js';
import { startUnderLock } from '../../../../src/process/server/start-under-lock.js';
import type { ProcessTable } from '../../../../src/process/table/process-table.js';
import { FakeClock } from '../../../support/fake-clock.js';

/** Every process of this table lives. */
const table: ProcessTable = {
  kind: 'proc',
  list: async () => [],
  read: async (pid) => ({
    pid,
    ppid: 1,
    startTime: '1',
    name: '',
    state: 'S',
    rssBytes: 0,
    command: [],
  }),
  stateOf: async () => 'S',
  isAlive: async () => true,
};
const START_TIMEOUT_MS = 5_000;

describe('a start beside another process of ours', () => {
  let dir: string;
  let clock: FakeClock;
  let server: 'down' | 'up';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'watchdog-start-'));
    vi.stubEnv('TMPDIR', dir);
    clock = new FakeClock();
    server = 'down';
    said = [];
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(dir, { recursive: true });
  });

  let said: string[];
  const lockOf = (pid: number) => ({
    url: 'http://localhost:4096',
    env: {},
    stateDir: join(dir, 'state'),
    clock,
    table,
    pid,
    onWait: (says: string) => said.push(says),
  });
  const isHealthy: ControlDeps['isHealthy'] = async () => (server === 'up' ? {} : null);
  function startBeside() {
    const did: string[] = [];
    const outcome = startUnderLock({
      lock: lockOf(2),
      isHealthy,
      startTimeoutMs: START_TIMEOUT_MS,
      signal: new AbortController().signal,
      openControl: async () => ({
        async start() {
          did.push(`started where the server is ${server}`);
          return { tookMs: 1 };
        },
        dispose: async () => {},
      }),
    }).then(
      () => did.push('done'),
      (error: Error) => did.push(error.message),
    );
    return { did, outcome };
  }
  const held = (caller: Caller): Promise<Lock> => acquireLock({ ...lockOf(1), caller });

  it('waits for a command that starts the server, and finds that server', async () => {
    const lock = await held('command');
    const { did } = startBeside();
    await clock.advance(3_000);
    expect(did).toEqual([]);
    expect(said).toEqual([expect.stringContaining('another command of opencode-watchdog (pid 1)')]);
    server = 'up';
    lock.release();
    await clock.advance(200);
    expect(did).toEqual(['started where the server is up', 'done']);
  });

  it('starts the server itself where that command has failed', async () => {
    const lock = await held('command');
    const { did } = startBeside();
    await clock.advance(1_000);
    lock.release();
    await clock.advance(200);
    expect(did).toEqual(['started where the server is down', 'done']);
  });

  it('waits no longer than a start may take, and says who holds the lock', async () => {
    await held('command');
    const { did } = startBeside();
    await clock.advance(START_TIMEOUT_MS + 200);
    expect(did).toEqual([expect.stringMatching(/another command .*\(pid 1\) starts or restarts/)]);
  });

  it('waits for the server that a daemon starts', async () => {
    await held('daemon');
    const { did } = startBeside();
    await clock.advance(3_000);
    expect(did).toEqual([]);
    expect(said).toEqual([expect.stringContaining('the server of opencode-watchdog (pid 1)')]);
    server = 'up';
    await clock.advance(200);
    expect(did).toEqual(['done']);
  });

  it('is left to a daemon that does not start the server in time', async () => {
    await held('daemon');
    const { did } = startBeside();
    await clock.advance(START_TIMEOUT_MS + 500);
    expect(did).toEqual([expect.stringMatching(/\(pid 1\) watches this server.*within 5000 ms/)]);
  });

  it('refuses a second daemon at once, and lets it wait for a command', async () => {
    const daemon = { ...lockOf(2), caller: 'daemon', waitMs: START_TIMEOUT_MS } as const;
    const first = await held('daemon');
    await expect(acquireLock(daemon)).rejects.toThrow('(pid 1) watches http://localhost:4096');
    first.release();
    const command = await held('command');
    const waits = acquireLock(daemon);
    await clock.advance(1_000);
    command.release();
    await clock.advance(200);
    (await waits).release();
  });
});
