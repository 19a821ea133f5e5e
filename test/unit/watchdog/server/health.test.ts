/** The server: probes against the stream, exits, restarts and their budget. */
import { describe, expect, test } from 'vitest';
import { MINUTE, policyWith, SECOND, UNSAID, type World, world } from '../driver.js';

test('an answer that was asked for before the process ended says nothing of the server, whatever it is', () => {
  const w = world({ acts: false });
  const startedAt = w.at;
  w.advance(SECOND).exits();
  w.tell({ kind: 'probe.ok', startedAt });
  w.tell({ kind: 'probe.unauthorized', startedAt, status: 401 });
  w.tell({ kind: 'probe.unsupported', startedAt, answered: 'a page', means: 'no opencode' });
  expect(w.watchdog.server.healthy).toBe(false);
  expect(w.notes('server.unauthorized')).toEqual([]);
  expect(w.notes('server.unsupported')).toEqual([]);
  w.advance(SECOND).probeOk();
  expect(w.watchdog.server.healthy).toBe(true);
});

describe('a server that came back by itself', () => {
  const found = (w: World, pid = 300) => w.tell({ kind: 'server.attached', running: true, pid });

  test('is unattached until its process is found, and its end is reported again', () => {
    const w = world({ acts: false });
    expect(w.watchdog.server.isUnattached).toBe(false);
    w.exits();
    expect(w.watchdog.server.isUnattached).toBe(false);
    w.advance(SECOND).probeOk();
    expect(w.watchdog.server.isUnattached).toBe(true);
    found(w);
    expect(w.watchdog.server.pid).toBe(300);
    expect(w.watchdog.server.isUnattached).toBe(false);
    w.forget().exits(100);
    expect(w.notes('server.exited')).toEqual([]);
    w.exits(300);
    expect(w.notes('server.exited')).toMatchObject([{ pid: 300 }]);
  });

  test('is unattached also while it refuses the password, and while it is not understood', () => {
    const w = world({ acts: false }).exits().advance(SECOND);
    w.tell({ kind: 'probe.unauthorized', startedAt: w.at, status: 401 });
    expect(w.watchdog.server.isUnattached).toBe(true);
    w.tell({
      kind: 'probe.unsupported',
      startedAt: w.at,
      answered: 'a page',
      means: 'no opencode',
    });
    expect(w.watchdog.server.isUnattached).toBe(true);
    found(w);
    expect(w.watchdog.server).toMatchObject({ pid: 300, isUnattached: false });
    expect(w.watchdog.server.health()).toBe('unsupported');
  });

  test('is nothing new where its process is found: no act, no run cut or continued, no restart', () => {
    const w = world({ policy: { recover: { afterRestart: 'continue' } } });
    w.tell({ kind: 'acts.paused' }).prompt('cut').exits().tell({ kind: 'restart.skipped' });
    w.advance(SECOND).probeOk().connected().prompt('new').forget();
    found(w).advance(SECOND);
    expect(w.decisions).toEqual([]);
    expect(w.health('new')).toBe('busy');
    expect(w.watchdog.server.restarts).toBe(0);
  });

  test('stays down where it has ended by the time that its process is found', () => {
    const w = world({ acts: false }).exits().advance(SECOND).probeOk();
    found(w.exits(300).forget());
    expect(w.decisions).toEqual([]);
    expect(w.watchdog.server.pid).toBeUndefined();
    expect(w.watchdog.server.health()).toBe('down');
  });

  test('may be touched or not, whatever was true of the one before', () => {
    const w = world({ acts: false }).exits().advance(SECOND).probeOk();
    w.tell({ kind: 'server.attached', running: true, pid: 300, acts: true }).exits(300);
    expect(w.acts('restart')).toMatchObject([{ reason: 'exited' }]);
    const other = world().tell({ kind: 'acts.paused' }).exits();
    other.tell({ kind: 'restart.skipped' }).advance(SECOND).probeOk();
    other.tell({ kind: 'server.attached', running: true, pid: 300, acts: false });
    other.tell({ kind: 'acts.resumed' }).forget().exits(300);
    expect(other.acts()).toEqual([]);
  });

  test('is left alone where it came up in the place of the one that was to be restarted', () => {
    const w = world().exits();
    w.tell({ kind: 'restart.done', pid: 300, tookMs: 1, acts: false }).forget();
    w.tell({ kind: 'restart.requested', reason: 'memory' });
    expect(w.connected().lost().probeFails(9).advance(MINUTE).acts()).toEqual([]);
  });

  test('keeps the process of a restart that began meanwhile', () => {
    const w = found(world().exits()).restartDone(200);
    expect(w.watchdog.server.pid).toBe(200);
    expect(found(world().exits()).watchdog.server.pid).toBeUndefined();
  });
});

