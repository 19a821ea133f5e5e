/**
 * Makes any value safe to show: it masks secrets, bounds strings, lists and depth, and turns errors and cycles into
 * plain values. This is the one place where redaction happens.
 */

export const MASK = '[secret]';

/** Something that holds a secret and gives it only on request. An empty text means that there is none yet. */
export interface Revealable {
  reveal(): string;
}

export interface Bounds {
  /** Characters of one string. */
  string: number;
  /** Items of one list, keys of one object. */
  items: number;
  depth: number;
}

const BOUNDS: Bounds = {
  /** Characters of one text in a log line. At the limit: it is cut, and says so. */
  string: 2_048,
  /** Items of one list, keys of one object in a log line. At the limit: it is cut, and says so. */
  items: 100,
  /** Depth of one object in a log line. At the limit: what is deeper is cut. */
  depth: 6,
};

/**
 * Characters of one text that are searched for secrets. The search comes before the cut, so that no secret is cut in
 * the middle and half of it shown. The bound keeps a huge text cheap. At the limit: the rest is not shown.
 */
export const MAX_SCRUBBED = 65_536;

/** Shorter secrets are masked only if a pattern finds them: masking every `a` would leave no log. */
const MIN_SECRET = 4;

const SECRET_KEY =
  /((^|-)pass(wd|phrase)?|[-_]auth|password|secret|token|authorization|cookie|credentials?|api[-_]?key)$/i;

/**
 * Patterns that recognise a secret by its context. What they match before the secret is bounded: anybody may have
 * written the text.
 */
