/** The password and the status token: from the environment, from files, from systemd's credentials; nowhere else. */
import { lstatSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readTextFile } from '../lib/text-file.js';
import type { Problem } from './problem.js';
import type { Config } from './schema.js';
import { Secret } from './secret.js';
import { webhookUrlProblem } from './value-types.js';

export interface Secrets {
  /** Password of the opencode server. */
  password?: Secret;
  /** Token of the status endpoint. */
  statusToken?: Secret;
}

/**
 * A password or token file. A password is one line, so a larger file is surely another file. At the limit: it is
 * refused.
 */
export const MAX_SECRET_BYTES = 4096;

/** Names under $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=), the more specific one first. */
const CREDENTIALS = ['opencode-server-password', 'password'];

/** Reads the files of `urlFile` and puts their URLs into the webhooks. */
export function readWebhookUrls({ notify }: Config, cwd: string): Problem[] {
  return notify.webhooks.flatMap((webhook, at) => {
    if (webhook.urlFile === undefined) return [];
    const key = `notify.webhooks[${at}].urlFile`;
    const read = readSecretFile(resolve(cwd, webhook.urlFile));
    const source = 'notify.webhooks';
    if (!('secret' in read))
      return [{ key, value: webhook.urlFile, expected: read.problem, source }];
    const url = read.secret.reveal();
    const problem = webhookUrlProblem(url);
    if (problem !== undefined) {
      return [{ key, value: webhook.urlFile, expected: `a file that holds ${problem}`, source }];
    }
    webhook.url = url;
    return [];
  });
}

export function readSecrets(
  config: Config,
  origins: Map<string, string>,
  env: NodeJS.ProcessEnv,
  cwd: string,
  { token: wantsToken }: { token: boolean },
): { secrets: Secrets; problems: Problem[] } {
  const secrets: Secrets = {};
  const problems: Problem[] = [];
  const fromFile = (key: string, path: string, source: string) => {
    const read = readSecretFile(resolve(cwd, path));
    if ('secret' in read) return read.secret;
    problems.push({ key, value: path, expected: read.problem, source });
    return undefined;
  };

  const place = passwordPlace(config, origins, env);
  if (place?.kind === 'variable') secrets.password = new Secret(place.value);
  if (place?.kind === 'file') {
    const secret = fromFile('server.passwordFile', place.path, place.source);
    if (secret !== undefined) secrets.password = secret;
  }
  if (place?.kind === 'credential') {
    const path = firstCredential(place.directory);
    const secret =
      path && fromFile('systemd credential', path, 'environment CREDENTIALS_DIRECTORY');
    if (secret) secrets.password = secret;
  }
  if (place !== undefined && secrets.password !== undefined) {
    origins.set('server.password', place.origin);
  }

  if (wantsToken && config.status.tokenFile !== null && config.status.listen !== 'off') {
    const source = origins.get('status.tokenFile') ?? 'default';
    const token = fromFile('status.tokenFile', config.status.tokenFile, source);
    if (token !== undefined) secrets.statusToken = token;
  }
  return { secrets, problems };
}

type Place =
  | { kind: 'variable'; value: string; origin: string }
  | { kind: 'file'; path: string; source: string; origin: string }
  | { kind: 'credential'; directory: string; origin: string };

/**
 * The environment beats the file, and our own variable beats opencode's: the more specific one wins, as with the URL.
 */
function passwordPlace(
  config: Config,
  origins: ReadonlyMap<string, string>,
  env: NodeJS.ProcessEnv,
): Place | undefined {
  const path = config.server.passwordFile;
  const source = origins.get('server.passwordFile') ?? 'default';
  const file: Place | undefined =
    path === null ? undefined : { kind: 'file', path, source, origin: `file ${path}` };
  if (file !== undefined && source.startsWith('environment')) return file;
  // Both are opencode's variables; 2.x reads the first one first.
  for (const name of ['OPENCODE_PASSWORD', 'OPENCODE_SERVER_PASSWORD']) {
    const value = env[name];
    if (value) return { kind: 'variable', value, origin: `environment ${name}` };
  }
  if (file !== undefined) return file;
  const directory = env.CREDENTIALS_DIRECTORY;
  return directory
    ? { kind: 'credential', directory, origin: `systemd credential in ${directory}` }
    : undefined;
}

/**
 * Undefined if the unit has only other credentials: a server without a password is valid too. One that is there counts,
 * also if it cannot be used: without it, the server would run open.
 */
function firstCredential(directory: string): string | undefined {
  return CREDENTIALS.map((name) => join(directory, name)).find((path) => !isAbsent(path));
}

function isAbsent(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
}

export function readSecretFile(path: string): { secret: Secret } | { problem: string } {
  const read = readTextFile(path, MAX_SECRET_BYTES);
  if ('problem' in read) return read;
  // Editors and `echo` end a file with a newline that is not part of the password.
  const value = read.text.replace(/\r?\n$/, '');
  if (value === '') return { problem: 'a file that is not empty' };
  if (/[\r\n]/.test(value)) return { problem: 'a file of one line' };
  return { secret: new Secret(value) };
}
