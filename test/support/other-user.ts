/** Acts as another local user, which only root can: a test that needs it says by name that it was skipped without. */
import { chownSync } from 'node:fs';

/** `nobody` on every Linux: has no files and no rights. */
export const OTHER_UID = 65_534;

export const isRoot = process.geteuid?.() === 0;

/** Behind the name of a test that runs as root only. */
export const needsRoot = isRoot ? '' : ' (skipped: only root can act as another user)';

export function giveAway(...paths: readonly string[]): void {
  for (const path of paths) chownSync(path, OTHER_UID, OTHER_UID);
}