describe('a server that does not answer', () => {
  test('is restarted after maxFailures probes where no stream vouches for it', () => {
    const w = world().lost().probeFails(2);
    expect(w.acts()).toEqual([]);
    w.probeFails(1);
    expect(w.notes('server.unresponsive')).toMatchObject([{ failures: 3, lastError: 'no answer' }]);
    expect(w.acts()).toEqual([{ act: 'restart', reason: 'unresponsive' }]);
  });

  test('is forgiven by one good answer in between', () => {
    const w = world().lost().probeFails(2).probeOk().probeFails(2);
    expect(w.acts()).toEqual([]);
  });

  test('is outvoted by a live stream: a busy server is not a dead one', () => {
    const w = world();
    for (let i = 0; i < 20; i += 1) w.probeFails(1).alive().probeFails(1);
    expect(w.acts()).toEqual([]);
  });

  test('is vouched for by a stream only for a heartbeat and a little', () => {
    const w = world({ policy: { probe: { interval: 2 } } })
      .alive()
      .probeFails(2);
    w.probeFails(1, 1_999);
    expect(w.acts()).toEqual([]);
    w.probeFails(1, 2);
    expect(w.acts('restart')).toHaveLength(1);
  });

  test('is given more time where its heartbeats are further apart', () => {
    const w = world()
      .alive(30 * SECOND)
      .probeFails(7, 5 * SECOND);
    expect(w.acts()).toEqual([]);
    w.probeFails(1, 5 * SECOND);
    expect(w.acts('restart')).toHaveLength(1);
  });

  test('is not blamed for what failed while the daemon did not run', () => {
    const w = world().lost().probeFails(2);
    w.advance(10).tell({ kind: 'gap', ms: 60 * MINUTE });
    w.tell({ kind: 'probe.failed', startedAt: w.at - 5, failure: 'timeout', error: 'x' });
    w.probeFails(2);
    expect(w.acts()).toEqual([]);
    expect(w.probeFails(1).acts('restart')).toHaveLength(1);
  });

  test('that asks for a password lives, and is never restarted for it', () => {
    const w = world();
    for (let i = 0; i < 20; i += 1) {
      w.advance(5 * SECOND).tell({ kind: 'probe.unauthorized', startedAt: w.at, status: 401 });
    }
    expect(w.notes('server.unauthorized')).toHaveLength(1);
    expect(w.acts()).toEqual([]);
    expect(w.watchdog.server.health()).toBe('unauthorized');
  });

  test('that asked for a password and then exits is started again', () => {
    const w = world().tell({ kind: 'probe.unauthorized', startedAt: 0, status: 401 }).exits();
    expect(w.acts()).toEqual([{ act: 'restart', reason: 'exited' }]);
  });
});

