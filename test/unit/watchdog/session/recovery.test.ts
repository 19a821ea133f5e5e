/** Recovery, if it is configured: which runs are continued, with which model, and which never. */
import { describe, expect, test } from 'vitest';
import { MINUTE, type PolicyChange, policyWith, type World, world } from '../driver.js';

const on = (recover: PolicyChange['recover'] = {}): PolicyChange => ({
  recover: { afterAbort: 'continue', afterRestart: 'continue', ...recover },
});
const continues = (w: World) => w.acts('continue');
/** A session that retried to its limit and was aborted. */
const aborted = (w: World, id = 's') =>
  w.prompt(id).asks(id).fails(id, 5).status(id, 'idle').abortDone(id);

describe('after an abort', () => {
  test('nothing is continued unless it is asked for', () => {
    expect(continues(aborted(world()))).toEqual([]);
  });

  test('the same session goes on in its directory with its model', () => {
    const w = aborted(world({ policy: on() }));
    expect(continues(w)).toMatchObject([
      { sessionID: 's', directory: '/p', model: 'fake/m1', count: 1 },
    ]);
    w.tell({ kind: 'continue.done', sessionID: 's', model: 'fake/m1' });
    expect(w.notes('session.continued')).toMatchObject([{ model: 'fake/m1', count: 1 }]);
  });

  test('that worked late, the session goes on as well', () => {
    const failing = (tries: number, w = world({ policy: on() }).prompt('other')) => {
      w.prompt().fails('s', 5);
      for (let n = 0; n < tries; n += 1) w.abortFailed();
      return w.error('s', 'MessageAbortedError').status('s', 'idle');
    };
    expect(continues(failing(1).abortWithdrawn('s', 'idle'))).toMatchObject([{ count: 1 }]);
    // Wedged: the restart waits for the other one.
    expect(continues(failing(3))).toMatchObject([{ count: 1 }]);
  });

  test('that did not work for minutes, nothing goes on: somebody else may have ended the run', () => {
    const w = world({ policy: on() }).prompt('other').prompt().fails('s', 5);
    w.abortFailed()
      .abortFailed()
      .abortFailed()
      .advance(3 * MINUTE);
    w.error('s', 'MessageAbortedError').status('s', 'idle').advance(MINUTE);
    expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted' }]);
    expect(continues(w)).toEqual([]);
  });

  test('that worked late, nothing goes on that was prompted meanwhile', () => {
    const used = world({ policy: on() }).prompt('other').prompt().fails('s', 5).abortFailed();
    used.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'new', directory: '/p' });
    used.status('s', 'idle').abortWithdrawn('s', 'idle').advance(MINUTE);
    expect(continues(used)).toEqual([]);
  });

  test('a session that was being compacted goes on with the agent that it was prompted with', () => {
    const w = world({ policy: on() });
    const prompted = { messageID: 'u1', model: 'fake/m1', agent: 'plan', directory: '/p' };
    w.tell({ kind: 'session.prompted', sessionID: 's', ...prompted }).status('s', 'busy');
    // The model is asked for a summary, by an agent and a model that are not the session's.
    w.tell({ kind: 'session.asking_model', sessionID: 's', messageID: 'm1', directory: '/p' });
    w.tell({ kind: 'session.compacting', sessionID: 's', directory: '/p' });
    w.fails('s', 5).status('s', 'idle').abortDone();
    expect(continues(w)).toMatchObject([{ model: 'fake/m1', agent: 'plan' }]);
  });

  test('a failing model gives way to the next of the chain, and then it is enough', () => {
    const w = aborted(world({ policy: on({ models: ['fake/m2', 'other/m3'] }) }));
    for (const messageID of ['m2', 'm3']) {
      w.tell({ kind: 'session.prompted', sessionID: 's', messageID, directory: '/p' });
      w.status('s', 'busy').asks('s', messageID).fails('s', 5).status('s', 'idle').abortDone();
    }
    expect(continues(w)).toMatchObject([
      { model: 'fake/m2', count: 1 },
      { model: 'other/m3', count: 2 },
    ]);
  });

  test('a late event of the aborted run does not make the session go on twice', () => {
    const w = aborted(world({ policy: on() }));
    w.status('s', 'retry', { attempt: 6 }).status('s', 'idle').abortDone();
    expect(continues(w)).toHaveLength(1);
    w.tell({ kind: 'continue.done', sessionID: 's', model: 'fake/m1' });
    expect(continues(aborted(w))).toMatchObject([{ count: 1 }, { count: 2 }]);
  });

  test('an empty account is not asked again, but another model is', () => {
    const hopeless = (w: World) =>
      w
        .prompt()
        .asks()
        .fails('s', 1, { message: 'insufficient credit' })
        .status('s', 'idle')
        .abortDone();
    expect(continues(hopeless(world({ policy: on() })))).toEqual([]);
    const chain = world({ policy: on({ models: ['fake/m2'] }) });
    expect(continues(hopeless(chain))).toMatchObject([{ model: 'fake/m2' }]);
  });

  test('a ghost is never continued', () => {
    const w = world({ policy: on() }).prompt().asks().deleted().abortDone();
    expect(w.aborts()).toHaveLength(1);
    expect(continues(w)).toEqual([]);
  });

  test('a run that waited for a person is never continued', () => {
    const waiting = { maxDuration: MINUTE, action: 'abort' as const };
    const w = world({ policy: { ...on(), waiting } })
      .prompt()
      .asks()
      .asked();
    w.advance(MINUTE).inspected('s', { requests: [{ requestID: 'r1', on: 'permission' }] });
    w.status('s', 'idle').abortDone();
    expect(w.notes('session.aborted')).toMatchObject([{ reason: 'waiting' }]);
    expect(continues(w)).toEqual([]);
  });

  test('a session with new input since is left to its person', () => {
    const w = world({ policy: on() }).prompt().asks().fails('s', 5);
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'new', directory: '/p' });
    w.status('s', 'idle').abortDone();
    expect(continues(w)).toEqual([]);
  });

  test('a subagent is not continued: its parent goes on', () => {
    const w = world({ policy: on() }).info('s', { parentID: 'parent' });
    expect(continues(aborted(w))).toEqual([]);
  });

  test('a session that a person aborted is not continued', () => {
    const w = world({ policy: on() }).prompt().asks();
    w.error('s', 'MessageAbortedError').status('s', 'idle');
    expect(continues(w)).toEqual([]);
  });

  test('a continue that does not start is reported', () => {
    const w = aborted(world({ policy: on() }));
    w.tell({ kind: 'continue.failed', sessionID: 's', error: 'the model is unknown' });
    expect(w.notes('session.continue_failed')).toMatchObject([
      { sessionID: 's', error: 'the model is unknown', count: 1 },
    ]);
  });
});

