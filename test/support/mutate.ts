/**
 * Damages real traffic in the ways that traffic goes bad: bytes that flip, get lost, come twice or from elsewhere, and
 * values of the wrong type, size or depth. Everything follows from a seed, so that a failure can be reproduced.
 */
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { Random } from './random.js';

/**
 * `WATCHDOG_FUZZ=20` runs twenty times as many inputs as the tests name, different ones each time; a failure prints its
 * seed. `npm test` runs a tenth of them, the same ones each time: it finds what a change breaks, the long run searches.
 */
const TIMES = Number(process.env.WATCHDOG_FUZZ ?? 0.1);
const SEED = process.env.WATCHDOG_FUZZ === undefined ? { seed: 20_261_122 } : {};

export const runs = (amount: number): number => Math.max(1, Math.round(amount * TIMES));

/** Calls `check` with a source of chance, `amount` times (see `WATCHDOG_FUZZ`). Returns how often it was called. */
export function fuzz(amount: number, check: (random: Random) => void): number {
  let inputs = 0;
  const property = fc.property(fc.integer(), (seed) => {
    inputs += 1;
    check(new Random(seed));
  });
  // No shrinking: a smaller seed is not a simpler input, so the first failure is as good as any.
  fc.assert(property, { numRuns: runs(amount), endOnFailure: true, ...SEED });
  return inputs;
}

export async function fuzzAsync(
  amount: number,
  check: (random: Random) => Promise<void>,
): Promise<number> {
  let inputs = 0;
  const property = fc.asyncProperty(fc.integer(), async (seed) => {
    inputs += 1;
    await check(new Random(seed));
  });
  await fc.assert(property, { numRuns: runs(amount), endOnFailure: true, ...SEED });
  return inputs;
}

const BAD_BYTES = [
  [0],
  [0xff, 0xfe],
  [0xc0, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0x0d],
  [0x0a, 0x0a],
  [0x0d, 0x0a],
  [0xef, 0xbb, 0xbf],
  [0x22],
  [0x5c],
  [0x7b],
  [0x1b, 0x5b],
].map((bytes) => Buffer.from(bytes));

/** Damages the bytes in one to three places. `other` is where pieces from elsewhere come from. */
export function mutateBytes(random: Random, bytes: Buffer, other: Buffer = bytes): Buffer {
  let result = Buffer.from(bytes);
  for (let wounds = 1 + random.int(3); wounds > 0 && result.length > 0; wounds -= 1) {
    const at = random.int(result.length);
    const length = 1 + random.int(Math.min(200, result.length - at));
    const [before, after] = [result.subarray(0, at), result.subarray(at)];
    switch (random.int(7)) {
      case 0:
        result[at] = (result[at] ?? 0) ^ (1 << random.int(8));
        break;
      case 1:
        result = Buffer.from(before);
        break;
      case 2:
        result = Buffer.concat([before, after.subarray(length)]);
        break;
      case 3:
        result = Buffer.concat([before, after.subarray(0, length), after]);
        break;
      case 4: {
        const from = random.int(other.length);
        result = Buffer.concat([before, other.subarray(from, from + length), after]);
        break;
      }
      case 5:
        result = Buffer.concat([before, random.pick(BAD_BYTES), after]);
        break;
      default:
        result[at] = random.int(256);
    }
  }
  return result;
}

/** Drops, doubles and swaps items. */
export function rearrange<T>(random: Random, list: readonly T[]): T[] {
  const result = list.flatMap((item) => {
    if (random.chance(0.05)) return [];
    return random.chance(0.05) ? [item, item] : [item];
  });
  if (result.length > 1 && random.chance(0.5)) {
    const at = random.int(result.length - 1);
    const [one, two] = [result[at] as T, result[at + 1] as T];
    result.splice(at, 2, two, one);
  }
  return result;
}

const LONG = 'y'.repeat(20_000);
/** Values that nobody asked for: none of them is a status, a part or a message of any shape. */
export function nonsense(random: Random): unknown {
  switch (random.int(14)) {
    case 0:
      return null;
    case 1:
      return random.pick([true, false]);
    case 2:
      return random.pick([0, -1, 1.5, -0.1, 1e308, -1e308, 2 ** 53, 5e-324]);
    case 3:
      return random.pick(['', ' ', '\0', '\ud800', '‮', '__proto__', 'constructor', '/../..']);
    case 4:
      return LONG;
    case 5:
      return nested(random.chance(0.5), 1 + random.int(300));
    case 6:
      return JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":{"x":1}}}');
    case 7:
      return Array.from({ length: random.int(50) }, () => null);
    case 8:
      return { toString: 'no function', valueOf: 1, length: -1 };
    case 9:
      return {};
    case 10:
      return Object.fromEntries(Array.from({ length: random.int(50) }, (_, n) => [`key${n}`, n]));
    case 11:
      return String(random.int(1_000));
    case 12:
      return [[], [[]], {}];
    default:
      return random.int(1_000_000_000);
  }
}

function nested(list: boolean, depth: number): unknown {
  let value: unknown = null;
  for (let n = 0; n < depth; n += 1) value = list ? [value] : { a: value };
  return value;
}

/** In one or two places somewhere in the value something is lost, renamed, doubled, or replaced by nonsense. */
export function mutateJson(random: Random, value: unknown): unknown {
  const copy: unknown = structuredClone(value);
  for (let wounds = 1 + random.int(2); wounds > 0; wounds -= 1) {
    const places: [Record<string, unknown>, string][] = [];
    collect(copy, places);
    if (places.length === 0) return nonsense(random);
    const [owner, key] = random.pick(places);
    switch (random.int(5)) {
      case 0:
        delete owner[key];
        break;
      case 1:
        owner[`${key}${random.pick(['', 's', ' ', '\0'])}_`] = owner[key];
        delete owner[key];
        break;
      case 2:
        owner[key] = [owner[key], owner[key]];
        break;
      default:
        owner[key] = nonsense(random);
    }
  }
  return copy;
}

function collect(value: unknown, places: [Record<string, unknown>, string][], depth = 0): void {
  if (typeof value !== 'object' || value === null || depth > 20) return;
  for (const key of Object.keys(value)) {
    places.push([value as Record<string, unknown>, key]);
    collect((value as Record<string, unknown>)[key], places, depth + 1);
  }
}

/** The length of the longest text anywhere in the value, keys included. */
export function longestText(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  let longest = 0;
  const entries = value instanceof Map ? value : Object.entries(value);
  for (const [key, child] of entries) {
    longest = Math.max(longest, key.length, longestText(child));
  }
  return longest;
}

const RECORDINGS = new URL('../recordings/', import.meta.url);

/** The recordings of the real opencode whose names begin with `begin`, as lines. */
export function recordings(begin = ''): { name: string; lines: string[] }[] {
  return readdirSync(RECORDINGS)
    .filter((name) => name.startsWith(begin) && name.endsWith('.ndjson'))
    .map((name) => ({
      name,
      lines: readFileSync(new URL(name, RECORDINGS), 'utf8').trimEnd().split('\n'),
    }));
}