describe('a server that exits', () => {
  test('is restarted at once, and its sessions are said to be interrupted once', () => {
    const w = world().prompt('a').prompt('b').fails('b', 1).exits();
    expect(w.notes('server.exited')).toMatchObject([{ pid: 100, signal: 'SIGKILL' }]);
    expect(w.acts()).toEqual([{ act: 'restart', reason: 'exited' }]);
    expect(w.notes('server.restarting')).toMatchObject([{ interrupted: ['a', 'b'] }]);
    w.restartDone();
    expect(w.notes('session.interrupted')).toMatchObject([
      { sessionID: 'a', health: 'busy', restartReason: 'exited' },
      { sessionID: 'b', health: 'retrying' },
    ]);
    expect(w.notes('server.restarted')).toMatchObject([{ pid: 200, oldPid: 100 }]);
    expect(w.notes('session.failed')).toEqual([]);
    expect(w.watchdog.sessions(w.at)).toEqual([]);
  });

  test('again soon after waits for the backoff', () => {
    const w = world().exits().advance(100).restartDone().advance(100).exits();
    expect(w.acts('restart')).toHaveLength(1);
    w.advance(799);
    expect(w.acts('restart')).toHaveLength(1);
    w.advance(1);
    expect(w.acts('restart')).toHaveLength(2);
  });

  test('names what it interrupted also when the exit is told twice during the backoff', () => {
    const w = world().exits().restartDone().prompt('a').exits();
    w.advance(10).exits(undefined).advance(SECOND);
    expect(w.notes('server.restarting').at(-1)).toMatchObject({ interrupted: ['a'] });
    expect(w.notes('server.exited')).toHaveLength(2);
  });

  test('is not believed of an older process', () => {
    const w = world().prompt().exits(99);
    expect(w.acts()).toEqual([]);
    expect(w.health()).toBe('busy');
  });

  test('leaves no phantom runs behind what it still said', () => {
    const w = world({ acts: false }).prompt().exits().status('s', 'busy').text().fails('s', 5);
    expect(w.watchdog.sessions(w.at)).toEqual([]);
    expect(w.stuck()).toEqual([]);
  });

  test('is watched again when somebody else starts it', () => {
    const w = world({ acts: false }).exits().advance(MINUTE).probeOk();
    expect(w.notes('server.healthy')).toHaveLength(1);
    w.poll({ s: { type: 'busy' } });
    expect(w.health()).toBe('busy');
  });
});

describe('the first start', () => {
  const down = () => world({ attached: false }).tell({ kind: 'server.attached', running: false });

  test('is nobody’s failure and costs no budget', () => {
    const w = down();
    expect(w.acts()).toEqual([{ act: 'start' }]);
    w.probeFails(10);
    expect(w.acts()).toHaveLength(1);
    w.restartDone(1);
    expect(w.notes('server.healthy')).toMatchObject([{ pid: 1, tookMs: 1_500 }]);
    expect(w.notes('server.restarted')).toEqual([]);
  });

  test('that fails is tried again within the budget', () => {
    const w = down().restartFailed();
    expect(w.notes('server.restart_failed')).toHaveLength(1);
    expect(w.acts('restart')).toEqual([{ act: 'restart', reason: 'exited' }]);
    w.restartFailed();
    expect(w.acts('restart')).toHaveLength(1);
    expect(w.advance(SECOND).acts('restart')).toHaveLength(2);
  });

  test('is satisfied by the start that a person asks for in the same moment', () => {
    const w = down().tell({ kind: 'restart.requested', reason: 'manual' }).restartDone();
    expect(w.acts('restart')).toEqual([]);
  });

  test('is left to others where the process is never touched', () => {
    const w = world({ attached: false, acts: false });
    w.tell({ kind: 'server.attached', running: false }).advance(60 * MINUTE);
    expect(w.acts()).toEqual([]);
  });
});

