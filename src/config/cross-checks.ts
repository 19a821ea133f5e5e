/** Rules about several keys together. Each is checked only if its keys are valid on their own. */
import { parseListen } from './listen.js';
import { type Problem, showValue } from './problem.js';
import type { Config } from './schema.js';
import { formatDuration } from './units.js';

interface CrossCheck {
  /** The problem is reported for the first of them. */
  keys: readonly [string, ...string[]];
  /** What was expected, or undefined if all is well. */
  check(config: Config): { value: unknown; expected: string } | undefined;
}

const CROSS_CHECKS: readonly CrossCheck[] = [
  {
    keys: ['restart.backoff.max', 'restart.backoff.initial'],
    check: ({ restart: { backoff } }) =>
      backoff.max < backoff.initial
        ? {
            value: formatDuration(backoff.max),
            expected: `at least restart.backoff.initial (${formatDuration(backoff.initial)})`,
          }
        : undefined,
  },
  {
    keys: ['server.restartCommand', 'server.control'],
    check: ({ server }) =>
      server.control === 'command' && server.restartCommand === null
        ? {
            value: null,
            expected:
              'a command such as [systemctl, restart, opencode], because server.control is command',
          }
        : undefined,
  },
  {
    keys: ['server.container', 'server.control'],
    check: ({ server }) =>
      server.control === 'docker' && server.container === null
        ? {
            value: null,
            expected: 'the name of the container, because server.control is docker',
          }
        : undefined,
  },
  {
    keys: ['server.url', 'server.control'],
    check: ({ server }) =>
      server.control === 'spawn' && !/^http:\/\/[^/]+$/.test(server.url)
        ? {
            value: server.url,
            expected:
              'http and no path, because server.control is spawn and opencode serves nothing else',
          }
        : undefined,
  },
  {
    keys: ['status.tokenFile', 'status.listen'],
    check: ({ status }) => {
      const listen = parseListen(status.listen);
      return listen?.kind === 'tcp' && !listen.loopback && status.tokenFile === null
        ? {
            value: null,
            expected: `a file with a token, because status.listen (${status.listen}) is not loopback`,
          }
        : undefined;
    },
  },
];

/**
 * `sourceOf` tells where a key's value came from. A problem names the source of the first of its keys that was set at
 * all.
 */
export function crossCheck(
  config: Config,
  bad: ReadonlySet<string>,
  sourceOf: (path: string) => string,
): Problem[] {
  const problems: Problem[] = [];
  for (const { keys, check } of CROSS_CHECKS) {
    if (keys.some((key) => bad.has(key))) continue;
    const found = check(config);
    if (found === undefined) continue;
    const source = keys.map(sourceOf).find((origin) => origin !== 'default') ?? 'default';
    problems.push({
      key: keys[0],
      value: showValue(found.value),
      expected: found.expected,
      source,
    });
  }
  return problems;
}
