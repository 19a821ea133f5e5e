/** The page's own files are plain JavaScript and CSS, which no compiler holds to the daemon's words: this does. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { LETTER } from '../../../src/status/health-timeline.js';
import { INCIDENT_KINDS } from '../../../src/status/incidents.js';
import { HEALTHS, RUN_OUTCOMES, SERVER_HEALTHS } from '../../../src/watchdog/decision.js';

const page = new URL('../../../src/status/page/', import.meta.url);
const words: Record<string, object> = await import(new URL('words.js', page).href);
const css = readFileSync(new URL('page.css', page), 'utf8');

describe('the page', () => {
  test('knows every health of a session, worst first', () => {
    expect(words.HEALTHS).toEqual(HEALTHS.toReversed());
  });

  test('reads every letter of a timeline', () => {
    const letters = Object.entries(LETTER).map(([health, letter]) => [letter, health]);
    expect(words.LETTERS).toEqual(Object.fromEntries(letters));
  });

  test('has words for every end of a run', () => {
    expect(Object.keys(words.ENDED!).sort()).toEqual([...RUN_OUTCOMES].sort());
  });

  test.each([...new Set([...HEALTHS, ...SERVER_HEALTHS, ...INCIDENT_KINDS])])(
    'has a colour for "%s"',
    (word) => {
      expect(css).toContain(`--${word}: `);
      expect(css).toContain(`[data-health="${word}"]`);
    },
  );
});