describe('a restart that is asked for', () => {
  const ask = (w: World, reason: 'manual' | 'memory' | 'schedule' = 'manual') =>
    w.tell({ kind: 'restart.requested', reason });

  test('comes at once, and its sessions are interrupted when it is done', () => {
    const w = ask(world().prompt());
    expect(w.acts()).toEqual([{ act: 'restart', reason: 'manual' }]);
    expect(w.notes('session.interrupted')).toEqual([]);
    w.restartDone();
    expect(w.notes('session.interrupted')).toMatchObject([{ restartReason: 'manual' }]);
    expect(w.acts()).toHaveLength(1);
  });

  test('twice is done once', () => {
    const w = ask(ask(world()))
      .restartDone()
      .advance(10 * MINUTE);
    expect(w.acts('restart')).toHaveLength(1);
  });

  test('is not remembered where the process is never touched', () => {
    const w = ask(world({ acts: false }))
      .prompt('a')
      .prompt('b')
      .prompt('c');
    for (const id of ['a', 'b', 'c']) w.fails(id, 1, { nextInMs: UNSAID });
    w.advance(30 * SECOND);
    expect(w.acts('restart')).toEqual([]);
    expect(w.acts('abort')).toHaveLength(3);
  });

  test('by a schedule does not hide that the server died meanwhile', () => {
    const w = world().exits().restartDone().prompt('a');
    ask(w, 'schedule').exits().advance(SECOND).restartDone();
    expect(w.notes('server.restarting').at(-1)).toMatchObject({
      reason: 'exited',
      interrupted: ['a'],
    });
    expect(w.advance(MINUTE).acts('restart')).toHaveLength(2);
  });

  test('by a person does not wait for the breaker', () => {
    const w = world({ policy: { restart: { maxRestarts: 1 } } })
      .exits()
      .restartDone()
      .exits();
    expect(w.watchdog.server.health()).toBe('held');
    expect(ask(w).acts('restart')).toHaveLength(2);
  });
});

describe('an upgrade of opencode', () => {
  test('that does not start is said with both versions, and the breaker holds it', () => {
    const w = world({ policy: { restart: { maxRestarts: 2 } } });
    w.tell({ kind: 'probe.ok', startedAt: w.at });
    w.tell({ kind: 'restart.requested', reason: 'manual' });
    w.tell({ kind: 'restart.done', pid: 200, tookMs: 1, version: '1.18.34' });
    const failed = { kind: 'restart.failed', serverAlive: false, version: '1.19.0' } as const;
    const error = 'it ended at once (exit code 1); its last output:\nbad config';
    w.exits(200);
    for (let i = 0; i < 5; i++) w.tell({ ...failed, error }).advance(60 * SECOND);
    expect(w.notes('server.restart_failed')).toMatchObject([
      { error, version: '1.19.0', previousVersion: '1.18.34' },
      { error, version: '1.19.0', previousVersion: '1.18.34' },
    ]);
    expect(w.notes('server.breaker_open')).toHaveLength(1);
    expect(w.watchdog.server.health()).toBe('held');
    // The same version again is no upgrade.
    const same = world().tell({ kind: 'restart.requested', reason: 'manual' });
    same.tell({ kind: 'restart.done', pid: 200, tookMs: 1, version: '1.19.0' }).exits(200);
    same.tell({ ...failed, error });
    expect(same.notes('server.restart_failed')[0]).not.toHaveProperty('version');
  });

  const versions = (w: World) =>
    w.notes('server.healthy').map(({ version, previousVersion }) => [previousVersion, version]);

  test('that takes effect with a restart is said, and the same version again is no news', () => {
    const w = world().tell({ kind: 'restart.requested', reason: 'manual' });
    w.tell({ kind: 'restart.done', pid: 200, tookMs: 1_500, version: '1.18.34' });
    w.tell({ kind: 'restart.requested', reason: 'manual' });
    w.tell({ kind: 'restart.done', pid: 300, tookMs: 1_500, version: '1.18.34' });
    expect(versions(w)).toEqual([
      ['1.18.33', '1.18.34'],
      [undefined, '1.18.34'],
    ]);
  });

  test('is not made up where the new server tells no version', () => {
    const w = world().tell({ kind: 'restart.requested', reason: 'manual' }).restartDone();
    expect(versions(w)).toEqual([[undefined, '1.18.33']]);
  });
});

