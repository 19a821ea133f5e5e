/** The reasons that people read are explained where they look them up. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { REASON_WORDS, reasonWords } from '../../../src/telemetry/reason-words.js';

it('the glossary has every reason with the words that are shown for it', () => {
  const glossary = readFileSync(new URL('../../../docs/glossary.md', import.meta.url), 'utf8');
  for (const [reason, words] of Object.entries(REASON_WORDS)) {
    expect(glossary).toContain(`| \`${reason}\` | ${words} |`);
  }
});

it('a reason of another version is said as it stands', () => {
  expect(reasonWords('silence')).toBe('silence');
  expect(reasonWords('too_many_cooks')).toBe('too many cooks');
  expect(reasonWords('toString')).toBe('toString');
});
