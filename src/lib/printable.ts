/**
 * Makes text from elsewhere (titles, models' words, a server's output) safe for a terminal and for its reader.
 * Everything that prints uses this.
 *
 * It removes escape sequences (ECMA-48), the other control characters of C0 and C1, and the characters that hide text
 * or change its order: bidi controls and marks (UAX #9, 2.1 to 2.6), line and paragraph separators, tag characters.
 * With these, a text could make a terminal draw, answer, or show something false.
 */

/** `line`: one line, in which a line break shows as " | ". `block`: line breaks and tabs stay. */
export type PrintableForm = 'line' | 'block';

const LINE_BREAK = /\r\n?|\n|\u0085|\u2028|\u2029/g;
const UNPRINTABLE = new RegExp(
  [
    // C0, DEL and C1, except tab and line feed.
    '[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]',
    // Bidi marks, embeddings, overrides and isolates.
    '[\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]',
    // Invisible: byte order mark, tags.
    '\\ufeff|[\\u{e0000}-\\u{e007f}]',
  ].join('|'),
  'gu',
);
/** A quick test: nearly all texts have none of these characters. */
const SUSPECT = /[^\t\n\x20-\x7e\u00a0-\u0619\u061d-\u1fff\u2010-\u2027\u2030-\u2065\u2070-\ud7ff]/;

/**
 * Escape sequences: CSI, strings that are ended (OSC, DCS, SOS, PM, APC), all others. The character classes of each are
 * disjoint and hold no escape, so the time is in proportion to the text. (Node's `stripVTControlCharacters` takes
 * quadratic time.)
 */
const ESCAPE = new RegExp(
  [
    '(?:\\u001b\\[|\\u009b)[0-?]*[ -/]*[@-~]',
    '\\u001b[\\]PX^_][^\\u0007\\u001b\\u009c\\n]*(?:\\u0007|\\u001b\\\\|\\u009c)',
    // Of a sequence that is cut off, this takes the beginning.
    '\\u001b[ -/]*[0-~]',
  ].join('|'),
  'g',
);

/** The text without escape sequences; single control characters stay. */
export function withoutEscapes(text: string): string {
  return text.replace(ESCAPE, '');
}

export function printable(text: string, form: PrintableForm): string {
  const clean = SUSPECT.test(text)
    ? withoutEscapes(text).replace(LINE_BREAK, '\n').replace(UNPRINTABLE, ' ')
    : text;
  return form === 'block' ? clean : oneLine(clean, ' | ').replaceAll('\t', ' ');
}

/** Joins the lines of a text that are not blank. (A pattern for blanks around breaks takes quadratic time.) */
export function oneLine(text: string, between: string): string {
  if (!text.includes('\n')) return text;
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(between);
}

/** Makes every string of a value printable as one line, keys included: for an answer that is about to be laid out. */
export function printableDeep<T>(value: T): T {
  if (typeof value === 'string') return printable(value, 'line') as T;
  if (Array.isArray(value)) return value.map(printableDeep) as T;
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, child]) => [
    printable(key, 'line'),
    printableDeep(child),
  ]);
  return Object.fromEntries(entries) as T;
}

/** JSON with the same meaning, in which everything unprintable is written as `\uXXXX`: JSON itself escapes only C0. */
export function printableJson(json: string): string {
  if (!SUSPECT.test(json)) return json;
  return json.replace(JSON_UNPRINTABLE, (character) =>
    [...Array(character.length).keys()]
      .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

const JSON_UNPRINTABLE = new RegExp(`${UNPRINTABLE.source}|[\\u2028\\u2029]`, 'gu');