describe('a restart that fails', () => {
  test('with the old server still serving loses nothing, and is not tried without end', () => {
    const w = world().prompt().tell({ kind: 'restart.requested', reason: 'manual' });
    w.restartFailed(true);
    expect(w.notes('server.restart_failed')).toMatchObject([{ serverAlive: true }]);
    expect(w.notes('session.interrupted')).toEqual([]);
    expect(w.health()).toBe('busy');
    expect(w.advance(MINUTE).acts('restart')).toHaveLength(1);
  });

  test('with nothing alive interrupts what was cut, and is tried again after the backoff', () => {
    const w = world().prompt().lost().probeFails(3);
    w.restartFailed(false);
    expect(w.notes('server.restart_failed')[0]).not.toHaveProperty('serverAlive');
    expect(w.notes('session.interrupted')).toHaveLength(1);
    expect(w.watchdog.server.health()).toBe('down');
    expect(w.advance(SECOND).acts('restart')).toHaveLength(2);
  });

  test('because the new process ended before its start was reported has not worked, whatever is reported', () => {
    const w = world().prompt('cut').tell({ kind: 'restart.requested', reason: 'manual' });
    // The end of the old process is what the restart is for.
    w.exits(200).exits(100).restartDone(200);
    expect(w.notes('server.healthy')).toEqual([]);
    expect(w.notes('server.restarted')).toEqual([]);
    expect(w.notes('server.restart_failed')).toMatchObject([
      { reason: 'manual', error: 'the new process 200 ended at once (SIGKILL)' },
    ]);
    expect(w.notes('session.interrupted')).toHaveLength(1);
    expect(w.acts('restart')).toMatchObject([{ reason: 'manual' }, { reason: 'exited' }]);
    w.restartDone(300);
    expect(w.notes('server.restarted')).toMatchObject([{ reason: 'exited', pid: 300 }]);
  });

  test('is not made up from the end of another process', () => {
    const w = world().tell({ kind: 'restart.requested', reason: 'manual' });
    w.exits(100).exits(99).restartDone(200);
    expect(w.notes('server.restarted')).toMatchObject([{ pid: 200 }]);
    expect(w.watchdog.server.healthy).toBe(true);
  });

  test('counts also for the first start', () => {
    const w = world({ attached: false }).tell({ kind: 'server.attached', running: false });
    w.exits(1).restartDone(1);
    expect(w.notes('server.restart_failed')).toMatchObject([{ reason: 'start' }]);
    expect(w.acts('restart')).toMatchObject([{ reason: 'exited' }]);
  });

  test('because what runs now refuses us continues the cut runs once the credentials are good', () => {
    const w = world({ policy: { recover: { afterRestart: 'continue' } } }).prompt('cut');
    w.tell({ kind: 'restart.requested', reason: 'manual' });
    w.tell({ kind: 'restart.done', pid: 200, tookMs: 9, unauthorized: 401, means: 'a tunnel' });
    expect(w.notes('server.healthy')).toEqual([]);
    expect(w.notes('server.restart_failed')).toMatchObject([
      { error: 'what runs now refuses the credentials (status 401)' },
    ]);
    expect(w.notes('server.unauthorized')).toMatchObject([{ status: 401, means: 'a tunnel' }]);
    expect(w.acts('continue')).toEqual([]);
    w.advance(SECOND).probeOk();
    expect(w.acts('continue')).toMatchObject([{ sessionID: 'cut' }]);
    expect(w.advance(MINUTE).acts('restart')).toHaveLength(1);
  });

  test('leaves an abort that ended meanwhile ended', () => {
    const w = world().prompt().fails('s', 5).tell({ kind: 'restart.requested', reason: 'manual' });
    w.abortFailed().restartFailed(true);
    expect(w.aborts()).toHaveLength(2);
  });

  test('makes sessions be looked at again: what they said meanwhile was not listened to', () => {
    const w = world().prompt().toolRuns().tell({ kind: 'restart.requested', reason: 'manual' });
    w.toolEnds().restartFailed(true);
    expect(w.acts('inspect')).toHaveLength(1);
  });
});

