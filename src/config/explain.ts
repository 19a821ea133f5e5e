/** The effective configuration with where each value came from, as text that is itself a valid file, and as JSON. */

import { MASK, maskUrl } from '../lib/redaction.js';
import { KEYS, type Key, nest, valueAt } from './keys.js';
import type { LoadedConfig } from './load.js';
import type { Config } from './schema.js';

/**
 * YAML, one key a line, with `# from …` aligned after each.
 *
 * @param changed only the keys that some source sets
 */
export function explainText(loaded: LoadedConfig, changed = false): string {
  const lines: { text: string; from: string }[] = [];
  let open: string[] = [];
  for (const key of keysOf(loaded, changed)) {
    const names = key.path.split('.');
    const groups = names.slice(0, -1);
    groups.forEach((name, depth) => {
      if (open[depth] !== name) lines.push({ text: `${'  '.repeat(depth)}${name}:`, from: '' });
    });
    open = groups;
    const value = key.print(masked(key, valueAt(loaded.config, key.path)));
    const indent = '  '.repeat(groups.length);
    lines.push({ text: `${indent}${names.at(-1)}: ${value}`, from: originOf(loaded, key.path) });
    if (key.path === 'server.passwordFile') {
      // Written as a comment, because a password is no key of the file.
      const from = loaded.origins.get('server.password');
      const text = `${indent}# password: ${loaded.secrets.password === undefined ? 'none' : MASK}`;
      lines.push({ text, from: from === undefined ? '' : `# from ${from}` });
    }
  }
  if (lines.length === 0) lines.push({ text: '# every key is as the defaults are', from: '' });
  const width = Math.min(60, Math.max(...lines.map(({ text }) => text.length)));
  const body = lines.map(({ text, from }) =>
    from === '' ? text : `${text.padEnd(width)}  ${from}`,
  );
  return `# configuration file: ${loaded.file ?? 'none'}\n${body.join('\n')}\n`;
}

function keysOf({ origins }: LoadedConfig, changed: boolean): Key[] {
  const isSet = ({ path }: Key) => (origins.get(path) ?? 'default') !== 'default';
  return [...KEYS.values()].filter((key) => !changed || isSet(key));
}

function originOf(loaded: LoadedConfig, path: string): string {
  return `# from ${loaded.origins.get(path) ?? 'default'}`;
}

/** The same for machines. Durations and sizes are written as in a file, so that `config` can be used as one. */
export function explainJson(loaded: LoadedConfig, changed = false) {
  const keys = keysOf(loaded, changed);
  const shown = new Set(keys.map(({ path }) => path));
  return {
    file: loaded.file ?? null,
    config: readableConfig(loaded.config, keys),
    origins: Object.fromEntries(
      [...loaded.origins].filter(([path]) => !changed || shown.has(path) || !KEYS.has(path)),
    ),
    passwordSet: loaded.secrets.password !== undefined,
  };
}

/** The configuration as it may be logged (`daemon.started`): masked, with durations and sizes readable. */
export function readableConfig(
  config: Config,
  keys: Iterable<Key> = KEYS.values(),
): Record<string, unknown> {
  return nest(
    [...keys].map((key) => {
      const value = masked(key, valueAt(config, key.path));
      return [key.path, typeof value === 'number' ? readableNumber(key, value) : value] as const;
    }),
  );
}

/** `5s` for a duration, but a plain count stays a number. */
function readableNumber(key: Key, value: number): string | number {
  const printed = key.print(value);
  return printed === String(value) ? value : printed;
}

function masked(key: Key, value: unknown): unknown {
  if (key.path !== 'notify.webhooks' || !Array.isArray(value)) return value;
  // A URL of a file is no part of the configuration: a file with both is refused.
  return value.map(({ url, ...webhook }: Config['notify']['webhooks'][number]) =>
    url === undefined || webhook.urlFile !== undefined
      ? webhook
      : { url: maskUrl(url), ...webhook },
  );
}
