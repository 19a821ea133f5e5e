/**
 * The registration of OpenCode 2's own background service: where it listens, and its password (opencode-2-facts,
 * section 1.5).
 */
import * as z from 'zod';
import { registrationFiles } from '../lib/registration-files.js';
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

/** The registrations of this user, that of the release first. */
export function readRegistrations(env: NodeJS.ProcessEnv): Registration[] {
  return registrationFiles(env).flatMap((file) => readRegistration(file) ?? []);
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
