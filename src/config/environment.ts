/** The environment as a source: `OPENCODE_WATCHDOG_<PATH>`, and with lower priority opencode's own variables. */
import { parseDocument } from 'yaml';
import { suggest } from '../lib/suggest.js';
import { passwordProblem } from './flatten.js';
import { ENV_PREFIX, GROUPS, KEYS_BY_VARIABLE } from './keys.js';
import type { Source } from './source.js';

const CONFIG_VARIABLE = `${ENV_PREFIX}CONFIG`;
const PASSWORD_VARIABLES = new Set([`${ENV_PREFIX}SERVER_PASSWORD`, `${ENV_PREFIX}PASSWORD`]);

/**
 * Variables with our prefix that others set. Kubernetes gives every container the address of each service, so a service
 * named `opencode-watchdog` or `opencode-watchdog-metrics` creates these (Kubernetes documentation, "Service",
 * "Environment variables"; Docker links do the same). deploy/compose.yaml reads `OPENCODE_WATCHDOG_IMAGE`.
 */
const FOREIGN =
  /^OPENCODE_WATCHDOG_(([A-Z0-9_]+_)?(SERVICE_(HOST|PORT)(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)|NAME|ENV_.*|IMAGE)$/;
/** The same for a service's `…_PORT`. Its value is a URL: a plain port is a person's, who means a key of ours. */
const FOREIGN_PORT = { variable: /_PORT$/, value: /^(tcp|udp|sctp):\/\// };

/** opencode's own variables, with the keys that they set if nothing more specific does. */
const OPENCODE_VARIABLES: ReadonlyMap<string, string> = new Map([
  ['OPENCODE_API_URL', 'server.url'],
  ['OPENCODE_SERVER_USERNAME', 'server.username'],
]);

export function readOpencodeVariables(env: NodeJS.ProcessEnv): Source {
  const result: Source = { entries: [], problems: [], yields: true };
  for (const [variable, path] of OPENCODE_VARIABLES) {
    const value = env[variable];
    // Compose files and unit files write an empty variable for "not set".
    if (!value) continue;
    result.entries.push({ path, candidates: [value], source: `environment ${variable}` });
  }
  return result;
}

export function readWatchdogVariables(env: NodeJS.ProcessEnv): Source {
  const result: Source = { entries: [], problems: [] };
  for (const [variable, value] of Object.entries(env)) {
    if (!value || !variable.startsWith(ENV_PREFIX) || variable === CONFIG_VARIABLE) continue;
    const key = KEYS_BY_VARIABLE.get(variable);
    const source = `environment ${variable}`;
    if (key !== undefined) {
      result.entries.push({ path: key.path, candidates: candidatesOf(value), source });
    } else if (PASSWORD_VARIABLES.has(variable)) {
      result.problems.push(passwordProblem(variable, 'environment'));
    } else if (!isForeign(variable, value)) {
      result.problems.push({
        key: variable,
        expected: expectedInstead(variable),
        source: 'environment',
      });
    }
  }
  return result;
}

function isForeign(variable: string, value: string): boolean {
  if (FOREIGN_PORT.variable.test(variable) && FOREIGN_PORT.value.test(value)) return true;
  return FOREIGN.test(variable);
}

function expectedInstead(variable: string): string {
  const below = `${variable}_`;
  const isGroup = [...GROUPS].some(
    (path) => ENV_PREFIX + path.replaceAll('.', '_').toUpperCase() === variable,
  );
  const example = [...KEYS_BY_VARIABLE.keys()].find((known) => known.startsWith(below));
  if (isGroup && example !== undefined)
    return `one variable for each key below, such as ${example}`;
  const candidates = [...KEYS_BY_VARIABLE.keys(), CONFIG_VARIABLE];
  return `a known variable; the nearest is ${suggest(variable, candidates)}`;
}

/**
 * The readings of a variable's text, as YAML first: `3` is a number, `[a, b]` a list, `true` a flag. But `12345` may
 * also be a user's name, and in `/srv/a #1` YAML would see a comment, so the plain text is the other reading.
 */
function candidatesOf(text: string): unknown[] {
  const document = parseDocument(text, {
    prettyErrors: false,
    stringKeys: true,
    logLevel: 'error',
  });
  if (document.errors.length > 0 || document.warnings.length > 0) return [text];
  let value: unknown;
  try {
    value = document.toJS();
  } catch {
    // An alias without an anchor: `*name` is then just text.
    return [text];
  }
  const quoted = /^\s*["']/.test(text);
  return typeof value === 'string' && !quoted ? [text] : [value, text];
}
