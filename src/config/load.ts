/**
 * Loads the configuration: flags beat the environment, the environment beats the file, the file beats the profile, the
 * profile beats the defaults. Every problem of every source is reported in one run.
 */
import { resolve } from 'node:path';
import type * as z from 'zod';
import { MASK, type Revealable } from '../lib/redaction.js';
import { suggest } from '../lib/suggest.js';
import { readSecrets, readWebhookUrls, type Secrets } from './credentials.js';
import { crossCheck } from './cross-checks.js';
import { readOpencodeVariables, readWatchdogVariables } from './environment.js';
import { type FoundFile, findConfigFile, readConfigFile } from './file.js';
import { inContainer, othersWhoMayWrite } from './file-mode.js';
import { KEYS, nest } from './keys.js';
import { readMadePassword } from './made-password.js';
import { ConfigError, type Problem, showValue } from './problem.js';
import { profileOf, profileSource } from './profiles.js';
import { type Config, configSchema } from './schema.js';
import { Secret } from './secret.js';
import {
  isServiceAt,
  passwordFinder,
  readRegistrations,
  SERVICE_URL,
} from './service-registration.js';
import type { Entry, Source } from './source.js';
import { isTrusted, needsTrust } from './trust.js';

/** A value given on the command line. */
export interface Flag {
  /** Key path: `server.url`. */
  key: string;
  /** As the user typed it: `--url`. */
  flag: string;
  value: string | boolean;
}

export interface LoadOptions {
  /** `--config`. */
  file?: string | undefined;
  flags?: readonly Flag[];
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Decides whether a file of the working directory is trusted. By default the list in the state directory does. */
  isTrusted?(path: string, digest: string): boolean;
  /** False if `status.tokenFile` is not to be read: commands may not be allowed to read it. */
  token?: boolean;
  /** Whether files that others may write are refused. By default, they are for root outside a container. */
  strictModes?: boolean;
}

/** A file of the working directory that nobody has trusted yet. */
export interface Untrusted {
  file: string;
  digest: string;
  /** Keys that it sets and that were left out, with their values in a form that may be shown. */
  keys: { key: string; value: string }[];
}

export interface LoadedConfig {
  /** Set if nobody gave a password: it is one of ours, for a server that we start (made-password.ts). */
  passwordIsMade?: true;
  /**
   * Finds the password of OpenCode's background service in its present registration: it may register later, or again.
   * Set if nobody gave a password.
   */
  findPassword?: () => Secret | undefined;
  config: Config;
  secrets: Secrets;
  /** Where each key's value came from. If there is a password, its origin too, as `server.password`. */
  origins: ReadonlyMap<string, string>;
  /** The configuration file that was read. */
  file?: string;
  untrusted?: Untrusted;
  /** One sentence each. */
  warnings: string[];
}