describe('the breaker', () => {
  const policy = { restart: { maxRestarts: 3, window: 10 * MINUTE, cooldown: 15 * MINUTE } };
  /** Dies as soon as it is up, as long as restarts come within a minute. */
  const crashLoop = (w: World): World => {
    for (let done = -1; w.acts('restart').length > done; ) {
      done = w.acts('restart').length;
      w.restartDone().exits().advance(MINUTE);
    }
    return w;
  };

  test('opens after maxRestarts in the window, and holds', () => {
    const w = crashLoop(world({ policy }).exits());
    expect(w.acts('restart')).toHaveLength(3);
    expect(w.notes('server.breaker_open')).toMatchObject([
      { reason: 'exited', restarts: 3, cooldownMs: 15 * MINUTE },
    ]);
    expect(w.watchdog.server.health()).toBe('held');
  });

  test('lets one trial through after the cooldown; a failed trial doubles it', () => {
    const w = crashLoop(world({ policy }).exits()).advance(15 * MINUTE);
    expect(w.acts('restart')).toHaveLength(4);
    w.restartFailed();
    expect(w.notes('server.breaker_open').at(-1)).toMatchObject({ cooldownMs: 30 * MINUTE });
    expect(w.advance(30 * MINUTE - 1).acts('restart')).toHaveLength(4);
    expect(w.advance(1).acts('restart')).toHaveLength(5);
  });

  test('doubles to at most four hours', () => {
    const w = crashLoop(world({ policy }).exits());
    for (let i = 0; i < 8; i += 1) w.advance(4 * 60 * MINUTE).restartFailed();
    expect(w.notes('server.breaker_open').at(-1)).toMatchObject({ cooldownMs: 240 * MINUTE });
  });

  test('closes when the trial brings the server back', () => {
    const w = crashLoop(world({ policy }).exits())
      .advance(15 * MINUTE)
      .restartDone();
    expect(w.notes('server.breaker_closed')).toHaveLength(1);
    expect(w.watchdog.server.health()).toBe('healthy');
  });

  test('closes when the server comes back by itself', () => {
    const w = crashLoop(world({ policy }).exits()).probeOk();
    expect(w.notes('server.breaker_closed')).toHaveLength(1);
  });

  test('forgets its openings after a whole window of health', () => {
    const w = crashLoop(world({ policy }).exits())
      .advance(15 * MINUTE)
      .restartDone();
    w.advance(11 * MINUTE).exits();
    crashLoop(w);
    expect(w.notes('server.breaker_open').at(-1)).toMatchObject({ cooldownMs: 15 * MINUTE });
  });

  test('that opened over a healthy server is not open for ever', () => {
    const one = { restart: { maxRestarts: 1, window: MINUTE, cooldown: 2 * MINUTE } };
    const w = world({ policy: one });
    w.tell({ kind: 'restart.requested', reason: 'schedule' }).restartDone();
    w.tell({ kind: 'restart.requested', reason: 'schedule' });
    expect(w.notes('server.breaker_open')).toHaveLength(1);
    w.advance(2 * MINUTE).restartDone();
    expect(w.watchdog.server.breaker.state.kind).toBe('closed');
  });

  describe('over a healthy server', () => {
    const restart = { maxRestarts: 1, window: 10 * MINUTE, cooldown: 15 * MINUTE };
    /** A crash spends the budget, and a wedged session asks for one restart more. Then its run ends by itself. */
    const opened = (): World => {
      const w = world({ policy: { restart } }).exits().restartDone().prompt().fails('s', 5);
      w.abortFailed().advance(MINUTE).abortFailed().advance(MINUTE).abortFailed();
      expect(w.notes('server.breaker_open')).toMatchObject([{ reason: 'wedged' }]);
      return w.status('s', 'idle');
    };
    const state = (w: World) => w.watchdog.server.breaker.state;

    test('closes when its time is over, although nobody asks for a restart', () => {
      const w = opened().advance(15 * MINUTE - 1);
      expect(state(w).kind).toBe('open');
      w.advance(1);
      expect(state(w).kind).toBe('closed');
      expect(w.notes('server.breaker_closed')).toEqual([
        { note: 'server.breaker_closed', restarts: 0 },
      ]);
      expect(w.advance(24 * 60 * MINUTE).notes('server.breaker_closed')).toHaveLength(1);
    });

    test('says that it closes at the crash that comes before the next tick', () => {
      const w = opened();
      w.at += 20 * MINUTE;
      w.exits();
      expect(w.notes('server.breaker_closed')).toHaveLength(1);
      expect(w.acts('restart').at(-1)).toMatchObject({ reason: 'exited' });
    });

    test('closes after a trial that failed and left the server as it was', () => {
      const short = { ...restart, cooldown: MINUTE };
      const w = world({ policy: { restart: short } })
        .exits()
        .advance(MINUTE)
        .restartDone();
      w.tell({ kind: 'restart.requested', reason: 'schedule' }).advance(9 * MINUTE + 1);
      expect(state(w).kind).toBe('half_open');
      w.restartFailed(true).advance(10 * MINUTE - 1);
      expect(state(w).kind).toBe('half_open');
      w.advance(1);
      expect(w.notes('server.breaker_closed')).toHaveLength(1);
    });
  });

  test('gives up with restart.giveUp exit', () => {
    const exit = { restart: { ...policy.restart, giveUp: 'exit' as const } };
    const w = crashLoop(world({ policy: exit }).exits());
    expect(w.acts('give_up')).toEqual([{ act: 'give_up', restarts: 3 }]);
  });

  describe('with restart.giveUp exit', () => {
    const restart = { maxRestarts: 1, giveUp: 'exit' as const };
    const held = (w: World) =>
      w.exits().restartDone(200).connected().advance(MINUTE).exits().forget();

    test('gives up after the pause in which the breaker opened', () => {
      const w = held(world({ policy: { restart } }).tell({ kind: 'acts.paused' }));
      w.tell({ kind: 'acts.resumed' });
      expect(w.acts()).toEqual([{ act: 'give_up', restarts: 1 }]);
    });

    test('gives up when a reload sets it while the breaker is open', () => {
      const w = held(world({ policy: { restart: { maxRestarts: 1 } } }));
      w.tell({ kind: 'policy.changed', policy: policyWith({ restart }) });
      expect(w.acts()).toEqual([{ act: 'give_up', restarts: 1 }]);
    });

    test('does not give up a server that is back', () => {
      const w = held(world({ policy: { restart } }).tell({ kind: 'acts.paused' })).probeOk();
      w.tell({ kind: 'acts.resumed' });
      expect(w.acts()).toEqual([]);
    });

    test('tries a restart after a pause that outlasted the cooldown', () => {
      const w = held(world({ policy: { restart } }).tell({ kind: 'acts.paused' }));
      w.at += 60 * MINUTE;
      w.tell({ kind: 'acts.resumed' });
      expect(w.acts()).toEqual([{ act: 'restart', reason: 'exited' }]);
    });
  });
});

