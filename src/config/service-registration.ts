/**
 * The registration of OpenCode 2's own background service: where it listens, and its password (opencode-2-facts,
 * section 1.5).
 */
import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { readPrivateFile, serverKey } from '../lib/state-dir.js';
import { Secret } from './secret.js';

/** The default port of the service, 0xc0de. */
export const SERVICE_URL = 'http://127.0.0.1:49374';
/**
 * A registration of OpenCode's background service. The file has a few hundred bytes, so a larger one is another file.
 * At the limit: it is taken as absent.
 */
const MAX_REGISTRATION_BYTES = 64 * 1024;

const schema = z.object({ url: z.url(), password: z.string().min(1).max(4096).optional() });

export interface Registration {
  file: string;
  url: string;
  password?: Secret;
}

/**
 * Registrations of OpenCode's background service. Each channel has a build and a service of its own, and nobody has
 * more. At the limit: the rest is not read.
 */
const MAX_REGISTRATIONS = 20;
/** `service.json`, and `service-<channel>.json` of other builds (section 1.5). */
const IS_REGISTRATION = /^service(-[\w.-]+)?\.json$/;

/** The registrations of this user, that of the release first. */
export function readRegistrations(env: NodeJS.ProcessEnv): Registration[] {
  const base = env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local/state');
  const folder = join(base, 'opencode');
  return namesIn(folder)
    .filter((name) => IS_REGISTRATION.test(name))
    .sort((a, b) => Number(b === RELEASE) - Number(a === RELEASE) || a.localeCompare(b))
    .slice(0, MAX_REGISTRATIONS)
    .flatMap((name) => readRegistration(join(folder, name)) ?? []);
}

const RELEASE = 'service.json';

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // OpenCode has never run here for this user, or the folder cannot be read.
    return [];
  }
}

function readRegistration(file: string): Registration | undefined {
  const read = readPrivateFile(file, MAX_REGISTRATION_BYTES);
  if (read.kind !== 'text') return undefined;
  try {
    const { url, password } = schema.parse(JSON.parse(read.text));
    return { file, url, ...(password !== undefined && { password: new Secret(password) }) };
  } catch {
    // The file is half written, or has another form. It counts as none, and the server's own answer tells the rest.
    return undefined;
  }
}

/** How long a reading is reused, ms: requests come in bursts, and a new registration is still read soon enough. */
const READ_EVERY_MS = 1_000;

/** Returns a function that gives the password that the service at `server` has registered now. */
export function passwordFinder(env: NodeJS.ProcessEnv, server: string): () => Secret | undefined {
  let readAt = Number.NEGATIVE_INFINITY;
  let password: Secret | undefined;
  return () => {
    const now = performance.now();
    if (now - readAt < READ_EVERY_MS) return password;
    readAt = now;
    // While the registration is being replaced there is none, so the password before it is kept.
    password =
      readRegistrations(env).find((each) => isServiceAt(each, server))?.password ?? password;
    return password;
  };
}

/** Whether the URL `server` leads to this service. */
export const isServiceAt = ({ url }: Registration, server: string): boolean =>
  serverKey(url) === serverKey(server);
