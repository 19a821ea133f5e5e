/** Recycling: a restart that is not urgent waits for the sessions at work. */
import { describe, expect, test } from 'vitest';
import { RECYCLE_REST } from '../../../../src/watchdog/server/drain.js';
import { MINUTE, policyWith, SECOND, type World, world } from '../driver.js';

const wants = (w: World, reason: 'memory' | 'schedule') =>
  w.tell({ kind: 'restart.requested', reason });
const restarts = (w: World) =>
  w.decisions.filter((each) => 'act' in each && each.act === 'restart');

test('a recycle restarts at once where no session is at work', () => {
  const w = world();
  wants(w, 'schedule');
  expect(w.notes('server.draining')).toMatchObject([{ reason: 'schedule', sessions: 0 }]);
  expect(restarts(w)).toMatchObject([{ reason: 'schedule' }]);
});

test('a recycle waits until the last session at work has ended', () => {
  const w = world();
  w.status('a', 'busy');
  wants(w, 'memory');
  expect(w.notes('server.draining')).toMatchObject([{ reason: 'memory', sessions: 1 }]);
  for (let i = 0; i < 5; i++) {
    w.advance(MINUTE);
    w.tell({ kind: 'session.progress', sessionID: 'a' });
  }
  expect(restarts(w)).toEqual([]);
  w.status('a', 'idle');
  expect(restarts(w)).toMatchObject([{ reason: 'memory' }]);
});

test('a recycle comes at the drain timeout all the same, and says whom it cut', () => {
  const w = world({ policy: { recycle: { drainTimeout: 5 * MINUTE } } });
  w.status('a', 'busy');
  w.tell({ kind: 'session.progress', sessionID: 'a' });
  wants(w, 'schedule');
  w.advance(5 * MINUTE - 1);
  expect(restarts(w)).toEqual([]);
  w.advance(1);
  expect(restarts(w)).toHaveLength(1);
  expect(w.notes('server.restarting')).toMatchObject([{ reason: 'schedule', interrupted: ['a'] }]);
});

test('a recycle never cuts a run where the drain timeout is off', () => {
  const w = world({ policy: { recycle: { drainTimeout: 0 } } });
  w.status('a', 'busy');
  wants(w, 'schedule');
  for (let i = 0; i < 100; i++) {
    w.advance(5 * MINUTE);
    w.tell({ kind: 'session.progress', sessionID: 'a' });
  }
  expect(restarts(w)).toEqual([]);
  w.status('a', 'idle');
  expect(restarts(w)).toMatchObject([{ reason: 'schedule' }]);
});

test('a run that has only just begun is not cut at the drain timeout, for a bounded time', () => {
  const drainTimeout = 2 * MINUTE;
  const w = world({ policy: { recycle: { drainTimeout } } });
  w.status('a', 'busy');
  wants(w, 'schedule');
  // A chain of short runs, so that there is always one that has just begun.
  for (let i = 0; i < 7; i++) {
    w.advance(30 * SECOND);
    w.status(`next-${i}`, 'busy');
    w.status(i === 0 ? 'a' : `next-${i - 1}`, 'idle');
  }
  expect(restarts(w)).toEqual([]);
  w.advance(30 * SECOND);
  expect(restarts(w)).toHaveLength(1);
});

test('a session that waits for a person holds the drain only where it is configured to', () => {
  for (const waitForPeople of [true, false]) {
    const w = world({ policy: { recycle: { waitForPeople } } });
    w.status('a', 'busy');
    w.tell({
      kind: 'request.asked',
      sessionID: 'a',
      request: { requestID: 'per_1', on: 'permission' },
    });
    wants(w, 'memory');
    expect(restarts(w)).toHaveLength(waitForPeople ? 0 : 1);
  }
});

test('a memory limit below what the server needs does not restart it again and again', () => {
  const w = world();
  const restarted = () =>
    w.tell({ kind: 'restart.done', pid: 200, oldPid: 100, tookMs: 1_000 }).connected();
  wants(w, 'memory');
  restarted();
  wants(w, 'memory');
  w.advance(RECYCLE_REST - 1);
  wants(w, 'memory');
  expect(restarts(w)).toHaveLength(1);
  w.advance(1);
  wants(w, 'memory');
  expect(restarts(w)).toHaveLength(2);
});

