/**
 * Whether a configuration file is trusted. One in the working directory may have come with a clone, or may be the
 * watched agent's work, and it could name the address that gets the password and programs that are run. So only those
 * of its keys count that can at worst make the daemon abort too much or too little, until a person trusts the file:
 * this very content, at this very path.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import * as z from 'zod';
import {
  ensurePrivateDirectory,
  isPrivateDirectory,
  readPrivateFile,
  stateHome,
  writePrivateFile,
} from '../lib/state-dir.js';

/** Keys, or whole levels, that need no trust. */
export const NEED_NO_TRUST: readonly string[] = [
  'retry',
  'stall',
  'loop',
  'budget',
  'pileup',
  'probe',
  'log.level',
  'log.healthInterval',
];

const LIST = 'trust.json';
const LIST_LIMIT_BYTES = 1024 * 1024;
const listSchema = z.object({ files: z.record(z.string(), z.string()) });

export function needsTrust(key: string): boolean {
  return !NEED_NO_TRUST.some((free) => key === free || key.startsWith(`${free}.`));
}

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function isTrusted(env: NodeJS.ProcessEnv, path: string, digest: string): boolean {
  return isPrivateDirectory(stateHome(env)) && readList(env).get(path) === digest;
}

/** Adds a file to the list. @returns the list's file. @throws if it cannot be written */
export function trustFile(env: NodeJS.ProcessEnv, path: string, digest: string): string {
  ensurePrivateDirectory(stateHome(env));
  const files = readList(env).set(path, digest);
  const list = join(stateHome(env), LIST);
  writePrivateFile(list, `${JSON.stringify({ files: Object.fromEntries(files) }, null, 2)}\n`);
  return list;
}

/** If the list cannot be read, nothing is trusted. */
function readList(env: NodeJS.ProcessEnv): Map<string, string> {
  const read = readPrivateFile(join(stateHome(env), LIST), LIST_LIMIT_BYTES);
  if (read.kind !== 'text') return new Map();
  try {
    return new Map(Object.entries(listSchema.parse(JSON.parse(read.text)).files));
  } catch {
    return new Map();
  }
}
