/** The part of an answer that may be read without the token: ids, health and numbers, but no content. */

/** Keys whose texts are not content: ids, times, and words of our own or of the server's. */
const PLAIN = new Set([
  'time',
  'version',
  'startedAt',
  'endedAt',
  'at',
  'since',
  'until',
  'url',
  'id',
  'sessionID',
  'parentID',
  'health',
  'state',
  'states',
  'timeline',
  'kind',
  'reason',
  'outcome',
  'event',
  'waitingFor',
  'endedBy',
  'gone',
  'interrupted',
  'profile',
  'level',
  'by',
  'on',
  'act',
  'next',
  'previous',
  'budget',
  'unit',
  'signal',
  'restartReason',
]);

/** A reason is one of our own words. That of an outage names a model instead, which is content. */
const WORD = /^\w*$/;

/**
 * Returns a copy with only numbers, flags and the texts under the keys in `PLAIN`. A text that is added to an answer
 * later stays hidden until its key is listed there.
 */
export function withoutContent(value: unknown, key = ''): unknown {
  if (typeof value === 'string')
    return PLAIN.has(key) && (key !== 'reason' || WORD.test(value)) ? value : undefined;
  if (Array.isArray(value)) {
    return value
      .map((item: unknown) => withoutContent(item, key))
      .filter((item) => item !== undefined);
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => [name, withoutContent(child, name)]),
  );
}

/** @param hint how to get the token, as the end of a sentence */
export function withheldWords(hint: string): string {
  return `titles, directories, models, messages and what was said need the token${hint}`;
}
