import { beforeEach, describe, expect, it } from 'vitest';
import { SdNotify } from '../../../src/daemon/sd-notify.js';
import { ServiceManager, statusLine, type Watched } from '../../../src/daemon/service-manager.js';
import type { Listener } from '../../../src/telemetry/logger.js';
import { FakeClock } from '../../support/fake-clock.js';

const DAY_MS = 24 * 60 * 60_000;

describe('the status line', () => {
  const none = { aborts: 0, restarts: 0 };
  const of = (...healths: string[]) => healths.map((health) => ({ health })) as never;

  it('counts what is active, and what was done today', () => {
    const sessions = of('busy', 'retrying', 'busy', 'idle', 'busy');
    expect(statusLine('healthy', sessions, { aborts: 2, restarts: 1 })).toBe(
      'healthy, 3 busy, 1 retrying, 2 aborts today, 1 restart today',
    );
  });

  it('is one word where nothing happens', () => {
    expect(statusLine('healthy', of('idle'), none)).toBe('healthy');
  });

  it('says first what is wrong with the server', () => {
    expect(statusLine('held', [], none)).toBe(
      'the server is down, restarts are held by the breaker',
    );
    expect(statusLine('unauthorized', [], none)).toContain('refuses the credentials');
  });
});

describe('the report to the service manager', () => {
  let clock: FakeClock;
  let messages: string[];
  let listener: Listener | undefined;
  let view: ReturnType<Watched['view']>;
  let turns: boolean;
  let report: ServiceManager;

  const loop: Watched = { view: () => view, turn: () => turns };
  const event = (name: string) => listener?.({ event: name } as never);

  beforeEach(() => {
    clock = new FakeClock();
    messages = [];
    view = { server: 'starting', answered: false, startsServer: true, sessions: [] };
    turns = true;
    const notify = new SdNotify({
      env: { NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '30000000' },
      onError: () => {},
      send: async (lines) => void messages.push(lines.join(' ')),
    });
    report = new ServiceManager({
      notify,
      clock,
      telemetry: {
        subscribe(told) {
          listener = told;
          return () => {
            listener = undefined;
          };
        },
      },
    });
    report.watch(loop);
  });

  const said = (key: string) => messages.filter((message) => message.includes(key));

  it('is ready only when the server itself has answered well', async () => {
    await clock.advance(10_000);
    expect(said('READY')).toEqual([]);
    expect(said('STATUS=starting the server')).toHaveLength(1);
    // Something listens, but it has only said 401 so far.
    view = { ...view, server: 'healthy' };
    await clock.advance(10_000);
    expect(said('READY')).toEqual([]);
    view = { ...view, answered: true };
    await clock.advance(250);
    expect(said('READY')).toHaveLength(1);
    await clock.advance(60_000);
    expect(said('READY')).toHaveLength(1);
  });

  it('says again that it is ready until that has arrived', async () => {
    const tried: string[] = [];
    const late = new SdNotify({
      env: { NOTIFY_SOCKET: '/run/notify' },
      onError: () => {},
      send: async (lines) => {
        tried.push(lines.join(' '));
        if (lines.includes('READY=1') && tried.length < 4) throw new Error('timed out');
      },
    });
    view = { ...view, server: 'healthy', answered: true };
    const manager = new ServiceManager({
      notify: late,
      clock,
      telemetry: { subscribe: () => () => {} },
    });
    manager.watch(loop);
    await clock.advance(60_000);
    expect(tried).toEqual(Array(4).fill('STATUS=healthy READY=1'));
  });

  it.each(['unauthorized', 'unsupported', 'held'] as const)(
    'is ready where only a person or time helps: the server is %s',
    async (server) => {
      await clock.advance(10_000);
      expect(said('READY')).toEqual([]);
      view = { ...view, server };
      await clock.advance(250);
      expect(said('READY')).toHaveLength(1);
    },
  );

  it.each(['down', 'unresponsive'] as const)(
    'is ready in a dry run, which starts no server, where the server is %s',
    async (server) => {
      view = { ...view, server };
      await clock.advance(10_000);
      expect(said('READY')).toEqual([]);
      view = { ...view, startsServer: false };
      await clock.advance(250);
      expect(said('READY')).toHaveLength(1);
    },
  );

  it('asks for more time while it works on a start, and only while the loop turns', async () => {
    const asked = () => said('EXTEND_TIMEOUT_USEC=60000000').length;
    await clock.advance(0);
    expect(asked()).toBe(1);
    await clock.advance(10 * 60_000);
    expect(asked()).toBe(31);
    turns = false;
    await clock.advance(60_000);
    expect(asked()).toBe(31);
    turns = true;
    view = { ...view, server: 'healthy', answered: true };
    await clock.advance(10 * 60_000);
    expect(asked()).toBe(31);
  });

  it('asks for no more time once it stops', async () => {
    const late = new SdNotify({
      env: { NOTIFY_SOCKET: '/run/notify' },
      onError: () => {},
      send: async (lines) => void messages.push(lines.join(' ')),
    });
    messages = [];
    late.extendStart(60_000);
    late.stopping();
    await late.settled();
    expect(messages).toEqual(['STOPPING=1']);
  });

  it('gives a sign of life three times in the limit, and only while the loop turns', async () => {
    await clock.advance(30_000);
    const before = said('WATCHDOG=1').length;
    expect(before).toBe(4);
    turns = false;
    await clock.advance(60_000);
    expect(said('WATCHDOG=1')).toHaveLength(before);
    turns = true;
    await clock.advance(10_000);
    expect(said('WATCHDOG=1')).toHaveLength(before + 1);
  });

  it('says a status only when it changes, and counts the day', async () => {
    view = { ...view, server: 'healthy', answered: true, sessions: [{ health: 'busy' }] };
    await clock.advance(10_000);
    expect(said('STATUS=healthy, 1 busy')).toHaveLength(1);
    event('session.aborted');
    event('session.aborted');
    event('server.restarted');
    await clock.advance(5_000);
    expect(said('2 aborts today, 1 restart today')).toHaveLength(1);
    await clock.advance(DAY_MS);
    expect(messages.findLast((message) => message.includes('STATUS'))).toMatch(/healthy, 1 busy$/);
  });

  it('says that it reloads only once it was ready', async () => {
    report.reloading();
    report.reloaded();
    await report.stop();
    expect(said('RELOADING').concat(said('READY'))).toEqual([]);
  });

  it('does not call itself ready again when it is told to reload during its stop', async () => {
    view = { ...view, server: 'healthy', answered: true };
    await clock.advance(1_000);
    report.stopping();
    report.reloading();
    report.reloaded();
    await report.stop();
    expect(said('READY')).toHaveLength(1);
    expect(said('RELOADING')).toEqual([]);
    expect(messages.at(-1)).toContain('STOPPING=1');
  });

  it('ends with its stopping', async () => {
    report.stopping();
    await report.stop();
    expect(messages.at(-1)).toContain('STOPPING=1');
    expect(clock.pending).toBe(0);
    expect(listener).toBeUndefined();
  });
});
