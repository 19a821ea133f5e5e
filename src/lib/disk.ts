/** Recognises errors of a full disk. */

/** There is no room left: the disk is full, or a quota or the limit on a file's size is reached (write(2)). */
const FULL: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'EFBIG'];

/** A full disk is no reason to end: people free space, and then writing works again. */
export function isDiskFull(error: unknown): boolean {
  return FULL.includes((error as NodeJS.ErrnoException | null)?.code);
}
