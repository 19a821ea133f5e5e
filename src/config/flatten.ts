/** Flattens a source of the configuration to key paths, the form that the file, the environment and the flags share. */

import { MASK } from '../lib/redaction.js';
import { suggest } from '../lib/suggest.js';
import { GROUPS, KEYS } from './keys.js';
import { type Problem, showValue } from './problem.js';
import type { Source } from './source.js';

const NO_PASSWORD_HERE =
  'no password in a configuration file, flag or OPENCODE_WATCHDOG_ variable: set OPENCODE_SERVER_PASSWORD, name a file in server.passwordFile, or give the systemd credential opencode-server-password';

/** A name that is not a key but that people will write. Its value is never shown. */
const PASSWORD_KEY = 'server.password';

/** Flattens a parsed file. `sourceOf` names the place of a path, for messages and for `config`. */
export function flatten(root: unknown, sourceOf: (path: readonly string[]) => string): Source {
  const result: Source = { entries: [], problems: [] };
  flattenLevel(root, [], sourceOf, result);
  return result;
}

function flattenLevel(
  value: unknown,
  path: readonly string[],
  sourceOf: (path: readonly string[]) => string,
  result: Source,
): void {
  // `retry:` with all its keys commented out is an empty level.
  if (value === null || value === undefined) return;
  if (typeof value !== 'object' || Array.isArray(value)) {
    result.problems.push({
      key: path.join('.') || 'the file',
      // The content of a list or text is never shown, and at the top no value is: it may hold a webhook's URL or a
      // password.
      value: path.length === 0 ? undefined : kindOf(value),
      expected: 'keys with values, one level deeper',
      source: sourceOf(path),
    });
    return;
  }
  for (const [name, child] of Object.entries(value)) {
    const childPath = [...path, name];
    const key = childPath.join('.');
    const source = sourceOf(childPath);
    const dotted = name.includes('.');
    if (!dotted && GROUPS.has(key)) flattenLevel(child, childPath, sourceOf, result);
    else if (!dotted && KEYS.has(key)) {
      result.entries.push({ path: key, candidates: [child], source });
    } else result.problems.push(unknownKey(key, source));
  }
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'string' ? 'text' : showValue(value);
}

/** The value of an unknown key is never shown: it may be a password behind a misspelt name. */
function unknownKey(key: string, source: string): Problem {
  if (KEYS.has(key) || GROUPS.has(key)) {
    return {
      key,
      expected: `it nested, one level under the other: ${key.replaceAll('.', ': { ')}: …${' }'.repeat(key.split('.').length - 1)}`,
      source,
    };
  }
  const candidate = suggest(key, [...KEYS.keys(), ...GROUPS, PASSWORD_KEY]);
  if (candidate === PASSWORD_KEY) return passwordProblem(key, source);
  return { key, expected: `a known key; the nearest is ${candidate}`, source };
}

export function passwordProblem(key: string, source: string): Problem {
  return { key, value: MASK, expected: NO_PASSWORD_HERE, source };
}
