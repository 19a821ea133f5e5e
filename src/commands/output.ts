/** Writes to stdout completely or not at all, as far as a program can tell. */
import { fstatSync, writeFileSync } from 'node:fs';

type Stream = typeof process.stdout;

/** Settles with the error, if there is one. */
export function writeAll(stream: Stream, text: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    try {
      if (!isFile(stream)) {
        stream.write(text, (error) => resolve(error ?? undefined));
        return;
      }
      // If only a part fits on a disk, Node's own stream for files takes that for the whole (seen on 20.20).
      writeFileSync(stream.fd, text);
      resolve(undefined);
    } catch (error) {
      resolve(error as NodeJS.ErrnoException);
    }
  });
}

function isFile({ fd, isTTY }: Stream): boolean {
  const stats = fstatSync(fd);
  return stats.isFile() || (stats.isCharacterDevice() && !isTTY);
}

/** Why it could not be written, in words. */
export function whyUnwritten({ code = 'unknown', message }: NodeJS.ErrnoException): string {
  switch (code) {
    case 'EPIPE':
      return 'its reader went away';
    case 'ENOSPC':
      return 'no space is left on the disk';
    default:
      return `${code}: ${message}`;
  }
}
