/** The abort of a stuck run: sent, verified, tried again, wedged, withdrawn, lost. */
import { describe, expect, test } from 'vitest';
import { MINUTE, policyWith, SECOND, type World, world } from '../driver.js';

/** A session whose abort has just been decided, for its attempts. */
const aborting = (w: World = world()): World => w.prompt().fails('s', 5);

describe('an abort', () => {
  test('goes to the directory of the run, and is said before and after', () => {
    const w = world()
      .info('s', { directory: '/home', title: 'T' })
      .prompt('s', { directory: '/q' });
    w.fails('s', 5, { directory: '/q' });
    expect(w.aborts()).toMatchObject([{ directory: '/q', try: 1 }]);
    w.advance(40).abortDone();
    expect(w.notes('session.aborting')).toMatchObject([{ reason: 'attempts', try: 1, title: 'T' }]);
    expect(w.notes('session.aborted')).toMatchObject([{ reason: 'attempts', tookMs: 40 }]);
    expect(w.health()).toBe('idle');
  });

  test('is one at a time, whatever is heard meanwhile', () => {
    const w = aborting();
    w.status('s', 'busy').fails('s', 6).advance(MINUTE).fails('s', 7);
    w.poll({ s: { type: 'retry', attempt: 8, message: 'x' } });
    expect(w.aborts()).toHaveLength(1);
    expect(w.stuck()).toEqual(['attempts']);
  });

  test('that worked is said also where the stream shows the end first', () => {
    const w = aborting().status('s', 'idle');
    expect(w.notes('session.aborted')).toEqual([]);
    w.abortDone();
    expect(w.notes('session.aborted')).toHaveLength(1);
    expect(w.health()).toBe('idle');
  });

  test('of ours is no failure, even where an error came before it', () => {
    const w = aborting().error('s', 'APIError').abortDone();
    expect(w.notes('session.failed')).toEqual([]);
  });

  test('of ours is no failure where opencode stumbles over its end (a deleted session, 1.18.33)', () => {
    const w = aborting().error('s', 'MessageAbortedError').status('s', 'idle');
    w.error('s', 'UnknownError').abortDone();
    expect(w.notes('session.failed')).toEqual([]);
    expect(w.notes('session.aborted')).toHaveLength(1);
  });

  test('of a deleted session is its end: an error that comes later still is nobody’s failure', () => {
    const w = aborting().deleted('s').status('s', 'idle').abortDone();
    w.advance(SECOND).error('s', 'UnknownError');
    expect(w.notes('session.failed')).toEqual([]);
    expect(w.notes('session.aborted')).toHaveLength(1);
  });

  test('that failed is tried again up to maxTries, then the session is wedged and the server restarted', () => {
    const w = aborting();
    w.advance(5 * SECOND)
      .abortFailed()
      .advance(5 * SECOND)
      .abortFailed();
    expect(w.aborts().map((each) => each.try)).toEqual([1, 2, 3]);
    expect(w.acts('restart')).toEqual([]);
    w.advance(5 * SECOND).abortFailed();
    expect(w.notes('session.abort_failed')).toHaveLength(3);
    expect(w.notes('session.wedged')).toMatchObject([{ tries: 3, reason: 'attempts' }]);
    expect(w.acts('restart')).toEqual([{ act: 'restart', reason: 'wedged' }]);
    expect(w.notes('server.restarting')).toMatchObject([
      { reason: 'wedged', pid: 100, interrupted: ['s'] },
    ]);
  });

  test('whose run ended while the executor saw its successor has worked', () => {
    const w = aborting().status('s', 'idle').prompt();
    w.advance(5 * SECOND).abortFailed();
    expect(w.notes('session.aborted')).toHaveLength(1);
    expect(w.health()).toBe('busy');
  });

  test('that ended the run between two tries is said where the stream shows the end first', () => {
    const w = aborting();
    w.advance(5 * SECOND)
      .abortFailed()
      .advance(SECOND)
      .error('s', 'MessageAbortedError');
    w.status('s', 'idle').abortWithdrawn('s', 'idle');
    expect(w.notes('session.aborted')).toMatchObject([{ reason: 'attempts', try: 1 }]);
    expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted', reason: 'attempts' }]);
  });

  test('that the server was too ill to answer has worked where the run ends as an aborted one does', () => {
    const w = aborting(world({ acts: false }))
      .lost()
      .probeFails(3)
      .abortFailed();
    w.error('s', 'MessageAbortedError').status('s', 'idle');
    expect(w.notes('session.aborted')).toMatchObject([{ reason: 'attempts', try: 1 }]);
    expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted' }]);
  });

  test.each(['stream', 'executor'])(
    'that was not sent yet is not what ended a run that a person has ended (%s first)',
    (first) => {
      const w = aborting(world({ policy: { recover: { afterAbort: 'continue' } } }));
      w.error('s', 'MessageAbortedError');
      if (first === 'stream') w.status('s', 'idle').abortWithdrawn('s', 'idle');
      else w.abortWithdrawn('s', 'idle').status('s', 'idle');
      w.advance(MINUTE);
      expect(w.notes('session.aborted')).toEqual([]);
      expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted_elsewhere' }]);
      expect(w.acts('continue')).toEqual([]);
    },
  );

  test('that is left undone just as the run ends is not what ended it', () => {
    const w = aborting().error('s', 'MessageAbortedError').status('s', 'idle').abortSkipped();
    w.advance(MINUTE);
    expect(w.notes('session.aborted')).toEqual([]);
    expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted_elsewhere' }]);
  });

  test('that was left undone in a dry run is not what ended the run', () => {
    const w = aborting().abortSkipped();
    w.error('s', 'MessageAbortedError').status('s', 'idle').advance(MINUTE);
    expect(w.notes('session.aborted')).toEqual([]);
    expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted_elsewhere' }]);
  });

  test('does not blame the session for tries that the server could not answer', () => {
    const w = aborting().lost().probeFails(3);
    expect(w.watchdog.server.health()).toBe('restarting');
    const held = aborting(world({ acts: false }))
      .lost()
      .probeFails(3)
      .abortFailed();
    expect(held.aborts()).toHaveLength(1);
    held.probeOk();
    expect(held.aborts().map((each) => each.try)).toEqual([1, 1]);
  });

  test('of a silent session that the server was too ill for waits for a fresh inspection', () => {
    const w = world({ acts: false })
      .prompt()
      .advance(10 * MINUTE);
    w.inspected();
    expect(w.aborts()).toHaveLength(1);
    w.lost()
      .probeFails(3)
      .abortFailed()
      .advance(60 * MINUTE);
    w.probeOk().connected();
    expect(w.aborts()).toHaveLength(1);
    w.inspected('s', { mark: 'moved' });
    expect(w.aborts()).toHaveLength(1);
    expect(w.health()).toBe('busy');
  });

  test('waits while the server is not healthy, and comes when it is', () => {
    const w = world({ acts: false }).prompt().lost().probeFails(3);
    w.fails('s', 5);
    expect(w.stuck()).toEqual(['attempts']);
    expect(w.acts()).toEqual([]);
    w.probeOk();
    expect(w.aborts()).toHaveLength(1);
  });
});