/** @throws ConfigError with every problem found */
export function loadConfig(options: LoadOptions = {}): LoadedConfig {
  const { env = process.env, cwd = process.cwd(), flags = [], token = true } = options;
  const file = findConfigFile(options.file, env, cwd);
  const read = file === undefined ? undefined : trustedPart(file, options, env);
  // The lowest priority comes first.
  const named: Source[] = [
    ...(read === undefined ? [] : [read.source]),
    readOpencodeVariables(env),
    readWatchdogVariables(env),
    readFlags(flags),
  ];
  const sources = [profileSource(profileOf(named)), ...named];

  const values = new Map<string, unknown>();
  const origins = new Map([...KEYS.keys()].map((path) => [path, 'default']));
  const problems: Problem[] = [];
  for (const source of sources) {
    problems.push(...source.problems);
    for (const entry of source.entries) {
      if (source.yields && isOverridden(entry, source, sources)) continue;
      origins.set(entry.path, entry.source);
      const result = readValue(entry);
      if ('value' in result) values.set(entry.path, result.value);
      else problems.push(...result.problems);
    }
  }

  // A bad value gives way to that of the source below, so that the remaining checks still find what they can.
  const config = configSchema.parse(nest(values));
  const bad = new Set(problems.map((problem) => problem.key));
  const sourceOf = (path: string) => origins.get(path) ?? 'default';
  problems.push(...crossCheck(config, bad, sourceOf));
  const { secrets, problems: secretProblems } = readSecrets(config, origins, env, cwd, { token });
  problems.push(...secretProblems);
  const services = readRegistrations(env);
  if (config.server.control === 'service' && sourceOf('server.url') === 'default') {
    const [first] = services;
    config.server.url = first?.url ?? SERVICE_URL;
    origins.set('server.url', first ? `file ${first.file}` : 'default of OpenCode’s service');
  }
  const service = services.find((each) => isServiceAt(each, config.server.url));
  const findPassword =
    secrets.password === undefined ? passwordFinder(env, config.server.url) : undefined;
  if (secrets.password === undefined && service) {
    if (service.password) secrets.password = service.password;
    origins.set('server.password', `file ${service.file}`);
  }
  const made =
    secrets.password === undefined ? readMadePassword(env, config.server.url) : undefined;
  if (made !== undefined) {
    secrets.password = made;
    origins.set('server.password', 'made for a server that we start');
  }
  problems.push(...readWebhookUrls(config, cwd));
  const { passwordFile } = config.server;
  const believed = [file?.path, passwordFile === null ? undefined : resolve(cwd, passwordFile)];
  const warnings: string[] = [];
  const strict = options.strictModes ?? (process.geteuid?.() === 0 && !inContainer(env));
  for (const path of believed) {
    const who = path === undefined ? undefined : othersWhoMayWrite(path);
    if (path === undefined || who === undefined) continue;
    if (strict) {
      const expected = `a file that only its owner may write, but ${who} may: chmod go-w ${path}`;
      problems.push({ key: path, expected, source: 'read as root' });
    } else warnings.push(`${path} may be written by ${who}: chmod go-w ${path}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    config,
    secrets,
    origins,
    warnings,
    ...(made && { passwordIsMade: true as const }),
    ...(findPassword && { findPassword }),
    ...(file === undefined ? {} : { file: file.path }),
    ...(read?.untrusted === undefined ? {} : { untrusted: read.untrusted }),
  };
}

/**
 * The file's values. If it is a file of the working directory that nobody has trusted, only those that need no trust.
 */
function trustedPart(
  file: FoundFile,
  options: LoadOptions,
  env: NodeJS.ProcessEnv,
): { source: Source; untrusted?: Untrusted } {
  const source = readConfigFile(file);
  const { digest } = source;
  if (!file.ofWorkingDirectory || digest === undefined) return { source };
  const left = source.entries.filter(({ path }) => needsTrust(path));
  const trusts = options.isTrusted ?? ((path: string, of: string) => isTrusted(env, path, of));
  if (left.length === 0 || trusts(file.path, digest)) return { source };
  const keys = left.map(({ path, candidates }) => ({
    key: path,
    value: shown(path, candidates[0]),
  }));
  return {
    source: { ...source, entries: source.entries.filter(({ path }) => !needsTrust(path)) },
    untrusted: { file: file.path, digest, keys },
  };
}

/** Everything that no output may show, for the log's redaction. Webhook URLs carry their token in the path. */
export function secretsOf({ config, secrets, findPassword }: LoadedConfig): Revealable[] {
  const webhooks = config.notify.webhooks.flatMap(({ url }) =>
    url === undefined ? [] : new Secret(url),
  );
  const registered = findPassword && { reveal: () => findPassword()?.reveal() ?? '' };
  return [...Object.values(secrets), ...(registered ? [registered] : []), ...webhooks];
}

function isOverridden(entry: Entry, source: Source, sources: readonly Source[]): boolean {
  const above = sources.slice(sources.indexOf(source) + 1);
  return above.some(({ entries }) => entries.some(({ path }) => path === entry.path));
}

function readFlags(flags: readonly Flag[]): Source {
  const entries = flags.map(({ key, flag, value }) => ({
    path: key,
    candidates: [value],
    source: `flag ${flag}`,
  }));
  return { entries, problems: [] };
}

/**
 * The first reading that the key's schema accepts. It is returned unparsed: the whole is parsed once more at the end.
 */
function readValue(entry: Entry): { value: unknown } | { problems: Problem[] } {
  const key = KEYS.get(entry.path);
  if (key === undefined)
    throw new Error(`A source gave a value for ${entry.path}, which is no key.`);
  let problems: Problem[] | undefined;
  for (const candidate of entry.candidates) {
    const lint = key.lint?.(candidate);
    if (lint !== undefined) {
      const { path, source } = entry;
      problems ??= [{ key: path, value: showValue(candidate), expected: lint, source }];
      continue;
    }
    // Undefined would count as "not given" and pass as the default.
    const result = key.schema.safeParse(candidate === undefined ? null : candidate);
    if (result.success) return { value: candidate };
    problems ??= result.error.issues.flatMap((issue) => toProblems(issue, candidate, entry));
  }
  return { problems: problems ?? [] };
}

function toProblems(issue: z.core.$ZodIssue, candidate: unknown, entry: Entry): Problem[] {
  let key = entry.path;
  let value = candidate;
  for (const part of issue.path) {
    key += typeof part === 'number' ? `[${part}]` : `.${String(part)}`;
    value = typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined;
  }
  const { source } = entry;
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((name) => ({
      key: `${key}.${name}`,
      expected: `a known key; the nearest is ${suggest(name, ['url', 'urlFile', 'events', 'format', 'minLevel', 'quiet'])}`,
      source,
    }));
  }
  // Every schema has our own message, which says what was expected; zod's would be about the missing value.
  return [{ key, value: shown(key, value), expected: issue.message, source }];
}

function shown(key: string, value: unknown): string {
  // Of a webhook, only the word that was wrong may be shown, never a URL or an object that holds one.
  if (key.startsWith('notify.webhooks') && !/\.(events|format|minLevel|quiet)/.test(key))
    return MASK;
  // It may be "user:password" instead of the user.
  if (key === 'server.username' && typeof value === 'string') return MASK;
  return value === undefined ? 'missing' : showValue(value);
}
