/**
 * The kinds of value that a configuration key can have. Each is a zod schema whose error message says what was
 * expected. Its description and printed form are registered beside it, so that the loader, the documentation and
 * `config` agree.
 */
import { parse } from 'yaml';
import * as z from 'zod';
import { loadCron } from '../lib/cron.js';
import { withoutEndSlashes } from '../lib/server-address.js';
import { parseListen } from './listen.js';
import { formatDuration, formatSize, missingUnit, parseDuration, parseSize } from './units.js';

export interface ValueMeta {
  description: string;
  /** The value as a person writes it in the file. */
  print: (value: unknown) => string;
  /** What is wrong with how a person wrote the value, although the schema would accept it. Undefined if nothing is. */
  lint?: (value: unknown) => string | undefined;
}

/** Description and printed form of every key's schema. */
export const valueMeta = z.registry<ValueMeta>();

const plain = (value: unknown): string =>
  typeof value === 'string' && isBareWord(value) ? value : JSON.stringify(value);

/** Whether YAML reads the text back as the same string without quotes. Everything else is quoted as JSON. */
function isBareWord(text: string): boolean {
  return /^[\w/.][\w./+:@-]*$/.test(text) && parse(text) === text;
}

const asNumber = (format: (amount: number) => string) => (value: unknown) =>
  typeof value === 'number' ? format(value) : plain(value);

function withMeta<S extends z.ZodType>(schema: S, description: string, print = plain): S {
  valueMeta.add(schema, { description, print });
  return schema;
}

/** A schema from a reader that returns undefined if the value is not of its kind. */
function reads<T>(read: (value: unknown) => T | undefined, expected: string) {
  return z.unknown().transform((value, context): T => {
    const result = read(value);
    if (result !== undefined) return result;
    context.addIssue({ code: 'custom', message: expected });
    return z.NEVER;
  });
}

/**
 * A duration in the configuration. A year: no limit of a watchdog is longer. At the limit: the value
 * is refused.
 */
const MAX_DURATION_MS = 365 * 86_400_000;

/** `min` in ms; 0 means that 0 is allowed, and `off` says that it switches the limit off. */
export function duration(
  initial: number,
  description: string,
  {
    min = 100,
    max = MAX_DURATION_MS,
    off = false,
  }: { min?: number; max?: number; off?: boolean } = {},
) {
  const atMost = max === MAX_DURATION_MS ? '' : `, at most ${formatDuration(max)}`;
  const least = off ? 0 : min;
  const atLeast = off ? ', or 0 for off' : least === 0 ? '' : `, at least ${formatDuration(least)}`;
  const schema = reads((value) => {
    const ms = parseDuration(value);
    return ms === undefined || ms < least || ms > max ? undefined : ms;
  }, `a duration such as 500ms, 30s, 5m or 2h${atLeast}${atMost}`);
  const written = schema.default(initial);
  valueMeta.add(written, { description, print: asNumber(formatDuration), lint: missingUnit });
  return written;
}

export function size(initial: number, description: string) {
  return withMeta(
    reads(
      parseSize,
      'a size such as 512MiB or 4GiB (a bare number is bytes), or 0 for off',
    ).default(initial),
    description,
    asNumber(formatSize),
  );
}

export function count(
  initial: number,
  description: string,
  { min = 1, max = 1_000_000 }: { min?: number; max?: number } = {},
) {
  const expected = `a whole number of at least ${min}`;
  return withMeta(
    z
      .int(expected)
      .min(min, expected)
      .max(max, `a whole number of at most ${max}`)
      .default(initial),
    description,
  );
}

/** A number that need not be whole: dollars, a share. */
export function amount(
  initial: number,
  description: string,
  { max = 1_000_000 }: { max?: number } = {},
) {
  const expected = `a number from 0 to ${max}`;
  return withMeta(
    z.number(expected).min(0, expected).max(max, expected).default(initial),
    description,
  );
}

export function choice<const T extends readonly [string, ...string[]]>(
  options: T,
  initial: T[number],
  description: string,
) {
  const expected = `one of ${options.join(', ')}`;
  return withMeta(z.enum(options, expected).default(initial as never), description);
}

/** Which API the server speaks: a number in the file, a word in the environment. */
export function apiVersion(description: string) {
  const read = (value: unknown): 'auto' | 1 | 2 | undefined => {
    if (value === 'auto') return 'auto';
    if (value === 1 || value === '1') return 1;
    return value === 2 || value === '2' ? 2 : undefined;
  };
  return withMeta(reads(read, 'one of auto, 1, 2').default('auto'), description, String);
}

export function flag(initial: boolean, description: string) {
  return withMeta(z.boolean('true or false').default(initial), description);
}

