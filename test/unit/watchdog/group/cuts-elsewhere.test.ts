/** Runs that somebody else cut are reported as interrupted. A person's own abort is not. */
import { describe, expect, test } from 'vitest';
import { MINUTE, SECOND, type World, world } from '../driver.js';

const aborted = (w: World, id: string): World =>
  w.error(id, 'MessageAbortedError').status(id, 'idle');
const dispose = (w: World, directory = '/p'): World =>
  w.tell({ kind: 'directory.disposed', directory });
const said = (w: World) =>
  w.notes('session.interrupted').map(({ sessionID, by, health }) => [sessionID, by, health]);

describe('a run that somebody else cut', () => {
  test('is said with the dispose that follows, also where it was alone', () => {
    const w = aborted(world().prompt('a'), 'a');
    expect(said(w)).toEqual([]);
    dispose(w.advance(2 * SECOND));
    expect(said(w)).toEqual([['a', 'dispose', 'busy']]);
    w.advance(60 * SECOND);
    expect(said(w)).toHaveLength(1);
    expect(w.notes('session.failed')).toEqual([]);
  });

  test('is said where it was still running when its directory went', () => {
    const w = world().prompt('a').toolRuns('a').prompt('b', { directory: '/q' });
    dispose(w.advance(MINUTE));
    expect(said(w)).toEqual([['a', 'dispose', 'busy']]);
    expect(w.health('a')).toBe('idle');
    expect(w.health('b')).toBe('busy');
  });

  test('is said to be so where several of one directory end at once, though no dispose is told', () => {
    const w = world().prompt('a').prompt('b').prompt('c').prompt('d', { directory: '/q' });
    for (const id of ['a', 'b', 'c']) aborted(w, id);
    w.error('d', 'MessageAbortedError').status('d', 'idle', { directory: '/q' });
    w.advance(5 * SECOND);
    expect(said(w)).toEqual(['a', 'b', 'c'].map((id) => [id, 'elsewhere', 'busy']));
    w.advance(60 * SECOND);
    expect(said(w)).toHaveLength(3);
  });

  test('is one of several also where they end one shortly after the other', () => {
    const w = world().prompt('a').prompt('b').prompt('c');
    for (const id of ['a', 'b', 'c']) aborted(w, id).advance(10);
    w.advance(5 * SECOND);
    expect(said(w)).toEqual(['a', 'b', 'c'].map((id) => [id, 'elsewhere', 'busy']));
    // The dispose is told late. What was said stands.
    dispose(w).advance(MINUTE);
    expect(said(w)).toHaveLength(3);
  });

  test('with its server is cut by that restart', () => {
    const w = world().prompt('a');
    w.tell({ kind: 'directory.disposed', directory: '/p', replaced: true });
    expect(said(w)).toEqual([['a', 'restart', 'busy']]);
  });
});

describe('is not said to be cut', () => {
  test('what a person aborts, one now and one later', () => {
    const w = aborted(world().prompt('a').prompt('b'), 'a').advance(10 * SECOND);
    expect(said(aborted(w, 'b').advance(20 * SECOND))).toEqual([]);
  });

  test('a session that a person aborts with its subagents', () => {
    const w = world().prompt('a').info('b', { parentID: 'a' }).info('c', { parentID: 'a' });
    w.prompt('b').prompt('c');
    for (const id of ['b', 'c', 'a']) aborted(w, id);
    expect(said(w.advance(20 * SECOND))).toEqual([]);
  });

  test('what a client aborts and deletes', () => {
    const w = world().prompt('a').prompt('b');
    for (const id of ['a', 'b']) aborted(w, id).deleted(id);
    expect(said(w.advance(20 * SECOND))).toEqual([]);
  });

  test('what the watchdog aborts', () => {
    const w = world({ policy: { retry: { maxAttempts: 1 }, pileup: { minSessions: 99 } } });
    for (const id of ['a', 'b']) w.prompt(id).fails(id, 1);
    for (const id of ['a', 'b']) w.error(id, 'MessageAbortedError').abortDone(id);
    dispose(w.advance(SECOND));
    expect(said(w.advance(20 * SECOND))).toEqual([]);
  });

  test('a run that opencode gave up before', () => {
    const w = dispose(world().prompt('a').advance(MINUTE).error('a'));
    expect(said(w)).toEqual([]);
    expect(w.notes('session.failed')).toHaveLength(1);
  });
});

describe('one failure', () => {
  const error = (w: World, message: string) =>
    w.tell({ kind: 'session.error', sessionID: 's', name: 'APIError', message });

  test('is said once, though a second error with another text follows', () => {
    const w = error(world().prompt(), 'Rate limit reached').status('s', 'idle');
    error(w.advance(SECOND), 'Error: Rate limit reached at stream');
    expect(w.notes('session.failed').map((note) => note.error)).toEqual([
      'APIError: Rate limit reached',
    ]);
  });

  test('is said by its first words where both come before the run ends', () => {
    const w = error(error(world().prompt(), 'Rate limit reached'), 'Error: x').status('s', 'idle');
    expect(w.notes('session.failed').map((note) => note.error)).toEqual([
      'APIError: Rate limit reached',
    ]);
  });

  test('is another one after a new prompt', () => {
    const w = error(world().prompt(), 'one').status('s', 'idle');
    error(w.prompt(), 'two').status('s', 'idle');
    expect(w.notes('session.failed')).toHaveLength(2);
  });
});
