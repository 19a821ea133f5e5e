/** Several sessions retry at once: a restart, or aborts if a restart would cost more or not help. */
import { describe, expect, test } from 'vitest';
import { MAX_SESSIONS } from '../../../../src/watchdog/session/registry.js';
import { MINUTE, policyWith, SECOND, UNSAID, type World, world } from '../driver.js';

const PATIENT = { retry: { maxAttempts: 100, maxDuration: 0, maxWait: 0 } };
const ids = ['a', 'b', 'c'];
const pileUp = (w: World, sessions: readonly string[] = ids, model = 'fake/m1'): World => {
  for (const id of sessions) w.prompt(id, { model }).fails(id, 1, { nextInMs: UNSAID });
  return w;
};
const reasons = (w: World) => w.acts('restart').map((each) => each.reason);

describe('a pile-up', () => {
  test('restarts the server at once where nothing healthy would be lost', () => {
    const w = pileUp(world()).advance(30 * SECOND - 1);
    expect(w.acts()).toEqual([]);
    w.advance(1);
    expect(w.acts()).toEqual([{ act: 'restart', reason: 'pileup' }]);
    expect(w.notes('server.restarting')).toMatchObject([{ interrupted: ids }]);
    w.restartDone();
    expect(w.notes('session.interrupted').map((each) => each.sessionID)).toEqual(ids);
  });

  test('is one over two directories', () => {
    const w = pileUp(world(), ['a', 'b']).prompt('c', { directory: '/q' });
    w.fails('c', 1, { directory: '/q', nextInMs: UNSAID }).advance(30 * SECOND);
    expect(reasons(w)).toEqual(['pileup']);
  });

  test('survives the busy blips', () => {
    const w = pileUp(world());
    w.advance(29 * SECOND);
    for (const id of ids) w.fails(id, 2);
    w.advance(SECOND);
    expect(reasons(w)).toEqual(['pileup']);
  });

  test('needs minSessions, each for minDuration', () => {
    const w = pileUp(world({ policy: PATIENT }), ['a', 'b']).advance(29 * SECOND);
    pileUp(w, ['c']).advance(30 * SECOND - 1);
    expect(reasons(w)).toEqual([]);
    expect(reasons(w.advance(1))).toEqual(['pileup']);
  });

  test('is not looked for where minDuration is off', () => {
    const w = pileUp(world({ policy: { ...PATIENT, pileup: { minDuration: 0 } } }));
    w.advance(10 * MINUTE);
    expect([...w.acts('restart'), ...w.acts('abort')]).toEqual([]);
  });

  test('aborts the stuck first where healthy runs would be lost, and that is the end of it where it helps', () => {
    const w = pileUp(world())
      .prompt('well')
      .advance(30 * SECOND);
    expect(w.acts('abort').map((each) => [each.sessionID, each.reason, each.expect])).toEqual(
      ids.map((id) => [id, 'pileup', 'retry']),
    );
    for (const id of ids) w.abortDone(id);
    w.advance(5 * MINUTE);
    expect(reasons(w)).toEqual([]);
  });

  test('that stands although it was aborted is restarted after verifyTimeout', () => {
    const w = pileUp(world({ policy: { restart: { waitForHealthy: 0 } } }))
      .prompt('well')
      .advance(30 * SECOND);
    w.advance(5 * SECOND - 1);
    expect(reasons(w)).toEqual([]);
    expect(reasons(w.advance(1))).toEqual(['pileup']);
    expect(w.notes('server.restarting')[0]?.interrupted).toContain('well');
  });

  test('costs no run that has only just failed: it counts as healthy until it is in the pile-up too', () => {
    const w = pileUp(world({ policy: PATIENT })).advance(28 * SECOND);
    pileUp(w, ['young'], 'other/m').advance(2 * SECOND);
    expect(reasons(w)).toEqual([]);
    expect(w.acts('abort').map(({ sessionID }) => sessionID)).toEqual(ids);
    // The aborts do not help, and the restart waits for that run.
    w.advance(10 * SECOND);
    expect(w.notes('server.restart_deferred')).toMatchObject([{ waitsFor: ['young'] }]);
    expect(reasons(w)).toEqual([]);
    w.advance(18 * SECOND);
    expect(reasons(w)).toEqual(['pileup']);
  });

  test('ends no run that has only just failed, where the restarted server goes on with what it cut', () => {
    const w = pileUp(world({ policy: { ...PATIENT, restart: { waitForHealthy: 0 } } }));
    w.advance(28 * SECOND);
    pileUp(w, ['young']).advance(7 * SECOND);
    expect(reasons(w)).toEqual(['pileup']);
    const ended = w.watchdog.endedBy('pileup', w.at).map(({ sessionID }) => sessionID);
    expect(ended).toEqual(ids);
  });

  test('is no bad end of a run that has only just failed', () => {
    const pileup = { minSessions: 2 };
    const w = world({ policy: { ...PATIENT, pileup, restart: { waitForHealthy: 0 } } });
    pileUp(w, ['a', 'b']);
    w.advance(28 * SECOND);
    pileUp(w, ['young'], 'other/m').advance(7 * SECOND);
    expect(reasons(w)).toEqual(['pileup']);
    w.restartDone().connected();
    // One session alone has ended badly on that model.
    w.prompt('x', { model: 'other/m' }).fails('x', 4).error('x').status('x', 'idle');
    w.prompt('d', { model: 'other/m' }).fails('d', 1);
    expect(w.notes('provider.outage')).toEqual([]);
  });

  test('lets its wedged sessions go where a reload switches it off', () => {
    const policy = { ...PATIENT, abort: { maxTries: 1 } };
    const w = pileUp(world({ acts: false, policy })).advance(30 * SECOND);
    for (const id of ids) w.abortFailed(id);
    expect(w.health('a')).toBe('wedged');
    const reload = (minDuration: number) =>
      w.tell({
        kind: 'policy.changed',
        policy: policyWith({ ...PATIENT, pileup: { minDuration } }),
      });
    reload(20 * SECOND);
    expect(w.health('a')).toBe('wedged');
    reload(0);
    expect(ids.map((id) => w.health(id))).toEqual(ids.map(() => 'retrying'));
    expect(w.advance(10 * MINUTE).acts('abort')).toHaveLength(ids.length);
  });

  test('that is back within rest is answered by aborts only', () => {
    const w = pileUp(world())
      .advance(30 * SECOND)
      .restartDone()
      .connected();
    pileUp(w).advance(30 * SECOND);
    expect(reasons(w)).toEqual(['pileup']);
    expect(w.acts('abort').map((each) => each.reason)).toEqual(['pileup', 'pileup', 'pileup']);
  });

  test('is restarted for again after rest', () => {
    const w = pileUp(world({ policy: PATIENT }))
      .advance(30 * SECOND)
      .restartDone()
      .connected();
    w.advance(15 * MINUTE);
    expect(reasons(pileUp(w, ids, 'other/m').advance(30 * SECOND))).toEqual(['pileup', 'pileup']);
  });

  test('is answered by aborts where the process is never touched', () => {
    const w = pileUp(world({ acts: false })).advance(30 * SECOND);
    expect(w.acts('abort')).toHaveLength(3);
    expect(reasons(w)).toEqual([]);
  });

  test('is answered by aborts where the breaker holds the restart', () => {
    const w = world({ policy: { restart: { maxRestarts: 1 }, pileup: { rest: 0 } } });
    w.tell({ kind: 'restart.requested', reason: 'memory' }).restartDone().connected();
    pileUp(w).advance(30 * SECOND);
    expect(w.notes('server.breaker_open')).toHaveLength(1);
    expect(w.acts('abort')).toHaveLength(3);
  });

  test('spares an attempt in flight for verifyTimeout', () => {
    const w = pileUp(world({ acts: false }))
      .advance(29 * SECOND)
      .status('a', 'busy')
      .advance(SECOND);
    expect(w.acts('abort').map((each) => each.sessionID)).toEqual(['b', 'c']);
    w.advance(4 * SECOND);
    expect(w.aborts('a')).toMatchObject([{ reason: 'pileup', expect: 'active' }]);
  });

  test('is not made of attempts in flight that nobody can hear', () => {
    const w = pileUp(world());
    for (const id of ids) w.status(id, 'busy');
    expect(w.lost().advance(MINUTE).acts()).toEqual([]);
  });

  test('does not take a hold for a reason to ask again at once', () => {
    const w = pileUp(world({ acts: false }))
      .advance(30 * SECOND)
      .abortWithdrawn('a', 'busy');
    w.text('b').abortWithdrawn('b', 'withdrawn').advance(SECOND);
    expect(w.aborts('a')).toHaveLength(1);
  });
});