test('a recycle that is wanted is done by any other restart', () => {
  const w = world();
  w.status('a', 'busy');
  wants(w, 'schedule');
  w.tell({ kind: 'restart.requested', reason: 'manual' });
  w.tell({ kind: 'restart.done', pid: 200, oldPid: 100, tookMs: 1_000 }).connected();
  w.advance(MINUTE);
  expect(restarts(w)).toMatchObject([{ reason: 'manual' }]);
});

test('where the process is never touched, none is wanted', () => {
  const w = world({ acts: false });
  wants(w, 'memory');
  expect(w.decisions).toEqual([]);
});

describe('a recycle whose usage is within its limit again', () => {
  const within = (w: World, reason: 'memory' | 'processes') =>
    w.tell({ kind: 'usage.within', reason });

  test('is withdrawn, so the runs that it waited for are not cut at the drain timeout', () => {
    const w = world({ policy: { recycle: { drainTimeout: 5 * MINUTE } } });
    w.prompt('a');
    wants(w, 'memory').advance(MINUTE);
    within(w, 'memory');
    expect(w.notes('server.recycle_withdrawn')).toMatchObject([{ reason: 'memory' }]);
    w.text('a').advance(5 * MINUTE);
    expect(restarts(w)).toEqual([]);
    // It is wanted anew when the usage is too high again, and then it has its whole drain timeout.
    wants(w, 'memory')
      .text('a')
      .advance(5 * MINUTE - 1);
    expect(restarts(w)).toEqual([]);
    expect(restarts(w.advance(1))).toHaveLength(1);
  });

  test('is still made where it is wanted for another reason', () => {
    const w = wants(world().prompt('a'), 'schedule');
    within(within(w, 'memory'), 'processes');
    expect(w.notes('server.recycle_withdrawn')).toEqual([]);
    expect(restarts(w.status('a', 'idle'))).toMatchObject([{ reason: 'schedule' }]);
  });

  test('is still made where a schedule has come meanwhile, not later than it would have been', () => {
    const w = world({ policy: { recycle: { drainTimeout: 5 * MINUTE } } });
    wants(w.prompt('a'), 'memory').advance(MINUTE);
    wants(wants(w, 'schedule'), 'memory');
    const said = w.notes('server.draining').map(({ reason }) => reason);
    expect(said).toEqual(['memory', 'schedule']);
    within(w, 'memory');
    expect(w.notes('server.recycle_withdrawn')).toEqual([]);
    w.text('a').advance(4 * MINUTE);
    expect(restarts(w)).toMatchObject([{ reason: 'schedule' }]);
  });
});

describe('a recycle that a reload switches off', () => {
  const reload = (w: World, schedule: string | null) =>
    w.tell({ kind: 'policy.changed', policy: policyWith({ recycle: { schedule } }) });
  const busy = () => world().status('a', 'busy');

  test('comes no more where it was scheduled', () => {
    const w = reload(wants(busy(), 'schedule'), null);
    expect(restarts(w.status('a', 'idle'))).toEqual([]);
  });

  test('comes all the same where another schedule takes its place', () => {
    const w = reload(wants(busy(), 'schedule'), '0 5 * * *');
    expect(restarts(w.status('a', 'idle'))).toHaveLength(1);
  });

  test('comes for memory only where a sample is over its limit still', () => {
    const w = reload(wants(busy(), 'memory'), null);
    expect(restarts(w.status('a', 'idle'))).toEqual([]);
    expect(restarts(wants(w, 'memory'))).toHaveLength(1);
  });

  test('comes no more where a pause has left it', () => {
    const w = wants(world().tell({ kind: 'acts.paused' }), 'schedule');
    reload(w.tell({ kind: 'restart.skipped' }), null).tell({ kind: 'acts.resumed' });
    expect(restarts(w)).toHaveLength(1);
    // Nothing was recycled, so a recycle for memory need not rest.
    expect(restarts(wants(w, 'memory'))).toHaveLength(2);
  });
});

