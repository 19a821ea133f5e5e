/** Acts as another local user. Only root can: a test that needs this is skipped without it, and says so in its name. */
import { chownSync } from 'node:fs';

/** `nobody` on every Linux: has no files and no rights. */
export const OTHER_UID = 65_534;

export const isRoot = process.geteuid?.() === 0;

/** The end of the name of a test that only root can run. */
export const needsRoot = isRoot ? '' : ' (skipped: only root can act as another user)';

export function giveAway(...paths: readonly string[]): void {
  for (const path of paths) chownSync(path, OTHER_UID, OTHER_UID);
}
