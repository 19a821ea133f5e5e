/** What `sessions` lists: `--limit` means it, and no answer of the server breaks it. */
import { expect, it } from 'vitest';
import { atMost, rowsOf, tableOf } from '../../../src/commands/sessions.js';
import type { SessionState } from '../../../src/opencode/driver/types.js';

const state = (id: string, type: 'ready' | 'busy') => ({ id, status: { type } }) as SessionState;

it('lists no more than so many, keeps those at work before the others, and leaves the order alone', () => {
  const all = [state('a', 'ready'), state('b', 'busy'), state('c', 'ready'), state('d', 'busy')];
  const ids = (limit: number) => atMost(limit, all).map(({ id }) => id);
  expect(ids(1)).toEqual(['b']);
  expect(ids(2)).toEqual(['b', 'd']);
  expect(ids(3)).toEqual(['a', 'b', 'd']);
  expect(ids(9)).toEqual(['a', 'b', 'c', 'd']);
});

it('lists a session also with a time that is none', () => {
  const listed = tableOf([{ ...state('ses_1', 'busy'), updated: 1e300 }, state('ses_2', 'ready')]);
  expect(listed).toContain('ses_1');
  expect(listed).toContain('ses_2');
});

it('leaves out the spaces at the end of each row, however many are within', () => {
  // Milliseconds; were the time quadratic, the runner's limit would be passed.
  const wide = `a${' '.repeat(2 ** 20)}b`;
  const table = { toString: () => `${wide}   \nc  \n` } as Parameters<typeof rowsOf>[0];
  expect(rowsOf(table)).toBe(`${wide}\nc\n`);
});
