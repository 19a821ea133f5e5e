/** How a run ended: each end is reported once, with its outcome. */
import { describe, expect, it } from 'vitest';
import type { FinishedStep } from '../../../../src/watchdog/observation.js';
import { MINUTE, SECOND, type World, world } from '../driver.js';

let next = 0;

function step(w: World, sessionID: string, more: Partial<FinishedStep> = {}): World {
  next += 1;
  const done: FinishedStep = {
    messageID: `m${next}`,
    empty: false,
    fingerprint: `f${next}`,
    tools: 0,
    toolErrors: 0,
    hasText: false,
    fileChanges: 0,
    finish: 'stop',
    ...more,
  };
  return w.tell({ kind: 'session.step_finished', sessionID, directory: '/p', step: done });
}
const ended = (w: World) => w.notes('session.ended');
const outcomes = (w: World) => ended(w).map(({ sessionID, outcome }) => [sessionID, outcome]);
const person = (w: World, id: string) => w.error(id, 'MessageAbortedError').status(id, 'idle');

it('a run that came to its own end between two tries of an abort was not aborted', () => {
  const w = world({ policy: { recover: { afterAbort: 'continue' } } });
  w.prompt()
    .fails('s', 5)
    .advance(5 * SECOND)
    .abortFailed()
    .status('s', 'busy');
  step(w, 's', { hasText: true }).status('s', 'idle').abortWithdrawn('s', 'idle');
  expect(w.notes('session.aborted')).toEqual([]);
  expect(outcomes(w)).toEqual([['s', 'completed']]);
  expect(w.acts('continue')).toEqual([]);
});

it('an end is reported although a restart is decided right after it', () => {
  const w = world().prompt();
  w.tell({ kind: 'restart.requested', reason: 'schedule' }).status('s', 'idle');
  expect(w.acts('restart')).toHaveLength(1);
  w.advance(5 * SECOND)
    .restartDone()
    .connected()
    .advance(60 * SECOND);
  expect(w.notes('session.ended')).toHaveLength(1);
});

describe('a run that opencode ended without an error', () => {
  it('is completed, with the sum of its steps, and said once', () => {
    const w = world().prompt('s');
    step(w.advance(SECOND), 's', {
      tools: 2,
      toolErrors: 1,
      finish: 'tool-calls',
      costUsd: 0.25,
      tokens: 900,
    });
    step(w.advance(SECOND), 's', { hasText: true, costUsd: 0.5, tokens: 100 });
    w.status('s', 'idle')
      .status('s', 'idle')
      .advance(60 * SECOND);
    expect(ended(w)).toMatchObject([
      {
        outcome: 'completed',
        finish: 'stop',
        steps: 2,
        tools: 2,
        toolErrors: 1,
        costUsd: 0.75,
        tokens: 1_000,
        tookMs: 2 * SECOND,
      },
    ]);
  });

  it('is empty where it said nothing, changed no file and called no tool', () => {
    const w = step(world().prompt('s'), 's', { empty: true }).status('s', 'idle');
    expect(outcomes(w)).toEqual([['s', 'empty']]);
  });

  it.each(['length', 'content-filter'])('is truncated by the finish %s', (finish) => {
    const w = step(world().prompt('s'), 's', { hasText: true, finish }).status('s', 'idle');
    expect(ended(w)).toMatchObject([{ outcome: 'truncated', finish }]);
  });

  it('is not completed where the finish is unknown', () => {
    const w = step(world().prompt('s'), 's', { hasText: true, finish: 'unknown' });
    expect(outcomes(w.status('s', 'idle').advance(5 * SECOND))).toEqual([['s', 'truncated']]);
    const nothing = step(world().prompt('s'), 's', { finish: 'unknown', empty: true });
    expect(outcomes(nothing.status('s', 'idle').advance(5 * SECOND))).toEqual([['s', 'empty']]);
  });

  it('is interrupted where a tool was left running', () => {
    const w = step(world().prompt('s').toolRuns('s'), 's', { hasText: true }).status('s', 'idle');
    expect(outcomes(w)).toEqual([['s', 'interrupted']]);
  });

  it('is interrupted where the parent was not woken by its subagent’s result', () => {
    const w = world().prompt('s').info('c', { parentID: 's' }).prompt('c');
    step(w, 'c', { hasText: true }).status('c', 'idle');
    step(w, 's', { tools: 1, tool: 'task', finish: 'tool-calls' }).status('s', 'idle');
    expect(outcomes(w.advance(5 * SECOND))).toEqual([
      ['c', 'completed'],
      ['s', 'interrupted'],
    ]);
  });

  it('is completed where its last call is the answer in a given shape', () => {
    const w = world().prompt('s');
    step(w, 's', { tools: 1, tool: 'StructuredOutput', finish: 'tool-calls' }).status('s', 'idle');
    expect(outcomes(w.advance(5 * SECOND))).toEqual([['s', 'completed']]);
  });

  it('is aborted elsewhere where a person answered no to its last request', () => {
    const w = world().prompt('s');
    const request = { requestID: 'p1', on: 'permission' } as const;
    w.tell({ kind: 'request.asked', sessionID: 's', request }).advance(30 * SECOND);
    w.tell({ kind: 'request.answered', sessionID: 's', requestID: 'p1' });
    step(w, 's', { tools: 1, toolErrors: 1, finish: 'tool-calls' }).status('s', 'idle');
    expect(outcomes(w.advance(5 * SECOND))).toEqual([['s', 'aborted_elsewhere']]);
  });

  it('waits for a last step that comes after the poll which saw the end', () => {
    const w = world().prompt('s').advance(SECOND);
    const statuses = new Map();
    w.tell({ kind: 'status.polled', startedAt: w.at, directory: '/p', statuses });
    expect(ended(w)).toEqual([]);
    step(w.advance(100), 's', { hasText: true });
    expect(ended(w.advance(10 * SECOND))).toMatchObject([
      { outcome: 'completed', steps: 1, tookMs: SECOND },
    ]);
  });

  it('is said before the next run of the session begins', () => {
    const w = world().prompt('s').status('s', 'idle');
    expect(ended(w)).toEqual([]);
    w.advance(100).prompt('s');
    expect(outcomes(w)).toEqual([['s', 'empty']]);
  });

  it('is given the benefit of the doubt where nobody listened', () => {
    const w = world().prompt('s').tell({ kind: 'stream.lost', reason: 'cut', silentMs: 0 });
    w.advance(SECOND);
    w.tell({ kind: 'status.polled', startedAt: w.at, directory: '/p', statuses: new Map() });
    expect(outcomes(w)).toEqual([['s', 'completed']]);
  });

  it('is completed where a person ran a command in it and no model was asked', () => {
    const w = world().status('s', 'busy').toolRuns('s').toolEnds('s').status('s', 'idle');
    expect(outcomes(w.advance(5 * SECOND))).toEqual([['s', 'completed']]);
  });
});

