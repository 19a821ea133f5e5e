/** The registration of OpenCode 2's own background service: where it listens, and its password (opencode-2-facts, section 1.5). */
import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { readPrivateFile, serverKey } from '../lib/state-dir.js';
import { Secret } from './secret.js';

/** The default port of the service, 0xc0de. */
export const SERVICE_URL = 'http://127.0.0.1:49374';
/** Its file has some hundred bytes: what is larger is another file. At the limit: it is taken as absent. */
const MAX_REGISTRATION_BYTES = 64 * 1024;

const schema = z.object({ url: z.url(), password: z.string().min(1).max(4096).optional() });

export interface Registration {
  file: string;
  url: string;
  password?: Secret;
}

/** Channels have builds of their own, each with its service: as many as anybody has. At the limit: the rest is not read. */
const MAX_REGISTRATIONS = 20;
/** `service.json`, and `service-<channel>.json` of other builds (section 1.5). */
const IS_REGISTRATION = /^service(-[\w.-]+)?\.json$/;

/** Those of this user, that of the release first. */
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
    // No OpenCode of this user has ever run here, or it is nobody's to read.
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
    // Half written, or of another form: it is as good as none, and the server's own answer tells.
    return undefined;
  }
}

/** Requests come in bursts, and a new registration is read soon enough. */
const READ_EVERY_MS = 1_000;

/** What the registration of the service at `server` says now. */
export function passwordFinder(env: NodeJS.ProcessEnv, server: string): () => Secret | undefined {
  let readAt = Number.NEGATIVE_INFINITY;
  let password: Secret | undefined;
  return () => {
    const now = performance.now();
    if (now - readAt < READ_EVERY_MS) return password;
    readAt = now;
    // While it is being replaced there is none: the one before is kept.
    password =
      readRegistrations(env).find((each) => isServiceAt(each, server))?.password ?? password;
    return password;
  };
}

/** Whether it is the service that a URL leads to. */
export const isServiceAt = ({ url }: Registration, server: string): boolean =>
  serverKey(url) === serverKey(server);
