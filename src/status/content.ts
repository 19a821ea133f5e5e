/** What of an answer may be read without the token: ids, health and numbers, but no content. */

/** Texts that are no content, by the key they stand under: ids, times, and words of our own or of the server's. */
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

/** A copy with numbers, flags and the texts of `PLAIN` alone: what is added to an answer later is hidden until it is named there. */
export function withoutContent(value: unknown, key = ''): unknown {
  if (typeof value === 'string') return PLAIN.has(key) ? value : undefined;
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

/** @param hint how to come by the token, as a sentence's end */
export function withheldWords(hint: string): string {
  return `titles, directories, models, messages and what was said need the token${hint}`;
}
