/** Every key of the configuration as a flat list, read from the schema: path, schema, default, meaning, variable. */
import * as z from 'zod';
import { configSchema } from './schema.js';
import { type ValueMeta, valueMeta } from './value-types.js';

export interface Key extends ValueMeta {
  /** `restart.backoff.initial` */
  path: string;
  /** `OPENCODE_WATCHDOG_RESTART_BACKOFF_INITIAL` */
  variable: string;
  schema: z.ZodType;
  initial: unknown;
}

export const ENV_PREFIX = 'OPENCODE_WATCHDOG_';

function variableOf(path: string): string {
  return ENV_PREFIX + path.replaceAll('.', '_').toUpperCase();
}

const groupPaths: string[] = [];

function* walk(schema: unknown, path: string): Generator<Key> {
  if (schema instanceof z.ZodPrefault) {
    yield* walk(schema.unwrap(), path);
  } else if (schema instanceof z.ZodObject) {
    if (path !== '') groupPaths.push(path);
    for (const [name, child] of Object.entries(schema.shape)) {
      yield* walk(child, path === '' ? name : `${path}.${name}`);
    }
  } else if (schema instanceof z.ZodType) {
    const meta = valueMeta.get(schema);
    if (meta === undefined) throw new Error(`The key ${path} has no description in the schema.`);
    yield { path, variable: variableOf(path), schema, initial: schema.parse(undefined), ...meta };
  }
}

export const KEYS: ReadonlyMap<string, Key> = new Map(
  [...walk(configSchema, '')].map((key) => [key.path, key]),
);

export const KEYS_BY_VARIABLE: ReadonlyMap<string, Key> = new Map(
  [...KEYS.values()].map((key) => [key.variable, key]),
);

/** `server`, `restart`, `restart.backoff`: the levels above the keys. */
export const GROUPS: ReadonlySet<string> = new Set(groupPaths);

/** The value at a path of a nested object. Undefined if there is none. */
export function valueAt(root: unknown, path: string): unknown {
  let value = root;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name))
      return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** A nested object from paths and values; the paths are keys of the schema. */
export function nest(values: Iterable<readonly [path: string, value: unknown]>) {
  const root: Record<string, unknown> = {};
  for (const [path, value] of values) {
    const names = path.split('.');
    let level = root;
    for (const name of names.slice(0, -1)) {
      level[name] ??= {};
      level = level[name] as Record<string, unknown>;
    }
    level[names.at(-1) ?? path] = value;
  }
  return root;
}

/** The words that a key takes, if it takes one of a few. Else none. */
export function optionsOf(path: string): readonly string[] {
  const schema = KEYS.get(path)?.schema;
  const inner = schema instanceof z.ZodDefault ? schema.unwrap() : schema;
  return inner instanceof z.ZodEnum ? inner.options.map(String) : [];
}
