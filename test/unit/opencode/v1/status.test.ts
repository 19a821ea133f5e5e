/** Statuses, one and many, as they are read off the wire. */
import { describe, expect, it } from 'vitest';
import { ParseStats } from '../../../../src/opencode/parse-stats.js';
import { readStatus } from '../../../../src/opencode/v1/status.js';
import { MAX_STATUS_ENTRIES, readStatuses } from '../../../../src/opencode/v1/status-list.js';

const NOW = 1_795_343_500_000;
describe('a status', () => {
  it('may be the busy or idle of another session: nobody can change it', () => {
    const [one, other] = [{ type: 'busy' }, { type: 'idle' }].map((value) =>
      readStatus(value, NOW),
    );
    expect([one, other].every((status) => Object.isFrozen(status))).toBe(true);
  });
});

describe('the list of statuses', () => {
  it('has everybody whose id is one, whatever is said of it', () => {
    const parseStats = new ParseStats();
    const retry = { type: 'retry', attempt: 2, message: 'm', next: NOW + 1_000 };
    const answer = {
      ses_a: { type: 'busy' },
      ses_b: retry,
      ses_c: 'nonsense',
      '': {},
      ['x'.repeat(257)]: {},
    };
    expect(readStatuses(answer, NOW, parseStats)).toEqual({
      kind: 'read',
      statuses: new Map<string, unknown>([
        ['ses_a', { type: 'busy' }],
        ['ses_b', { type: 'retry', attempt: 2, message: 'm', nextInMs: 1_000 }],
        ['ses_c', { type: 'unknown' }],
      ]),
    });
    expect(parseStats.unparseable).toBe(1);
  });

  it('is refused when it is longer than any server is busy', () => {
    const all = Array.from({ length: MAX_STATUS_ENTRIES + 1 }, (_, index) => [`s${index}`, 0]);
    expect(readStatuses(Object.fromEntries(all), NOW)).toEqual({
      kind: 'too_large',
      entries: MAX_STATUS_ENTRIES + 1,
    });
  });
});
