/** Looks at files where a file that cannot be looked at (EACCES, ENOTDIR, ELOOP, ...) is as good as none. */
import { lstatSync, type Stats, statSync } from 'node:fs';

/** What is at the path, behind links too; undefined if there is nothing, or if it cannot be looked at. */
export function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** The same, but a link is a link. */
export function lstatOf(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