describe('a run that failed', () => {
  it('is said to have, with what opencode reported', () => {
    const w = world().prompt('s').error('s').status('s', 'idle');
    expect(ended(w)).toMatchObject([{ outcome: 'failed', error: 'APIError: Rate limit reached' }]);
    expect(w.notes('session.failed')).toHaveLength(1);
  });

  it('before it was busy is an end, too', () => {
    const w = world().error('s', 'UnknownError').advance(SECOND).error('s', 'UnknownError');
    expect(ended(w)).toMatchObject([{ outcome: 'failed', steps: 0, tookMs: 0 }]);
  });

  it('is so by an error that comes after the poll which saw the end', () => {
    const w = world().prompt('s').advance(SECOND);
    w.tell({ kind: 'status.polled', startedAt: w.at, directory: '/p', statuses: new Map() });
    w.advance(100)
      .error('s')
      .advance(10 * SECOND);
    expect(outcomes(w)).toEqual([['s', 'failed']]);
  });
});

describe('a run that was aborted', () => {
  const stuck = () =>
    world({ policy: { retry: { maxAttempts: 1 }, pileup: { minSessions: 99 } } })
      .prompt('s')
      .fails('s', 1);

  it('by the watchdog, with its reason, whether the stream or the proof came first', () => {
    const first = stuck().abortDone('s');
    expect(ended(first)).toMatchObject([{ outcome: 'aborted', reason: 'attempts' }]);
    const last = person(stuck(), 's');
    expect(ended(last)).toEqual([]);
    last.abortDone('s').advance(60 * SECOND);
    expect(ended(last)).toMatchObject([{ outcome: 'aborted', reason: 'attempts' }]);
  });

  it('by a person alone, is aborted elsewhere and nothing else', () => {
    const w = person(world().prompt('s'), 's').advance(20 * SECOND);
    expect(ended(w)).toMatchObject([{ sessionID: 's', outcome: 'aborted_elsewhere' }]);
    expect(ended(w)[0]).not.toHaveProperty('together');
  });

  it('is told also where an abort that a person asked for was answered long afterwards', () => {
    const w = world().prompt('s');
    w.tell({ kind: 'abort.requested', by: 'command', sessionID: 's' });
    person(w, 's')
      .advance(15 * SECOND)
      .abortWithdrawn('s', 'withdrawn')
      .advance(SECOND);
    expect(outcomes(w)).toEqual([['s', 'aborted_elsewhere']]);
  });

  it('by a person in a retry, of which opencode says nothing', () => {
    const w = world()
      .prompt('s')
      .fails('s', 1)
      .status('s', 'idle')
      .advance(20 * SECOND);
    expect(outcomes(w)).toEqual([['s', 'aborted_elsewhere']]);
  });

  it('with others of its directory, is said to be one of several', () => {
    const w = world().prompt('a').prompt('b').prompt('c');
    for (const id of ['a', 'b', 'c']) person(w, id).advance(10);
    expect(ended(w.advance(20 * SECOND))).toMatchObject(
      ['a', 'b', 'c'].map((sessionID) => ({
        sessionID,
        outcome: 'aborted_elsewhere',
        together: 3,
      })),
    );
  });

  it('with its parent, which the watchdog aborts, is the watchdog’s', () => {
    const w = world({ policy: { loop: { maxEmptySteps: 2 } } }).prompt('s');
    w.info('c', { parentID: 's' }).prompt('c');
    for (let n = 0; n < 2; n += 1) step(w, 's', { empty: true, finish: 'unknown' });
    expect(w.aborts()).toHaveLength(1);
    person(person(w, 'c'), 's')
      .abortDone('s')
      .advance(20 * SECOND);
    expect(outcomes(w).sort()).toEqual([
      ['c', 'aborted'],
      ['s', 'aborted'],
    ]);
  });
});

describe('a run that was cut', () => {
  it('by a dispose is interrupted, whichever is heard first', () => {
    const w = world().prompt('a').advance(MINUTE);
    w.tell({ kind: 'directory.disposed', directory: '/p' });
    const late = person(world().prompt('a'), 'a').advance(2 * SECOND);
    late.tell({ kind: 'directory.disposed', directory: '/p' }).advance(60 * SECOND);
    for (const each of [w, late]) expect(outcomes(each)).toEqual([['a', 'interrupted']]);
  });

  it('by the end of the server is interrupted', () => {
    const w = world().prompt('s').tell({ kind: 'server.exited', code: 1, signal: null });
    expect(outcomes(w)).toEqual([['s', 'interrupted']]);
  });
});
