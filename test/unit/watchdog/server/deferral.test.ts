/** One wedged session costs no healthy run: slow servers get time to show an abort, and a restart waits. */
import { describe, expect, test } from 'vitest';
import { MINUTE, SECOND, UNSAID, type World, world } from '../driver.js';

/** Makes a session whose aborts do not work. */
function wedge(w: World, id = 'bad'): World {
  w.prompt(id).fails(id, 5);
  for (let tries = 0; tries < 3; tries += 1) w.abortFailed(id);
  return w;
}
const restarts = (w: World) => w.acts('restart').map(({ reason }) => reason);
/** Keeps these runs alive with some text every half minute. */
function goOn(w: World, ids: readonly string[], ms: number): World {
  for (let left = ms; left > 0; left -= 30 * SECOND) {
    w.advance(Math.min(left, 30 * SECOND));
    for (const id of ids) w.text(id);
  }
  return w;
}

describe('an abort on a slow server', () => {
  const limits = (w: World) => w.aborts().map(({ verifyTimeoutMs }) => verifyTimeoutMs);

  test('has abort.verifyTimeout where the server answers quickly', () => {
    expect(limits(world().probeOk().prompt().fails('s', 5))).toEqual([5 * SECOND]);
  });

  test.each([
    ['a probe', (w: World) => w.tell({ kind: 'probe.ok', startedAt: w.at - 4 * SECOND })],
    ['a poll', (w: World) => w.poll({ s: { type: 'busy' } }, { startedAt: w.at - 4 * SECOND })],
    ['an inspection', (w: World) => w.inspected('s', {}, w.at - 4 * SECOND)],
    [
      'a probe that was given up',
      (w: World) =>
        w
          .tell({
            kind: 'probe.failed',
            startedAt: w.at - 4 * SECOND,
            failure: 'timeout',
            error: 'no answer',
          })
          .probeOk(),
    ],
  ])('has as long as four answers take, seen by %s', (_, slow) => {
    const w = world()
      .prompt()
      .advance(10 * SECOND);
    slow(w);
    expect(limits(w.fails('s', 5))).toEqual([16 * SECOND]);
  });

  test('has a minute at most, and what was slow a while ago is forgotten', () => {
    const w = world().prompt().advance(MINUTE);
    w.tell({ kind: 'probe.ok', startedAt: w.at - 30 * SECOND });
    expect(limits(w.fails('s', 5))).toEqual([MINUTE]);
    w.abortFailed()
      .advance(61 * SECOND)
      .abortFailed();
    expect(limits(w)).toEqual([MINUTE, MINUTE, 5 * SECOND]);
  });
});