describe('an abort is withdrawn', () => {
  test('when the step finishes before it is sent', () => {
    const w = aborting().status('s', 'busy').text();
    expect(w.acts('withdraw')).toHaveLength(1);
    w.stepFinished().abortWithdrawn('s', 'withdrawn');
    expect(w.notes('session.recovered')).toMatchObject([{ reason: 'attempts', attempts: 5 }]);
    expect(w.health()).toBe('busy');
    expect(w.advance(MINUTE).aborts()).toHaveLength(1);
  });

  test('and decided again when the life was only a little text before the next failure', () => {
    const w = aborting().status('s', 'busy').text().abortWithdrawn('s', 'withdrawn');
    expect(w.notes('session.recovered')).toEqual([]);
    w.status('s', 'retry', { attempt: 6 });
    expect(w.aborts()).toHaveLength(2);
    expect(w.stuck()).toEqual(['attempts']);
  });

  test('when its last check shows the session idle', () => {
    const w = aborting().abortWithdrawn('s', 'idle');
    expect(w.health()).toBe('idle');
    expect(w.notes('session.aborted')).toEqual([]);
    expect(w.notes('session.recovered')).toHaveLength(1);
  });

  test('and the end is a failure where opencode said so, not a recovery as well', () => {
    const w = aborting().error('s', 'APIError').abortWithdrawn('s', 'idle');
    expect(w.notes('session.failed')).toHaveLength(1);
    expect(w.notes('session.recovered')).toEqual([]);
  });

  test('and it is neither where a person was quicker', () => {
    const w = aborting().error('s', 'MessageAbortedError').abortWithdrawn('s', 'idle');
    expect(w.notes('session.failed')).toEqual([]);
    expect(w.notes('session.recovered')).toEqual([]);
  });

  test('when its last check shows an attempt in flight, and comes with the next failure', () => {
    const w = aborting().abortWithdrawn('s', 'busy');
    expect(w.health()).toBe('retrying');
    w.advance(3 * SECOND);
    expect(w.aborts()).toHaveLength(1);
    w.status('s', 'retry', { attempt: 6 });
    expect(w.aborts()).toHaveLength(2);
    expect(w.stuck()).toEqual(['attempts']);
  });

  test('at most twice for attempts in flight: a third is sent whatever it shows', () => {
    const w = aborting();
    for (const attempt of [6, 7]) {
      w.abortWithdrawn('s', 'busy').advance(SECOND).status('s', 'retry', { attempt });
    }
    expect(w.aborts().map((each) => each.expect)).toEqual(['retry', 'retry', 'active']);
  });

  test('from a silent session by its first sign of life', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE)
      .inspected();
    expect(w.aborts()).toHaveLength(1);
    w.text().abortWithdrawn('s', 'withdrawn');
    expect(w.notes('session.recovered')).toMatchObject([{ reason: 'silence' }]);
    expect(w.health()).toBe('busy');
  });

  test('from a silent session that turns out to wait for a person', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE)
      .inspected()
      .asked();
    expect(w.acts('withdraw')).toHaveLength(1);
    expect(w.abortWithdrawn('s', 'withdrawn').health()).toBe('waiting');
  });

  test('when its run ends and another begins, which is left alone', () => {
    const w = world({ policy: { stall: { maxRunTime: MINUTE } } }).prompt();
    for (let i = 0; i < 60; i += 1) w.advance(SECOND).text();
    expect(w.aborts()).toHaveLength(1);
    w.stepFinished().status('s', 'idle');
    expect(w.acts('withdraw')).toEqual([]);
    w.prompt();
    expect(w.acts('withdraw')).toHaveLength(1);
    w.abortWithdrawn('s', 'withdrawn').text();
    expect(w.aborts()).toHaveLength(1);
    expect(w.health()).toBe('busy');
  });

  test('once, when the run had recovered before it ended', () => {
    const w = aborting().status('s', 'busy').text().stepFinished().status('s', 'idle').prompt();
    expect(w.acts('withdraw')).toHaveLength(1);
  });

  test('but not one that a person asked for, when another run begins', () => {
    const w = world().prompt();
    w.tell({ kind: 'abort.requested', sessionID: 's', by: 'http' });
    w.stepFinished().status('s', 'idle').prompt();
    expect(w.acts('withdraw')).toEqual([]);
  });

  test('from a silent session whose next step begins', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE)
      .inspected()
      .asks('s', 'next');
    expect(w.acts('withdraw')).toHaveLength(1);
  });
});

