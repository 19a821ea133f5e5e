/** The registration of OpenCode 2's own background service: where it listens, and its password (opencode-2-facts, section 1.5). */
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

/** Undefined where no service of this user is registered. */
export function readRegistration(env: NodeJS.ProcessEnv): Registration | undefined {
  const base = env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local/state');
  const file = join(base, 'opencode', 'service.json');
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

/** Whether it is the service that a URL leads to. */
export const isServiceAt = ({ url }: Registration, server: string): boolean =>
  serverKey(url) === serverKey(server);
