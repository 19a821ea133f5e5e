/** What a full disk looks like. */

/** The disk, a quota or a limit on the size of files leaves no room (write(2)). */
const FULL: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'EFBIG'];

/** People free it, and what could not be written then can be again: no reason to end. */
export function isDiskFull(error: unknown): boolean {
  return FULL.includes((error as NodeJS.ErrnoException | null)?.code);
}