describe('a lost abort', () => {
  test('is known when the run is back unprompted, and is tried again', () => {
    const w = aborting()
      .abortDone()
      .advance(5 * SECOND);
    w.status('s', 'retry', { attempt: 2 });
    expect(w.aborts().map((each) => each.try)).toEqual([1, 2]);
  });

  test('is known although the old prompt is repeated after idle', () => {
    const w = aborting().abortDone();
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'u1' });
    w.advance(5 * SECOND).status('s', 'retry', { attempt: 2 });
    expect(w.aborts()).toHaveLength(2);
  });

  test('is not suspected where somebody prompted again', () => {
    const w = aborting().abortDone().prompt().fails('s', 1);
    expect(w.aborts()).toHaveLength(1);
  });

  test('is not suspected where a prompt waited behind the stuck run', () => {
    const w = aborting().tell({ kind: 'session.prompted', sessionID: 's', messageID: 'second' });
    w.abortDone().status('s', 'busy').asks('s', 'its answer').fails('s', 1);
    expect(w.aborts()).toHaveLength(1);
  });

  test('is not suspected of a run that began before the end of the abort was known', () => {
    const seenLate = aborting();
    for (let i = 0; i < 3; i += 1) {
      seenLate.status('s', 'idle').prompt();
      seenLate.advance(5 * SECOND).abortFailed();
      seenLate.fails('s', 1);
      expect(seenLate.aborts()).toHaveLength(i + 1);
      seenLate.fails('s', 5);
    }
    expect(seenLate.notes('session.wedged')).toEqual([]);
    const done = aborting().status('s', 'idle').prompt().abortDone().fails('s', 1);
    expect(done.aborts()).toHaveLength(1);
    // Its prompt waited behind the stuck run.
    const behind = world().prompt();
    behind.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'second' }).fails('s', 5);
    behind.status('s', 'idle').status('s', 'busy').asks('s', 'its answer');
    expect(behind.abortDone().fails('s', 1).aborts()).toHaveLength(1);
  });

  test('is not suspected where a prompt may have been missed', () => {
    const cut = aborting().abortDone().advance(1).lost().connected().advance(SECOND);
    expect(cut.status('s', 'retry', { attempt: 1 }).aborts()).toHaveLength(1);
    const deaf = aborting(world().lost()).abortDone().advance(SECOND);
    deaf.poll({ s: { type: 'retry', attempt: 1, message: 'x' } });
    expect(deaf.aborts()).toHaveLength(1);
  });

  test('again and again wedges the session', () => {
    const w = aborting();
    for (let i = 0; i < 3; i += 1) {
      w.abortDone()
        .advance(5 * SECOND)
        .status('s', 'retry', { attempt: 6 });
    }
    expect(w.aborts().map((each) => each.try)).toEqual([1, 2, 3]);
    expect(w.notes('session.wedged')).toHaveLength(1);
    expect(w.acts('restart')).toMatchObject([{ reason: 'wedged' }]);
  });
});

