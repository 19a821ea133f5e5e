/** Adds units to a test's configuration: tests write durations in milliseconds, a configuration file needs a unit. */
import { KEYS } from '../../src/config/keys.js';

/** The same configuration, with `200` as `200ms` if the key is a duration. */
export function withUnits(config: unknown, path = ''): unknown {
  if (typeof config === 'number') return KEYS.get(path)?.lint ? `${config}ms` : config;
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return config;
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => [
      name,
      withUnits(value, path === '' ? name : `${path}.${name}`),
    ]),
  );
}
