import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Config, defaultConfig } from '../../../src/config/schema.js';
import { EventLoop } from '../../../src/daemon/event-loop.js';
import { SystemClock } from '../../../src/lib/clock.js';
import { OpencodeClient } from '../../../src/opencode/v1/client.js';
import type { ServerControl } from '../../../src/process/control/control.js';
import type { Recorder } from '../../../src/recording/recorder.js';
import type { Telemetry } from '../../../src/telemetry/logger.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { settle } from '../../support/fake-clock.js';

const DEAF_MS = 60_000;

/** A loop that is not started: nothing but its own turns moves it. */
describe('a turn of the loop, which feeds the service manager', () => {
  let clock: SystemClock;
  let client: OpencodeClient;
  let now: number;
  let broken: boolean;
  let config: Config;
  let loop: EventLoop;

  beforeEach(() => {
    now = 0;
    config = defaultConfig();
    broken = false;
    clock = new SystemClock();
    vi.spyOn(clock, 'now').mockImplementation(() => now);
    client = new OpencodeClient({ url: 'http://127.0.0.1:9', username: 'opencode', clock });
    const recorder = {
      take: () => {
        if (broken) throw new Error('a bug');
      },
    };
    loop = new EventLoop({
      config,
      clock,
      client,
      telemetry: { emit: () => {}, subscribe: () => () => {} } as unknown as Telemetry,
      control: {
        acts: true,
        poke: () => {},
        memory: async () => undefined,
      } as unknown as ServerControl,
      recorder: recorder as unknown as Recorder,
      giveUp: () => {},
    });
  });

  afterEach(async () => {
    await loop.stop();
    await client.close();
    vi.restoreAllMocks();
  });

  it('counts when the tick is taken in', () => {
    expect(loop.turn()).toBe(true);
  });

  it('does not count when taking it in fails', () => {
    broken = true;
    expect(loop.turn()).toBe(false);
    broken = false;
    expect(loop.turn()).toBe(true);
  });

  it('does not come again, by a timer, after a reload during the stop', async () => {
    await loop.stop();
    const after = vi.spyOn(clock, 'after');
    config.recycle.schedule = '0 4 * * *';
    loop.reconfigured();
    expect(after).not.toHaveBeenCalled();
  });

  it('does not count when the monitor has brought nothing for a minute', () => {
    now = DEAF_MS;
    expect(loop.turn()).toBe(true);
    now = DEAF_MS + 1;
    expect(loop.turn()).toBe(false);
    loop.observe({ kind: 'probe.ok', at: now, startedAt: now });
    expect(loop.turn()).toBe(true);
  });

  it('does not call itself healthy to the service manager before a probe was answered', () => {
    loop.observe({ kind: 'server.attached', at: now, running: true });
    expect(loop.view()).toMatchObject({ server: 'healthy', answered: false });
    loop.observe({ kind: 'probe.ok', at: now, startedAt: now });
    expect(loop.view()).toMatchObject({ server: 'healthy', answered: true });
  });

  it('tells the service manager that a dry run starts no server', () => {
    expect(loop.view()).toMatchObject({ startsServer: true });
    config.dryRun = true;
    expect(loop.view()).toMatchObject({ startsServer: false });
  });
});

it.each([
  ['that its owner restarts is attached to again, where the process is only observed', false],
  ['that somebody starts during a pause is attached to', true],
])('a server %s', async (_, acts) => {
  const clock = new SystemClock();
  const client = new OpencodeClient({ url: 'http://127.0.0.1:9', username: 'opencode', clock });
  const events: string[] = [];
  const did: string[] = [];
  const loop = new EventLoop({
    config: defaultConfig(),
    clock,
    client,
    telemetry: {
      emit: (event: string) => events.push(event),
      subscribe: () => () => {},
    } as unknown as Telemetry,
    control: {
      acts,
      poke: () => {},
      memory: async () => undefined,
      attach: async () => {
        did.push('attach');
        return { pid: 200, startTime: '1', command: ['opencode', 'serve'] };
      },
      start: async () => did.push('start'),
      restart: async () => did.push('restart'),
    } as unknown as ServerControl,
    recorder: undefined,
    giveUp: () => {},
  });
  const at = () => clock.now();
  loop.observe({ kind: 'server.attached', at: at(), running: true, pid: 100 });
  loop.observe({ kind: 'acts.paused', at: at() });
  loop.observe({ kind: 'server.exited', at: at(), pid: 100, code: null, signal: 'SIGKILL' });
  await settle();
  expect(did).toEqual([]);
  loop.observe({ kind: 'probe.ok', at: at(), startedAt: at() });
  loop.observe({ kind: 'probe.ok', at: at(), startedAt: at() });
  await settle();
  expect(did).toEqual(['attach']);
  expect(loop.status.server()).toMatchObject({ health: 'healthy', pid: 200, restarts: 0 });
  loop.observe({ kind: 'server.exited', at: at(), pid: 200, code: null, signal: 'SIGKILL' });
  expect(events.filter((event) => event === 'server.exited')).toHaveLength(2);
  await loop.stop();
  await client.close();
});

it('knows that the service itself resumes runs before it learns which server runs', async () => {
  const clock = new SystemClock();
  const client = new OpencodeClient({ url: 'http://127.0.0.1:9', username: 'opencode', clock });
  const config = defaultConfig();
  config.recover.afterRestart = 'continue';
  const seen: Observation[] = [];
  const loop = new EventLoop({
    config,
    clock,
    client,
    telemetry: { emit: () => {}, subscribe: () => () => {} } as unknown as Telemetry,
    control: {
      acts: true,
      resumesRuns: true,
      poke: () => {},
      memory: async () => undefined,
      start: () => new Promise(() => {}),
    } as unknown as ServerControl,
    recorder: { take: (o: Observation) => seen.push(o) } as unknown as Recorder,
    giveUp: () => {},
  });
  loop.start(
    { kind: 'ok', version: '2.0.0' },
    { pid: 100, startTime: '1', command: ['opencode', 'serve'] },
  );
  await loop.stop();
  await client.close();
  const told = seen.filter(({ kind }) => kind === 'policy.changed' || kind === 'server.attached');
  expect(told).toMatchObject([
    { kind: 'policy.changed', policy: { recover: { afterRestart: 'none' } } },
    { kind: 'server.attached' },
  ]);
});