describe('a wedged session', () => {
  const wedge = (w: World) => aborting(w).abortFailed().abortFailed().abortFailed();

  test('where the process is never touched is said once and left', () => {
    const w = wedge(world({ acts: false }));
    w.advance(60 * MINUTE)
      .fails('s', 9)
      .advance(60 * MINUTE);
    expect(w.notes('session.wedged')).toHaveLength(1);
    expect(w.acts('restart')).toEqual([]);
    expect(w.aborts()).toHaveLength(3);
    expect(w.health()).toBe('wedged');
  });

  test('that ends late was ended by its aborts, and costs no restart', () => {
    const w = wedge(world().prompt('healthy'))
      .error('s', 'MessageAbortedError')
      .status('s', 'idle');
    expect(w.notes('session.aborted')).toMatchObject([{ sessionID: 's', try: 3 }]);
    expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted', reason: 'attempts' }]);
    w.status('healthy', 'idle').advance(20 * MINUTE);
    expect(w.acts('restart')).toEqual([]);
  });

  test('is not restarted away where its next attempt works', () => {
    const w = wedge(world().prompt('healthy'));
    expect(w.notes('server.restart_deferred')).toHaveLength(1);
    w.status('s', 'busy').text().status('healthy', 'idle');
    expect(w.acts('restart')).toEqual([]);
    expect(w.health()).toBe('busy');
    w.status('s', 'retry', { attempt: 6 });
    expect(w.acts('restart')).toMatchObject([{ reason: 'wedged' }]);
  });

  test('whose next attempt works is healthy for a restart that another one needs', () => {
    const w = wedge(world({ policy: { restart: { waitForHealthy: 20 * MINUTE } } }).prompt('h'));
    w.status('s', 'busy').text().prompt('t').fails('t', 5);
    for (let tries = 0; tries < 3; tries += 1) w.abortFailed('t');
    w.status('h', 'idle');
    expect(w.acts('restart')).toEqual([]);
    w.stepFinished('s').status('s', 'idle');
    expect(w.acts('restart')).toHaveLength(1);
  });

  test('whose next attempt works is not disposed with its directory', () => {
    const w = wedge(world({ policy: { abort: { dispose: true } } }).prompt('healthy'));
    expect(w.notes('directory.deferred')).toHaveLength(1);
    w.status('s', 'busy').text().status('healthy', 'idle');
    expect(w.acts('dispose')).toEqual([]);
  });

  test('that lives again is wedged no more', () => {
    const w = wedge(world({ acts: false }))
      .status('s', 'busy')
      .text()
      .stepFinished();
    expect(w.notes('session.recovered')).toHaveLength(1);
    expect(w.health()).toBe('busy');
  });
});