describe('a run whose prompt falls into a pause', () => {
  /** The abort was sent before the pause, and ends in it. */
  const left = (policy = on({ maxPerSession: 1, models: ['other/m2'] })) => {
    const w = world({ policy }).prompt().fails('s', 5);
    w.tell({ kind: 'acts.paused' }).status('s', 'idle').abortDone();
    return w.tell({ kind: 'continue.skipped', sessionID: 's' });
  };
  const resumed = (w: World) => continues(w.forget().tell({ kind: 'acts.resumed' }));

  test('goes on when the pause ends, unless its transcript has something newer', () => {
    expect(resumed(left())).toMatchObject([
      { because: 'abort', model: 'other/m2', count: 1, lastMessageID: 'm1' },
    ]);
    // Nor while the server is down.
    const down = left().exits().tell({ kind: 'restart.skipped' });
    expect(resumed(down)).toEqual([]);
    expect(continues(down.restartDone())).toMatchObject([{ sessionID: 's' }]);
  });

  test('is left alone where somebody has used the session, or wants it aborted', () => {
    const used = left().prompt().stepFinished().status('s', 'idle');
    expect(resumed(used)).toEqual([]);
    expect(
      resumed(left().tell({ kind: 'abort.requested', by: 'command', sessionID: 's' })),
    ).toEqual([]);
    expect(resumed(left().deleted())).toEqual([]);
  });

  test('is left alone where a reload has switched it off, and in a dry run', () => {
    const w = left().tell({ kind: 'policy.changed', policy: policyWith() });
    expect(resumed(w)).toEqual([]);
    const dry = aborted(world({ policy: on() })).tell({ kind: 'continue.skipped', sessionID: 's' });
    expect(resumed(dry)).toEqual([]);
  });
});

