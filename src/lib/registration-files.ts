/** The files in which OpenCode 2's background services register themselves (opencode-2-facts, section 1.5). */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { xdgStateHome } from './state-dir.js';

/**
 * Registrations of OpenCode's background service. Each channel has a build and a service of its own, and nobody has
 * more. At the limit: the rest is not read.
 */
const MAX_REGISTRATIONS = 20;
/** `service.json`, and `service-<channel>.json` of other builds. */
const IS_REGISTRATION = /^service(-[\w.-]+)?\.json$/;
const RELEASE = 'service.json';

/** The registrations of the user with this environment, that of the release first. */
export function registrationFiles(env: NodeJS.ProcessEnv): string[] {
  const folder = join(xdgStateHome(env), 'opencode');
  return namesIn(folder)
    .filter((name) => IS_REGISTRATION.test(name))
    .sort((a, b) => Number(b === RELEASE) - Number(a === RELEASE) || a.localeCompare(b))
    .slice(0, MAX_REGISTRATIONS)
    .map((name) => join(folder, name));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // OpenCode has never run here for this user, or the folder cannot be read.
    return [];
  }
}