describe('a pause', () => {
  const paused = () =>
    aborting(world().tell({ kind: 'acts.paused' }))
      .abortSkipped()
      .forget();
  /** The next attempt works: it streams for a minute. */
  const streams = (w: World, others: readonly string[] = []) => {
    w.advance(2 * SECOND).status('s', 'busy');
    for (let i = 0; i < 60; i += 1) {
      w.advance(SECOND).text();
      for (const id of others) w.text(id);
    }
    return w;
  };

  test('is followed by the abort of a session that still retries, which is not said to be stuck again', () => {
    const w = paused().advance(SECOND).tell({ kind: 'acts.resumed' });
    expect(w.aborts().map((each) => each.try)).toEqual([1]);
    expect(w.stuck()).toEqual([]);
  });

  test('is not followed by an abort of a session whose next attempt works', () => {
    const w = streams(paused());
    expect(w.health()).toBe('busy');
    w.tell({ kind: 'acts.resumed' });
    expect(w.aborts()).toEqual([]);
    w.stepFinished();
    expect(w.notes('session.recovered')).toMatchObject([{ reason: 'attempts', attempts: 5 }]);
  });

  test('is followed by an abort with the next failure of such a session', () => {
    const w = streams(paused()).tell({ kind: 'acts.resumed' }).status('s', 'retry', { attempt: 6 });
    expect(w.aborts()).toHaveLength(1);
    expect(w.stuck()).toEqual([]);
  });

  test('is not followed by an abort for a limit that a reload has raised', () => {
    const w = world({ policy: { stall: { maxRunTime: MINUTE } } }).prompt();
    for (let i = 0; i < 60; i += 1) w.advance(SECOND).text();
    w.abortSkipped().forget();
    w.tell({ kind: 'policy.changed', policy: policyWith({ stall: { maxRunTime: 60 * MINUTE } }) });
    expect(w.aborts()).toEqual([]);
    expect(w.health()).toBe('busy');
  });

  test('is followed by the abort of a silent session only after a fresh inspection', () => {
    const w = world().tell({ kind: 'acts.paused' }).prompt();
    w.advance(10 * MINUTE).inspected();
    w.abortSkipped()
      .forget()
      .advance(60 * MINUTE);
    w.tell({ kind: 'acts.resumed' });
    expect(w.aborts()).toEqual([]);
    expect(w.acts('inspect')).toHaveLength(1);
    w.inspected();
    expect(w.aborts().map((each) => each.try)).toEqual([1]);
    expect(w.stuck()).toEqual([]);
  });

  test('is not the recovery of a silent session where it ends while the stream is opened again', () => {
    const w = world().tell({ kind: 'acts.paused' }).prompt();
    w.advance(10 * MINUTE).inspected();
    w.abortSkipped().forget().lost().advance(SECOND);
    w.tell({ kind: 'acts.resumed' }).tell({ kind: 'policy.changed', policy: policyWith() });
    expect(w.notes('session.recovered')).toEqual([]);
    w.connected().inspected();
    expect(w.aborts().map((each) => each.try)).toEqual([1]);
    expect(w.stuck()).toEqual([]);
  });

  test('is not followed by the abort of a session whose tool the inspection shows ended', () => {
    const tool = { callID: 'c1', tool: 'bash' };
    const w = world().tell({ kind: 'acts.paused' }).prompt().toolRuns('s', tool);
    const tools = [{ ...tool, startedAt: w.at }];
    w.advance(60 * MINUTE).inspected('s', { tools });
    expect(w.stuck()).toEqual(['tool_time']);
    w.abortSkipped()
      .forget()
      .advance(60 * MINUTE);
    w.tell({ kind: 'acts.resumed' }).inspected('s', { mark: 'moved' });
    expect(w.notes('session.recovered')).toMatchObject([{ reason: 'tool_time' }]);
    expect(w.advance(9 * MINUTE).aborts()).toEqual([]);
  });

  test('leaves a session as it is whose attempts show only a little text', () => {
    const w = paused();
    for (let attempt = 6; attempt < 20; attempt += 1) {
      w.advance(SECOND).status('s', 'busy').text().status('s', 'retry', { attempt });
      expect(w.health()).toBe('stuck');
    }
    expect(w.aborts()).toEqual([]);
    expect(w.stuck()).toEqual([]);
  });

  test('does not hide that an attempt which had worked falls silent', () => {
    const w = streams(paused())
      .advance(10 * MINUTE)
      .inspected();
    expect(w.stuck()).toEqual(['silence']);
  });
});

