/**
 * What is done about a run that goes round in circles: it is shown at half of a limit and ended at the limit. A healthy
 * run that looks alike is left alone.
 */
import { describe, expect, it } from 'vitest';
import type { FinishedStep } from '../../../../src/watchdog/observation.js';
import { MINUTE, SECOND, type World, world } from '../driver.js';

const STEP: FinishedStep = {
  messageID: 'msg',
  empty: false,
  tools: 1,
  toolErrors: 0,
  hasText: false,
  fileChanges: 0,
  tool: 'grep',
  fingerprint: 'a',
};

function steps(w: World, count: number, step: (n: number) => Partial<FinishedStep>): World {
  for (let n = 0; n < count; n += 1) {
    w.advance(SECOND).tell({
      kind: 'session.step_finished',
      sessionID: 's',
      directory: '/p',
      step: { ...STEP, ...step(n) },
    });
  }
  return w;
}

const busy = (policy = {}) => world({ policy }).status('s', 'busy');

describe('the same call with the same result', () => {
  it('is said at six, and aborted at twelve', () => {
    const w = steps(busy(), 6, () => ({}));
    expect(w.health()).toBe('looping');
    expect(w.notes('session.looping')).toMatchObject([
      { kind: 'repeat', count: 6, limit: 12, tool: 'grep' },
    ]);
    steps(w, 5, () => ({}));
    expect(w.stuck()).toEqual([]);
    steps(w, 1, () => ({}));
    expect(w.notes('session.stuck')).toMatchObject([
      { reason: 'loop', kind: 'repeat', value: 12, limit: 12, tool: 'grep' },
    ]);
    expect(w.aborts()).toHaveLength(1);
  });

  it('is only reported, once, with loop.action report', () => {
    const w = steps(busy({ loop: { action: 'report' } }), 40, () => ({}));
    expect(w.stuck()).toEqual(['loop']);
    expect(w.aborts()).toEqual([]);
    expect(w.health()).toBe('looping');
  });

  it('is not looked for with loop.action off', () => {
    const w = steps(busy({ loop: { action: 'off' } }), 40, () => ({}));
    expect(w.notes('session.looping')).toEqual([]);
    expect(w.health()).toBe('busy');
  });

  it('starts anew with a person’s message, and not with opencode’s own', () => {
    const w = steps(busy(), 11, () => ({}));
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'm1' });
    expect(w.health()).toBe('looping');
    w.tell({ kind: 'session.spoken_to', sessionID: 's', messageID: 'm2' });
    steps(w, 11, () => ({}));
    expect(w.stuck()).toEqual([]);
  });
});

it('counts anew where the stream was cut: what came between may have been another step', () => {
  const w = steps(busy(), 11, () => ({}));
  w.tell({ kind: 'stream.lost', reason: 'end', silentMs: 0 }).connected();
  steps(w, 11, () => ({}));
  expect(w.aborts()).toEqual([]);
  steps(w, 1, () => ({}));
  expect(w.aborts()).toHaveLength(1);
});

describe('left alone', () => {
  it.each<[string, (n: number) => Partial<FinishedStep>]>([
    ['a poll whose result changes', (n) => ({ fingerprint: `pods ${n}` })],
    ['a poll that waits, with the same result', () => ({ toolMs: 10_000 })],
    ['ten files read one after the other', (n) => ({ tool: 'read', fingerprint: `file ${n}` })],
    ['the same test after each edit', (n) => ({ fingerprint: n % 2 ? 'test' : `edit ${n}` })],
    [
      'a failing command that is changed each time',
      (n) => ({ fingerprint: `npm ${n}`, toolErrors: 1 }),
    ],
    [
      'steps that end without a finish and call tools',
      (n) => ({ finish: 'unknown', fingerprint: `f${n}` }),
    ],
  ])('%s', (_, step) => {
    const w = steps(busy(), 60, step);
    expect(w.stuck()).toEqual([]);
    expect(w.notes('session.looping')).toEqual([]);
  });
});