describe('a restart for a wedged session', () => {
  test('comes at once where nobody else is at work', () => {
    const w = wedge(world());
    expect(restarts(w)).toEqual(['wedged']);
    expect(w.notes('session.wedged')).toMatchObject([{ tries: 3, next: 'restart' }]);
    expect(w.notes('server.restart_deferred')).toEqual([]);
  });

  test('waits for the healthy runs, says for whom, and comes when the last has ended', () => {
    const w = wedge(world().prompt('a').prompt('b'));
    expect(restarts(w)).toEqual([]);
    expect(w.notes('server.restart_deferred')).toMatchObject([
      { reason: 'wedged', waitsFor: ['a', 'b'], waitForHealthyMs: 10 * MINUTE },
    ]);
    goOn(w, ['a', 'b'], 2 * MINUTE).status('a', 'idle');
    expect(restarts(w)).toEqual([]);
    w.status('b', 'idle');
    expect(restarts(w)).toEqual(['wedged']);
    expect(w.notes('server.restart_deferred')).toHaveLength(1);
  });

  test('is not made where the wedged one has ended meanwhile', () => {
    const w = goOn(wedge(world().prompt('a')), ['a'], MINUTE).status('bad', 'idle');
    w.status('a', 'idle').advance(20 * MINUTE);
    expect(restarts(w)).toEqual([]);
  });

  test('is not made when the time is up and it would cut as much as it ends: a person is told, once', () => {
    const w = goOn(wedge(world().prompt('a')), ['a'], 15 * MINUTE);
    expect(restarts(w)).toEqual([]);
    expect(w.notes('session.wedged').map(({ next }) => next)).toEqual(['restart', 'nothing']);
    // The restart is made after all when no healthy run is left.
    expect(restarts(w.status('a', 'idle'))).toEqual(['wedged']);
  });

  test('waits its whole time for a session that wedged after another was left to a person', () => {
    const w = goOn(wedge(world().prompt('a')), ['a'], 30 * MINUTE);
    goOn(wedge(w, 'worse'), ['a'], 10 * MINUTE - 1);
    expect(restarts(w)).toEqual([]);
    expect(w.notes('server.restart_deferred')).toHaveLength(2);
    // Both count when the time is up.
    expect(restarts(w.advance(1))).toEqual(['wedged']);
  });

  test('is made for those left to a person once fewer healthy runs are left than it ends', () => {
    const w = world().prompt('a').prompt('b');
    wedge(wedge(w), 'worse');
    goOn(w, ['a', 'b'], 30 * MINUTE);
    expect(restarts(w)).toEqual([]);
    expect(w.notes('server.restart_deferred')).toHaveLength(1);
    expect(restarts(w.status('b', 'idle'))).toEqual(['wedged']);
  });

  test('does not begin to wait anew where each attempt shows a little text', () => {
    const policy = { retry: { maxAttempts: 3, maxDuration: 0 } };
    const w = world({ policy }).prompt('h');
    const ids = ['x', 'y'];
    for (const id of ids) {
      w.prompt(id).fails(id, 3);
      for (let tries = 0; tries < 3; tries += 1) w.abortFailed(id);
    }
    for (let attempt = 4; attempt < 26 && restarts(w).length === 0; attempt += 1) {
      w.advance(28 * SECOND).text('h');
      for (const id of ids) w.status(id, 'busy').advance(SECOND).text(id);
      for (const id of ids) w.status(id, 'retry', { attempt });
    }
    expect(w.notes('server.restart_deferred')).toHaveLength(1);
    expect(restarts(w)).toEqual(['wedged']);
  });

  test('for a pile-up waits its whole time too, after a wedged session was left to a person', () => {
    const w = goOn(wedge(world().prompt('a')), ['a'], 30 * MINUTE);
    expect(w.notes('session.wedged').map(({ next }) => next)).toEqual(['restart', 'nothing']);
    const piled = ['x', 'y', 'z'];
    for (const id of piled) w.prompt(id).fails(id, 1, { nextInMs: UNSAID });
    goOn(w, ['a'], 40 * SECOND);
    expect(w.notes('server.restart_deferred').map(({ reason }) => reason)).toEqual([
      'wedged',
      'pileup',
    ]);
    expect(restarts(w)).toEqual([]);
  });

  test('is made when the time is up and it cuts fewer than it ends', () => {
    const w = world().prompt('a');
    for (const id of ['x', 'y']) wedge(w, id);
    expect(restarts(goOn(w, ['a'], 10 * MINUTE))).toEqual(['wedged']);
  });

  test('waits for one that waits for a person, and for one that retries', () => {
    const w = wedge(world().prompt('a').asked('a').prompt('b').fails('b', 1));
    expect(restarts(w)).toEqual([]);
    expect(w.notes('server.restart_deferred')).toMatchObject([{ waitsFor: ['a', 'b'] }]);
  });

  test('does not wait for a parent whose only subagent is the wedged one', () => {
    const w = world().prompt('p').info('bad', { parentID: 'p' });
    expect(restarts(wedge(w))).toEqual(['wedged']);
  });

  test('does not wait at all where waitForHealthy is 0, and is weighed at once', () => {
    const policy = { restart: { waitForHealthy: 0 } };
    const w = wedge(world({ policy }).prompt('a'));
    expect(restarts(w)).toEqual([]);
    expect(w.notes('session.wedged').map(({ next }) => next)).toEqual(['restart', 'nothing']);
    expect(restarts(wedge(w, 'y'))).toEqual(['wedged']);
  });

  test('never comes where the process is not ours to touch, and that is said with the wedged one', () => {
    const w = wedge(world({ acts: false }).prompt('a'));
    expect(w.notes('session.wedged')).toMatchObject([{ next: 'nothing' }]);
    expect(w.notes('server.restart_deferred')).toEqual([]);
  });
});

test('a restart that a person, a death or a frozen server asks for waits for nobody', () => {
  const w = world().prompt('a').tell({ kind: 'restart.requested', reason: 'manual' });
  expect(restarts(w)).toEqual(['manual']);
  expect(restarts(world().prompt('a').lost().probeFails(3))).toEqual(['unresponsive']);
});