describe('after a restart is decided', () => {
  test('no abort is decided until the server is healthy', () => {
    const w = pileUp(world()).advance(30 * SECOND);
    for (const id of ids) w.fails(id, 9).deleted(id);
    w.prompt('late')
      .fails('late', 9)
      .advance(10 * MINUTE);
    expect(w.acts('abort')).toEqual([]);
    w.restartFailed(false);
    w.advance(10 * MINUTE);
    expect(w.acts('abort')).toEqual([]);
  });

  test('none is decided for the runs that it cut either', () => {
    const w = world().prompt('s').info('c', { parentID: 's' }).prompt('c').fails('s', 4);
    w.advance(50 * SECOND).tell({ kind: 'restart.requested', reason: 'manual' });
    w.advance(MINUTE).restartDone();
    expect(w.acts('abort')).toEqual([]);
    expect(w.stuck()).toEqual([]);
    expect(w.notes('session.interrupted')).toHaveLength(2);
  });

  test('an abort result that arrives late concerns nobody', () => {
    const w = world().prompt().fails('s', 5).exits().restartDone().abortDone().abortFailed();
    expect(w.notes('session.aborted')).toEqual([]);
    expect(w.notes('session.abort_failed')).toEqual([]);
    w.connected().prompt().fails('s', 5);
    expect(w.aborts()).toHaveLength(2);
  });
});

describe('the limit of watched sessions', () => {
  test('holds for pile-ups: what is not watched is not counted as piled', () => {
    const w = pileUp(world({ policy: PATIENT }), ['a', 'b']);
    for (let i = 0; i < MAX_SESSIONS; i += 1) w.status(`x${i}`, 'busy');
    expect(w.watchdog.sessions(w.at)).toHaveLength(MAX_SESSIONS);
    pileUp(w, ['c']).advance(30 * SECOND);
    expect(reasons(w)).toEqual([]);
    expect(w.acts('abort')).toEqual([]);
  });
});