/** One line of text without control characters. */
export function text(
  initial: string,
  description: string,
  expected: string,
  valid = /^[^\p{Cc}]+$/u,
) {
  return withMeta(z.string(expected).regex(valid, expected).default(initial), description);
}

/** Like `text`, or null for none. */
export function optionalText(description: string, expected: string, valid = /^[^\p{Cc}]+$/u) {
  const message = `${expected}, or null`;
  return withMeta(z.string(message).regex(valid, message).nullable().default(null), description);
}

const COMMAND = 'a list of words such as [opencode, serve], the program first';
const words = z
  .array(z.string('a word').regex(/^[^\0]*$/, 'a word without a zero byte'), COMMAND)
  .refine((list) => list[0] !== undefined && list[0].trim() !== '', COMMAND);

export function command(initial: string[], description: string) {
  return withMeta(words.default(initial), description, printList);
}

/** Like `command`, or an empty list for none. */
export function hookCommand(description: string) {
  const none = z.array(z.never()).length(0);
  return withMeta(z.union([none, words], COMMAND).default([]), description, printList);
}

export function optionalCommand(description: string) {
  return withMeta(words.nullable().default(null), description, printList);
}

/**
 * Webhooks, and models of `recover.models`. Each webhook has a queue of its own, and a model of a chain is tried only
 * after a run with the one before it has failed. At the limit: the list is refused.
 */
export const MAX_ITEMS = 20;

export function list<S extends z.ZodType>(item: S, description: string, expected: string) {
  const few = z.array(item, expected).max(MAX_ITEMS, `${expected}, at most ${MAX_ITEMS}`);
  return withMeta(few.default([]), description, printList);
}

function printList(value: unknown): string {
  if (!Array.isArray(value)) return plain(value);
  const items = value.map((item) =>
    typeof item === 'string' && /^[\w./-]+$/.test(item) ? plain(item) : JSON.stringify(item),
  );
  return `[${items.join(', ')}]`;
}

/** An http(s) URL without userinfo, query or fragment, normalised to have no slash at its end. */
export function serverUrl(initial: string, description: string) {
  const schema = z.unknown().transform((value, context): string => {
    const problem = urlProblem(value);
    if (typeof value === 'string' && problem === undefined) {
      return withoutEndSlashes(new URL(value).href);
    }
    context.addIssue({ code: 'custom', message: problem ?? 'a URL' });
    return z.NEVER;
  });
  return withMeta(schema.default(initial), description);
}

function urlProblem(value: unknown): string | undefined {
  const expected = 'an http or https URL such as http://localhost:4096';
  const url = typeof value === 'string' ? httpUrl(value) : undefined;
  if (url === undefined) return expected;
  if (hasUser(url)) {
    return 'a URL without user and password; use server.username, and server.passwordFile or OPENCODE_SERVER_PASSWORD';
  }
  if (url.search !== '' || url.hash !== '') return `${expected}, without ? and #`;
  return undefined;
}

/** What is wrong with the URL of a webhook, given or read from its file. */
export function webhookUrlProblem(value: string): string | undefined {
  const url = httpUrl(value);
  if (url === undefined) return 'an http or https URL';
  // `fetch` refuses such a URL, so every message would fail.
  if (!hasUser(url)) return undefined;
  return 'a URL without user and password before the host: put the token into the path or the query, as the service says';
}

const httpUrl = (text: string): URL | undefined =>
  /^https?:\/\//i.test(text) && URL.canParse(text) ? new URL(text) : undefined;

const hasUser = ({ username, password }: URL): boolean => username !== '' || password !== '';

export function listenAddress(initial: string, description: string) {
  return withMeta(
    reads(
      (value) =>
        typeof value === 'string' && parseListen(value) !== undefined ? value : undefined,
      'an address such as 127.0.0.1:4097, unix:/run/opencode-watchdog/status.sock, or off',
    ).default(initial),
    description,
  );
}

export function cron(description: string) {
  const expected = 'a cron expression such as "0 4 * * *" (minute hour day month weekday), or null';
  return withMeta(
    z.string(expected).refine(isCron, expected).nullable().default(null),
    description,
  );
}

/**
 * Asks node-cron, which will run the expression.
 */
function isCron(expression: string): boolean {
  const cron = loadCron();
  if (!/^[\w\s*,/@#?-]{1,200}$/.test(expression) || !cron.validate(expression)) return false;
  try {
    // It throws for a day that never comes, such as 31 June.
    const task = cron.createTask(expression, () => {});
    const comes = task.getNextRuns(1).length > 0;
    // node-cron keeps each task until then, and a reload makes another one.
    void task.destroy();
    return comes;
  } catch {
    return false;
  }
}