const PATTERNS: readonly [RegExp, string][] = [
  [/\b(Basic|Bearer)\s{1,8}[\w+/=.~[\]-]{4,}/gi, `$1 ${MASK}`],
  [/\b(authorization["']?\s{0,8}[:=]\s{0,8}["']?)(?!Basic|Bearer)[^\s"',;]+/gi, `$1${MASK}`],
  [/(\b[a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/"']+@/gi, `$1${MASK}@`],
  [
    /\b((?:api[-_]?key|password|passwd|secret|access[-_]?token)["']?\s{0,8}[:=]\s{0,8}["']?)[^\s"',;&]+/gi,
    `$1${MASK}`,
  ],
  [/\b(sk|pk|rk)-[\w-]{16,}/g, MASK],
  // `server password <43 characters>`, as OpenCode 2 prints the password that it has made up, and similar texts.
  [/\b((?:password|secret|token)\s{1,8}["']?)[\w+/=.~-]{20,}/gi, `$1${MASK}`],
  // A parameter in the query of a URL, if its name says that it is a secret.
  [
    /([?&#;](?:[\w.-]{0,40}(?:token|key|secret|passw(?:or)?d|pwd|auth|signature|credential)|sig|code)=)[^\s&#;"'<>]+/gi,
    `$1${MASK}`,
  ],
  // `GITHUB_TOKEN=…`, `--api-key=…`: in a command line, or in the environment of one.
  [
    /(?<![?&#;\w.-])([\w-]{0,40}(?:pass(?:word|wd|phrase)?|secret|token|api[-_]?key|auth|credentials?|cookie)=)("[^"]*"|'[^']*'|[^\s;&|"']+)/gi,
    `$1${MASK}`,
  ],
];

/** A quick test: if this finds nothing, no pattern does. In nearly all texts it finds nothing. */
const HINT =
  /basic|bearer|auth|:\/\/|api[-_]?key|pass|secret|token|credential|cookie|[spr]k-|[?&#;][\w.-]{1,60}=/i;

export interface Redactor {
  text(value: string, limit?: number): string;
  value(value: unknown): unknown;
}

export function createRedactor(secrets: readonly Revealable[], bounds: Bounds = BOUNDS): Redactor {
  let revealed: readonly string[] = [];
  let needles: readonly string[] = [];
  /** Asks the secrets each time: a password may be learned, or change, while we run. */
  const needlesNow = () => {
    const now = secrets.map((secret) => secret.reveal());
    if (now.some((value, index) => value !== revealed[index])) {
      revealed = now;
      // Longest first: if one form contains another, all of it is masked.
      needles = [...new Set(now.flatMap(formsOf))].sort((a, b) => b.length - a.length);
    }
    return needles;
  };

  const text = (value: string, limit = bounds.string): string => {
    let result = value.slice(0, MAX_SCRUBBED);
    for (const needle of needlesNow()) result = result.replaceAll(needle, MASK);
    result = maskSecrets(result);
    if (result.length <= limit && value.length <= MAX_SCRUBBED) return result;
    // Do not cut through a surrogate pair.
    const cut = result.slice(0, limit).replace(/[\uD800-\uDBFF]$/, '');
    return `${cut}… (${value.length} characters)`;
  };

  const plain = (value: unknown, depth: number, above: readonly object[]): unknown => {
    if (typeof value === 'string') return text(value);
    if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
    if (typeof value === 'bigint' || typeof value === 'symbol') return text(String(value));
    if (typeof value === 'function') return undefined;
    if (typeof value !== 'object' || value === null) return value;
    if (above.includes(value)) return '[circular]';
    if (depth >= bounds.depth) return Array.isArray(value) ? '[list]' : '[object]';
    const inside = [...above, value];
    if (value instanceof Error) return plain(errorFields(value), depth, inside);
    if (value instanceof Date)
      return Number.isNaN(value.getTime()) ? 'no date' : value.toISOString();
    if (Array.isArray(value)) {
      const items = value.slice(0, bounds.items).map((item) => plain(item, depth + 1, inside));
      const rest = value.length - items.length;
      return rest === 0 ? items : [...items, moreWords(rest)];
    }
    const json = toJson(value);
    if (json !== value) return plain(json, depth, inside);
    const entries = Object.entries(value);
    const result: Record<string, unknown> = {};
    for (const [key, child] of entries.slice(0, bounds.items)) {
      const masked = SECRET_KEY.test(key) && child !== null && child !== undefined;
      define(result, text(key), masked ? MASK : plain(child, depth + 1, inside));
    }
    if (entries.length > bounds.items) define(result, '…', `${entries.length - bounds.items} more`);
    return result;
  };

  return { text, value: (value) => plain(value, 0, []) };
}

/** Masks what looks like a secret, no matter whose it is. */
export function maskSecrets(text: string): string {
  if (!HINT.test(text)) return text;
  return PATTERNS.reduce(
    (result, [pattern, replacement]) => result.replace(pattern, replacement),
    text,
  );
}

/** A text that is cut to `max` characters next: secrets are masked before, as half of one is not recognised any more. */
export function maskedForCut(text: string, max: number): string {
  return text.length > max ? maskSecrets(text.slice(0, MAX_SCRUBBED)) : text;
}

/** The text, cut to `max` characters, in which no half of a secret is left. */
export function maskedCut(text: string, max: number): string {
  return maskedForCut(text, max).slice(0, max);
}

/** Whether a name is that of a secret: a key, a variable, an option (`--api-key`). */
export function namesSecret(name: string): boolean {
  return SECRET_KEY.test(name);
}

/**
 * A value's JSON without the `user:password@` of any string in it, and without the query and the fragment of a URL
 * (`?token=…`). This applies even to strings that are too broken to be a URL: it masks rather too much than too little.
 */
export function maskUserinfo(json: string): string {
  // Whole strings, so that each is looked at once: a pattern that may begin in the middle takes quadratic time.
  return json.replace(/"([^"\\]*(?:\\.[^"\\]*)*)"/g, (_, text: string) => `"${maskedUrl(text)}"`);
}

function maskedUrl(text: string): string {
  const at = text.lastIndexOf('@');
  const scheme = /^[a-z][\w+.-]*:\/\//i.exec(text)?.[0] ?? '';
  const shown = at < 0 ? text : `${scheme}${MASK}${text.slice(at)}`;
  const host = shown.indexOf('://');
  const query = host < 0 ? -1 : shown.slice(host).search(/[?#][\s\S]/);
  return query < 0 ? shown : `${shown.slice(0, host + query + 1)}${MASK}`;
}

/** A webhook's URL carries its token in the path: only the host may be shown. */
export function maskUrl(text: string): string {
  if (!URL.canParse(text)) return MASK;
  return `${new URL(text).origin}/${MASK}`;
}

/** Shorter parts of a URL are ordinary words, and ids that a log may show. */
const MIN_URL_SECRET = 8;

/** The parts of a webhook's URL that may be its token, as they are sent and decoded: whoever got it may quote any. */
export function secretsInUrl(url: string): Revealable[] {
  const { pathname, search, searchParams } = new URL(url);
  const parts = [
    `${pathname}${search}`,
    pathname,
    ...pathname.split('/'),
    ...searchParams.values(),
  ];
  return [...parts, ...parts.map(decoded)]
    .filter((part) => part.length >= MIN_URL_SECRET)
    .map((part) => ({ reveal: () => part }));
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const moreWords = (amount: number) => `… and ${amount} more`;

/** The items of a list that may have been cut, and how many more there were. */
export function itemsOf<T>(list: readonly T[]): { items: readonly T[]; more: number } {
  const more = /^… and (\d+) more$/.exec(String(list.at(-1)))?.[1];
  return more === undefined
    ? { items: list, more: 0 }
    : { items: list.slice(0, -1), more: Number(more) };
}

/** How long a list was before it was cut. */
export function lengthOf(list: readonly unknown[]): number {
  const { items, more } = itemsOf(list);
  return items.length + more;
}

/** The secret as it is and as it is transmitted: in a URL, in JSON, in the base64 of Basic authentication. */
function formsOf(secret: string): string[] {
  if (secret.length < MIN_SECRET) return [];
  const json = JSON.stringify(secret).slice(1, -1);
  return [secret, encodeURIComponent(secret), json, ...base64Forms(secret)];
}

/**
 * In base64, `user:password` contains the password in one of three forms, depending on the user's length modulo 3. Of
 * each form, the characters that depend on the password alone are kept (RFC 4648, section 4).
 */
function base64Forms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [0, 1, 2].flatMap((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
    const start = Math.ceil((offset * 8) / 6);
    const end = Math.floor(((offset + bytes.length) * 8) / 6);
    const form = encoded.slice(start, end);
    return form.length < MIN_SECRET ? [] : [form];
  });
}

function errorFields(error: Error): Record<string, unknown> {
  const { name, message, stack, cause } = error;
  const code = 'code' in error ? { code: error.code } : {};
  return { name, message, ...code, stack, ...(cause === undefined ? {} : { cause }) };
}

/** What an object's own `toJSON` returns (`Secret`, `URL`). Never throws. */
function toJson(value: object): unknown {
  if (!('toJSON' in value) || typeof value.toJSON !== 'function') return value;
  try {
    return value.toJSON();
  } catch {
    return '[unreadable]';
  }
}

/** Defines a property. `__proto__` is a name like any other here. */
function define(target: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(target, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}
