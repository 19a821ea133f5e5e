import { closeSync, fstatSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { isJournal, withPriority } from '../../../src/telemetry/journal.js';

describe('the journal', () => {
  it('is told how severe a line is, in front of the JSON', () => {
    expect(withPriority('{"level":"warn","event":"x"}\n')).toBe(
      '<4>{"level":"warn","event":"x"}\n',
    );
    expect(withPriority('{"level":"fatal"}')).toBe('<2>{"level":"fatal"}');
  });

  it('gets a line as it is that does not begin with a level', () => {
    for (const line of ['plain', '{"event":"x","level":"warn"}', '{"level":"loud"}', '']) {
      expect(withPriority(line)).toBe(line);
    }
  });

  it('is known by the descriptor, so that a redirected log has no prefix', () => {
    const fd = openSync('/dev/null', 'w');
    const { dev, ino } = fstatSync(fd, { bigint: true });
    expect(isJournal(fd, { JOURNAL_STREAM: `${dev}:${ino}` })).toBe(true);
    expect(isJournal(fd, { JOURNAL_STREAM: `${dev}:${ino + 1n}` })).toBe(false);
    expect(isJournal(fd, {})).toBe(false);
    closeSync(fd);
    expect(isJournal(fd, { JOURNAL_STREAM: `${dev}:${ino}` })).toBe(false);
  });
});
