/**
 * Writes log lines to a file descriptor through `pino.destination`, at once and without waiting for their reader. If
 * the reader is slow or the disk is full, it tries again later. If the reader is gone, it stops writing.
 *
 * The destination keeps the pending lines and bounds them. Alone it would sleep in the event loop (EAGAIN) or fail
 * (ENOSPC).
 */
import { constants, fstatSync, openSync } from 'node:fs';
import { pino } from 'pino';
import type { Clock } from '../lib/clock.js';
import { isDiskFull } from '../lib/disk.js';

/**
 * Log lines behind a slow reader or a full disk. At the limit: whole lines are dropped; `log.dropped` says how many.
 */
export const MAX_PENDING_BYTES = 1024 * 1024;
/** A full pipe is tried again after this time, a full disk less often, since people must free it. */
const RETRY_MS = 50;
const DISK_RETRY_MS = 1_000;
/** Errors that say that the reader or the disk is gone. A supervisor works on without its log. */
const GONE: readonly unknown[] = ['EPIPE', 'EBADF', 'EIO'];
/** `flush` waits for a slow reader at most this long: the last lines of a stop are worth half a second. */
const FLUSH_MS = 500;
const FLUSH_PAUSE_MS = 10;

export interface Sink {
  write(line: string): void;
  flush(): void;
}

/** Calls `onDropped` with the number of lost lines once there is room to say so. */
export function createSink(fd: number, clock: Clock, onDropped: (lines: number) => void): Sink {
  let dropped = 0;
  let stuck = false;
  let gone = false;
  let retryIsDue = false;
  const destination = pino.destination({
    dest: fd,
    sync: true,
    maxLength: MAX_PENDING_BYTES,
    retryEAGAIN: () => false,
  });
  destination.on('drop', () => dropped++);
  destination.on('write', () => {
    stuck = false;
  });
  destination.on('error', (error: NodeJS.ErrnoException) => {
    stuck = true;
    gone ||= GONE.includes(error.code);
    if (gone || retryIsDue) return;
    retryIsDue = true;
    clock.after(isDiskFull(error) ? DISK_RETRY_MS : RETRY_MS, tryAgain, { unref: true });
  });

  /** Writes the pending lines and this one. */
  function write(line: string): void {
    if (gone) return;
    destination.write(line);
    if (stuck || dropped === 0) return;
    const lines = dropped;
    dropped = 0;
    onDropped(lines);
  }

  function tryAgain(): void {
    retryIsDue = false;
    write('');
  }

  return {
    write,
    flush() {
      const wait = new Int32Array(new SharedArrayBuffer(4));
      for (let waited = 0; stuck && !gone && waited < FLUSH_MS; waited += FLUSH_PAUSE_MS) {
        if (waited > 0) Atomics.wait(wait, 0, 0, FLUSH_PAUSE_MS);
        write('');
      }
    },
  };
}

/**
 * Opens the same pipe again, so that a write to it never blocks: a stalled reader would stop the whole daemon. Setting
 * O_NONBLOCK on the inherited descriptor would set it for every program that shares it. A descriptor that cannot be
 * opened this way (a socket, another user's pipe, a system without /proc) is returned as it is.
 */
export function withoutBlocking(fd: number): number {
  try {
    if (!fstatSync(fd).isFIFO()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return fd;
  }
}