describe('after a restart', () => {
  test('what was healthy is continued, what was retrying or waiting is not', () => {
    const w = world({ policy: on() });
    w.prompt('healthy').asks('healthy').text('healthy');
    w.prompt('retrying').asks('retrying').fails('retrying', 2);
    w.prompt('waiting').asks('waiting').asked('waiting');
    w.exits();
    expect(continues(w)).toEqual([]);
    w.restartDone();
    expect(continues(w)).toMatchObject([{ sessionID: 'healthy', model: 'fake/m1', count: 1 }]);
  });

  test('a parent is continued, its subagent with it and not beside it', () => {
    const w = world({ policy: on() });
    w.prompt('parent').asks('parent').toolRuns('parent', { tool: 'task', childID: 'child' });
    w.info('child', { parentID: 'parent' }).prompt('child').asks('child').text('child');
    w.exits().restartDone();
    expect(continues(w)).toMatchObject([{ sessionID: 'parent' }]);
  });

  test('nothing is continued unless it is asked for', () => {
    const w = world().prompt().asks().text().exits().restartDone();
    expect(continues(w)).toEqual([]);
  });

  test('a session is continued at most maxPerSession times', () => {
    const w = world({ policy: on({ maxPerSession: 1 }) });
    for (const messageID of ['m1', 'm2']) {
      w.tell({ kind: 'session.prompted', sessionID: 's', messageID, directory: '/p' });
      w.status('s', 'busy').asks('s', messageID).text().exits().restartDone().connected();
      w.advance(MINUTE);
    }
    expect(continues(w)).toHaveLength(1);
  });
});

describe('on OpenCode 2', () => {
  const prompted = (w: World, messageID: string) =>
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID, parks: true });

  test('a run whose provider never sent anything goes on, as its prompt does not wait', () => {
    const w = prompted(world({ policy: on() }), 'u1').status('s', 'busy');
    w.text()
      .advance(10 * MINUTE)
      .inspected('s');
    expect(w.stuck()).toEqual(['silence']);
    w.status('s', 'idle').abortDone();
    expect(continues(w)).toMatchObject([{ sessionID: 's', because: 'abort' }]);
  });

  test('a prompt that was never delivered is answered with the one that tells the session to go on', () => {
    const w = prompted(world({ policy: on() }), 'u1')
      .status('s', 'busy')
      .asks();
    prompted(w, 'steer').fails('s', 5).status('s', 'idle').abortDone();
    expect(continues(w)).toHaveLength(1);
  });

  test('a prompt that a client sent once the run was being aborted is left to that client', () => {
    const w = prompted(world({ policy: on() }), 'u1')
      .status('s', 'busy')
      .asks();
    prompted(w.fails('s', 5).advance(10), 'next').status('s', 'idle').abortDone();
    expect(continues(w)).toEqual([]);
  });
});

describe('nobody is talked into', () => {
  test('a run that began behind the aborted one is left to whoever began it', () => {
    const w = world({ policy: on() }).prompt().fails('s', 5).status('s', 'idle').prompt();
    expect(continues(w.abortFailed())).toEqual([]);
    expect(w.notes('session.aborted')).toHaveLength(1);
  });

  test('a run behind the aborted one that has ended by the time the abort is over is left alone too', () => {
    const w = world({ policy: on() }).prompt().asks().fails('s', 5).status('s', 'idle');
    w.prompt().text().stepFinished().status('s', 'idle').abortFailed();
    expect(continues(w)).toEqual([]);
    const behind = world({ policy: on() }).prompt();
    behind.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'second' }).fails('s', 5);
    behind.status('s', 'idle').status('s', 'busy').asks('s', 'its answer').stepFinished();
    expect(continues(behind.status('s', 'idle').abortFailed())).toEqual([]);
  });

  test('what an exit cut is continued when the server is back by itself, and not at a later restart', () => {
    const w = world({ policy: on(), acts: false }).prompt().exits().advance(MINUTE).probeOk();
    expect(continues(w)).toMatchObject([{ sessionID: 's', count: 1 }]);
    w.prompt().tell({ kind: 'continue.done', sessionID: 's' }).stepFinished().status('s', 'idle');
    w.exits().probeOk();
    expect(continues(w)).toHaveLength(1);
  });
});