it('ten empty steps in a row are a loop, whatever their finish', () => {
  const w = steps(busy(), 10, (n) => ({
    empty: true,
    tools: 0,
    fingerprint: undefined,
    finish: n % 2 ? 'unknown' : 'stop',
  }));
  expect(w.notes('session.stuck')).toMatchObject([{ reason: 'loop', kind: 'empty', value: 10 }]);
});

describe('compactions', () => {
  const compaction = (w: World, auto?: boolean) =>
    w
      .tell({ kind: 'session.compacting', sessionID: 's', ...(auto === undefined ? {} : { auto }) })
      .advance(SECOND)
      .tell({ kind: 'session.compacted', sessionID: 's' });

  it('four automatic ones with two steps between are a loop', () => {
    const w = busy();
    for (let n = 0; n < 4; n += 1) {
      steps(w, 2, (s) => ({ fingerprint: `${n} ${s}` }));
      compaction(w, true);
    }
    expect(w.notes('session.stuck')).toMatchObject([{ kind: 'compaction', value: 4 }]);
  });

  it('those that a person asks for are none', () => {
    const w = busy();
    for (let n = 0; n < 8; n += 1) compaction(w, false);
    expect(w.stuck()).toEqual([]);
  });
});

describe('an answer that never ends', () => {
  const sampled = (w: World, textRepeats: number) =>
    w
      .advance(MINUTE)
      .text('s')
      .tell({ kind: 'session.text_sampled', sessionID: 's', directory: '/p', textRepeats });

  it('is said at half of twelve repeats, and ended at all of them', () => {
    const w = sampled(busy(), 6);
    expect(w.notes('session.looping')).toMatchObject([{ kind: 'text', count: 6, limit: 12 }]);
    expect(w.stuck()).toEqual([]);
    sampled(w, 14);
    expect(w.notes('session.stuck')).toMatchObject([{ reason: 'loop', kind: 'text', value: 14 }]);
    expect(w.aborts()).toHaveLength(1);
  });

  it('is left alone while it says something new, and where its next sample does', () => {
    const w = busy();
    for (const count of [1, 1, 8, 1, 1]) sampled(w, count);
    expect(w.stuck()).toEqual([]);
    expect(w.health()).toBe('busy');
  });
});

it('twenty runs that follow each other at once are reported, and none is aborted', () => {
  const w = world();
  for (let n = 0; n < 25; n += 1) {
    w.status('s', 'busy')
      .advance(SECOND)
      .status('s', 'idle')
      .advance(SECOND / 2);
  }
  expect(w.notes('session.stuck')).toMatchObject([{ reason: 'loop', kind: 'runs', value: 20 }]);
  expect(w.aborts()).toEqual([]);
});

describe('a loop that was aborted', () => {
  const recovered = (models: string[]) => {
    const recover = { afterAbort: 'continue' as const, models };
    const w = steps(world({ policy: { recover } }).prompt('s'), 12, () => ({}));
    w.tell({ kind: 'abort.done', sessionID: 's', directory: '/p', tookMs: 5 });
    return w.acts('continue').map(({ model }) => model);
  };

  it('is not continued on the same model', () => {
    expect(recovered([])).toEqual([]);
    expect(recovered(['fake/m1'])).toEqual([]);
  });

  it('is continued on another one', () => {
    expect(recovered(['fake/m1', 'fake/m2'])).toEqual(['fake/m2']);
  });

  it('is continued after compactions too, whose prompts opencode sends again', () => {
    const recover = { afterAbort: 'continue' as const, models: ['fake/m2'] };
    const w = world({ policy: { recover } }).prompt('s');
    const again = (messageID: string) =>
      w.tell({ kind: 'session.prompted', sessionID: 's', messageID, directory: '/p' });
    again('compact');
    again('continue');
    w.asks('s', 'm2');
    for (const messageID of ['u1', 'compact', 'continue']) again(messageID);
    steps(w, 12, () => ({}));
    w.tell({ kind: 'abort.done', sessionID: 's', directory: '/p', tookMs: 5 });
    expect(w.acts('continue').map(({ model }) => model)).toEqual(['fake/m2']);
  });
});