describe('a reload that lifts the limit', () => {
  const lift = (w: World) =>
    w.tell({
      kind: 'policy.changed',
      policy: policyWith({ retry: { maxAttempts: 7 }, stall: { maxRunTime: 60 * MINUTE } }),
    });

  test('withdraws the abort under way', () => {
    const w = world({ policy: { stall: { maxRunTime: MINUTE } } }).prompt();
    for (let i = 0; i < 60; i += 1) w.advance(SECOND).text();
    lift(w);
    expect(w.acts('withdraw')).toHaveLength(1);
    w.abortWithdrawn('s', 'withdrawn');
    expect(w.notes('session.recovered')).toMatchObject([{ reason: 'run_time' }]);
    expect(w.health()).toBe('busy');
  });

  test('lets a wedged session go, which then costs no restart', () => {
    const tool = { callID: 'c1', tool: 'bash' };
    const w = world({ policy: { stall: { maxToolTime: MINUTE } } })
      .prompt('h')
      .prompt();
    const tools = [{ ...tool, startedAt: w.at }];
    w.toolRuns('s', tool).advance(MINUTE).inspected('s', { tools });
    for (let tries = 0; tries < 3; tries += 1) w.abortFailed();
    expect(w.notes('server.restart_deferred')).toHaveLength(1);
    lift(w).text().status('h', 'idle');
    expect(w.health()).toBe('busy');
    expect(w.acts('restart')).toEqual([]);
  });

  test('lets a wedged session go in whose attempt it comes, which then costs no restart', () => {
    const w = aborting(world().prompt('h').toolRuns('h'));
    for (let tries = 0; tries < 3; tries += 1) w.abortFailed();
    expect(w.health()).toBe('wedged');
    lift(w.status('s', 'busy'));
    expect(w.health()).toBe('retrying');
    w.status('h', 'idle').fails('s', 6);
    expect(w.acts('restart')).toEqual([]);
    w.fails('s', 7);
    expect(w.stuck()).toEqual(['attempts', 'attempts']);
  });

  test('is followed by a report and an abort at the new limit', () => {
    const w = lift(aborting()).abortWithdrawn('s', 'withdrawn').forget();
    w.fails('s', 6);
    expect(w.aborts()).toEqual([]);
    w.fails('s', 7);
    expect(w.aborts()).toHaveLength(1);
    expect(w.notes('session.stuck')).toMatchObject([{ reason: 'attempts', limit: 7 }]);
  });

  test('takes back no decision that rests on something else', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE);
    w.inspected();
    for (let tries = 0; tries < 3; tries += 1) w.abortFailed();
    // Nobody listens just now, so the silence cannot be judged. It was proven before.
    lift(w.lost());
    expect(w.health()).toBe('wedged');
  });
});

describe('dryRun', () => {
  test('says what it would abort once, and leaves it', () => {
    const w = aborting().abortSkipped();
    for (let attempt = 6; attempt < 20; attempt += 1)
      w.advance(30 * SECOND)
        .text()
        .fails('s', attempt);
    expect(w.aborts()).toHaveLength(1);
    expect(w.notes('session.stuck')).toHaveLength(1);
    expect(w.health()).toBe('stuck');
  });

  test('says it again for the next run', () => {
    const w = aborting().abortSkipped().status('s', 'idle').prompt().fails('s', 5);
    expect(w.aborts()).toHaveLength(2);
    expect(w.notes('session.stuck')).toHaveLength(2);
  });

  test('sees a session recover that was left', () => {
    const w = aborting().abortSkipped().status('s', 'busy').text().stepFinished();
    expect(w.notes('session.recovered')).toMatchObject([{ reason: 'attempts' }]);
    expect(w.health()).toBe('busy');
  });
});
