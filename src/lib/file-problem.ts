/** Errors of the file system in words. */

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  ENOTDIR: 'a part of its path is not a directory',
  EACCES: 'permission is denied',
  ELOOP: 'its symbolic links go in circles',
  ENAMETOOLONG: 'its name is too long',
  EISDIR: 'it is a directory',
};

/** Why a file cannot be used, as a part of a sentence; undefined if the error is none of the common ones. */
export function fileProblem(error: unknown): string | undefined {
  return REASONS[codeOf(error)];
}

/** The error's code (errno(3)); empty if it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : '';
}