describe('where the process is never touched', () => {
  test('no trouble leads to a restart', () => {
    const w = world({ acts: false })
      .lost()
      .probeFails(20)
      .exits()
      .advance(60 * MINUTE);
    expect(w.acts()).toEqual([]);
    expect(w.notes('server.unresponsive')).toHaveLength(1);
  });
});

describe('a server that is not understood', () => {
  const strange = { answered: 'GET /global/health answered 200 with text/html', means: 'a page' };
  const answers = (w: World, more: object = {}) =>
    w.advance(5 * SECOND).tell({
      kind: 'probe.unsupported',
      startedAt: Number.MAX_SAFE_INTEGER,
      ...strange,
      ...more,
    } as never);
  const notes = (w: World) => w.notes('server.unsupported');

  test('is said once where it was so from the beginning, and never restarted', () => {
    const w = world({ attached: false }).tell({
      kind: 'server.attached',
      running: true,
      unsupported: strange,
    });
    for (let nth = 0; nth < 20; nth += 1) answers(w);
    expect(notes(w)).toHaveLength(1);
    expect(w.acts()).toEqual([]);
    answers(w, { answered: 'GET /api/info 200', version: '2.0.26' });
    expect(notes(w)).toHaveLength(2);
    expect(w.watchdog.server.health()).toBe('unsupported');
  });

  test('is news of a healthy one only after as many answers as probes may fail', () => {
    const w = world().lost();
    answers(answers(w));
    expect(w.watchdog.server.health()).toBe('healthy');
    answers(w);
    expect(w.watchdog.server.health()).toBe('unsupported');
    expect(w.acts()).toEqual([]);
    w.probeOk();
    expect(w.watchdog.server.health()).toBe('healthy');
  });

  test('is no news while it says that it is starting', () => {
    const w = world({ attached: false }).tell({
      kind: 'server.attached',
      running: true,
      unsupported: { ...strange, starting: true },
    });
    expect(notes(w)).toEqual([]);
    expect(w.watchdog.server.health()).toBe('starting');
    expect(answers(w, { starting: true }).acts()).toEqual([]);
    w.probeOk();
    expect(w.watchdog.server.health()).toBe('healthy');
  });

  test('is not judged by its silence, and is missed only when nobody listens any more', () => {
    const w = world({ attached: false }).tell({
      kind: 'server.attached',
      running: true,
      unsupported: strange,
    });
    w.probeFails(10);
    expect(w.acts()).toEqual([]);
    for (let nth = 0; nth < 3; nth += 1) {
      w.advance(5 * SECOND).tell({
        kind: 'probe.failed',
        startedAt: Number.MAX_SAFE_INTEGER,
        failure: 'refused',
        error: 'could not connect',
      } as never);
    }
    expect(w.acts('restart')).toMatchObject([{ reason: 'unresponsive' }]);
  });

  test('that a restart brought up has failed the restart, and no second follows', () => {
    const w = world().tell({ kind: 'restart.requested', reason: 'manual' });
    w.tell({ kind: 'restart.done', pid: 2, tookMs: 9, unsupported: strange });
    expect(w.notes('server.restart_failed')).toHaveLength(1);
    expect(w.watchdog.server.health()).toBe('unsupported');
    expect(answers(w).acts('restart')).toHaveLength(1);
  });
});