describe('a recycle that a pause left undone', () => {
  const leaves = (w: World) => w.tell({ kind: 'restart.skipped' });
  const reasons = (w: World) => restarts(w).map((each) => 'reason' in each && each.reason);
  const policy = { recycle: { schedule: '0 4 * * *' } };
  const paused = () => world({ policy }).tell({ kind: 'acts.paused' });

  test('comes after the pause where it was scheduled', () => {
    const w = leaves(wants(paused(), 'schedule')).advance(MINUTE);
    expect(reasons(w)).toEqual(['schedule']);
    w.tell({ kind: 'acts.resumed' });
    expect(reasons(w)).toEqual(['schedule', 'schedule']);
  });

  test('is judged anew: it waits for the session that is at work by then', () => {
    const w = leaves(wants(paused(), 'schedule')).status('a', 'busy');
    w.tell({ kind: 'acts.resumed' });
    expect(w.notes('server.draining').at(-1)).toMatchObject({ reason: 'schedule', sessions: 1 });
    expect(reasons(w)).toEqual(['schedule']);
    expect(reasons(w.status('a', 'idle'))).toEqual(['schedule', 'schedule']);
  });

  test('comes after the pause where the memory is over its limit still', () => {
    const w = leaves(wants(paused(), 'memory')).advance(MINUTE);
    // Not again and again during the pause.
    expect(reasons(wants(w, 'memory'))).toEqual(['memory']);
    w.tell({ kind: 'acts.resumed' });
    expect(reasons(w)).toEqual(['memory']);
    expect(reasons(wants(w, 'memory'))).toEqual(['memory', 'memory']);
  });

  test('is not forgotten where another one is left undone after it', () => {
    const w = leaves(wants(leaves(wants(paused(), 'schedule')).advance(RECYCLE_REST), 'memory'));
    expect(reasons(w)).toEqual(['schedule', 'memory']);
    w.tell({ kind: 'acts.resumed' });
    expect(reasons(w)).toEqual(['schedule', 'memory', 'schedule']);
  });

  test('comes no more where a person restarts the server in the pause', () => {
    const w = leaves(wants(paused(), 'schedule'));
    w.tell({ kind: 'restart.requested', reason: 'manual' }).restartDone().connected();
    w.tell({ kind: 'acts.resumed' });
    expect(reasons(w)).toEqual(['schedule', 'manual']);
  });

  test('comes no more where the server has ended in the pause', () => {
    const w = leaves(wants(paused(), 'schedule')).exits();
    leaves(w).advance(MINUTE).probeOk().tell({ kind: 'acts.resumed' });
    expect(reasons(w)).toEqual(['schedule', 'exited']);
  });

  test('comes after the pause where another restart was left undone in its place', () => {
    const w = paused().status('a', 'busy');
    wants(w, 'schedule').lost().probeFails(3);
    leaves(w).connected().probeOk();
    expect(reasons(w)).toEqual(['unresponsive']);
    w.status('a', 'idle').tell({ kind: 'acts.resumed' });
    expect(reasons(w)).toEqual(['unresponsive', 'schedule']);
  });

  describe('comes once the server is healthy where the pause ends before that', () => {
    /** The server does not answer as the pause ends. */
    const ill = () => {
      const w = leaves(wants(paused(), 'schedule')).lost().probeFails(3);
      return leaves(w).tell({ kind: 'acts.resumed' }).forget();
    };

    test('and comes once', () => {
      const w = ill().advance(SECOND).probeOk();
      expect(reasons(w)).toEqual(['schedule']);
      leaves(w).lost().probeFails(3);
      expect(reasons(leaves(w).connected().probeOk())).toEqual(['schedule', 'unresponsive']);
    });

    test('and outside of a pause', () => {
      const w = ill().tell({ kind: 'acts.paused' }).probeOk();
      expect(reasons(w)).toEqual([]);
      expect(reasons(w.tell({ kind: 'acts.resumed' }))).toEqual(['schedule']);
    });

    test('unless the server was restarted', () => {
      const w = ill().probeFails(3).restartDone().connected().advance(MINUTE).probeOk();
      expect(reasons(w)).toEqual(['unresponsive']);
    });

    test('unless a reload has switched it off', () => {
      const w = ill().tell({ kind: 'policy.changed', policy: policyWith() }).probeOk();
      expect(reasons(w)).toEqual([]);
    });
  });
});