describe('dryRun', () => {
  const skipped = (w: World) => w.tell({ kind: 'restart.skipped' });

  test('says once what it would restart, until something changes', () => {
    const w = skipped(world().exits()).advance(60 * MINUTE);
    expect(w.acts('restart')).toHaveLength(1);
    w.probeOk().exits(undefined);
    expect(w.acts('restart')).toHaveLength(2);
  });

  test('starts nothing', () => {
    const w = world({ attached: false }).tell({ kind: 'server.attached', running: false });
    skipped(w).advance(60 * MINUTE);
    expect(w.acts()).toEqual([{ act: 'start' }]);
    expect(w.watchdog.server.health()).toBe('down');
  });

  test('leaves the first start a first start, which costs no budget', () => {
    const w = world({ attached: false }).tell({ kind: 'server.attached', running: false });
    skipped(w).tell({ kind: 'policy.changed' });
    expect(w.acts()).toEqual([{ act: 'start' }, { act: 'start' }]);
    expect(w.notes('server.restarting')).toEqual([]);
    expect(w.watchdog.server.restarts).toBe(0);
  });

  test('still decides about a server that froze after a pile-up was left', () => {
    const w = world().prompt('a').prompt('b').prompt('c');
    for (const id of ['a', 'b', 'c']) w.fails(id, 1, { nextInMs: UNSAID });
    skipped(w.advance(30 * SECOND))
      .lost()
      .probeFails(3);
    expect(w.acts('restart').map((each) => each.reason)).toEqual(['pileup', 'unresponsive']);
  });

  test('out of turn changes nothing', () => {
    expect(skipped(world()).watchdog.server.health()).toBe('healthy');
    expect(world().prompt().restartDone().health()).toBe('busy');
  });
});

test('probes that fail in the same moment are one failure: the exit of the process is the better news', () => {
  const w = world().lost();
  for (const later of [1, 5, 40]) {
    w.advance(later).tell({
      kind: 'probe.failed',
      startedAt: w.at - 1,
      failure: 'refused',
      error: 'connect ECONNREFUSED',
    });
  }
  expect(w.notes('server.unresponsive')).toEqual([]);
  w.exits();
  expect(w.notes('server.restarting')).toMatchObject([{ reason: 'exited' }]);
});
