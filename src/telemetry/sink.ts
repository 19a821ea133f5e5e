/**
 * Writes lines to a file descriptor at once, and never lets the reader's trouble become the daemon's: a reader that is
 * slow and a disk that is full are waited for in the background, a reader that went away is written to no more.
 */
import { writeSync } from 'node:fs';
import type { Clock, Timer } from '../lib/clock.js';
import { isDiskFull } from '../lib/disk.js';

/**
 * Log lines behind a slow reader or a full disk. At the limit: whole lines are dropped; `log.dropped` says how many.
 */
export const MAX_PENDING_BYTES = 1024 * 1024;
/** A full pipe is tried again after this time, a full disk less often: it is freed by people. */
const RETRY_MS = 50;
const DISK_RETRY_MS = 1_000;
/** The pipe has no room just now. */
const SLOW: readonly unknown[] = ['EAGAIN', 'EBUSY', 'EINTR'];
/** `flush` waits for a slow reader at most this long: the last lines of a stop are worth half a second. */
const FLUSH_MS = 500;

export interface Sink {
  write(line: string): void;
  flush(): void;
}

type Write = (fd: number, bytes: Uint8Array) => number;

export class FileDescriptorSink implements Sink {
  readonly #fd: number;
  readonly #clock: Clock;
  readonly #onDropped: (lines: number) => void;
  readonly #write: Write;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #dropped = 0;
  #closed = false;
  #retry: Timer | undefined;

  /** `onDropped` is told how many lines were lost, once there is room to say so. */
  constructor(
    fd: number,
    clock: Clock,
    onDropped: (lines: number) => void,
    write: Write = (target, bytes) => writeSync(target, bytes),
  ) {
    this.#fd = fd;
    this.#clock = clock;
    this.#onDropped = onDropped;
    this.#write = write;
  }

  write(line: string): void {
    if (this.#closed) return;
    if (this.#pendingBytes > MAX_PENDING_BYTES) {
      this.#dropped++;
      return;
    }
    const bytes = Buffer.from(line);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    // While a retry is due, order is kept by waiting for it.
    if (this.#retry === undefined) this.#drain();
  }

  flush(): void {
    const wait = new Int32Array(new SharedArrayBuffer(4));
    for (let waited = 0; waited < FLUSH_MS && this.#pendingBytes > 0; waited += 10) {
      this.#drain();
      if (this.#pendingBytes > 0) Atomics.wait(wait, 0, 0, 10);
    }
  }

  #drain(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    try {
      for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
        const written = this.#write(this.#fd, first);
        this.#pendingBytes -= written;
        if (written < first.length) this.#pending[0] = first.subarray(written);
        else this.#pending.shift();
      }
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (this.#dropped > 0) {
      const lines = this.#dropped;
      this.#dropped = 0;
      this.#onDropped(lines);
    }
  }

  #failed(error: unknown): void {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // What was written of a line stays written: its rest is kept too, so that no line is ever cut in two.
    if (SLOW.includes(code) || isDiskFull(error)) {
      const wait = SLOW.includes(code) ? RETRY_MS : DISK_RETRY_MS;
      this.#retry = this.#clock.after(wait, () => this.#drain(), { unref: true });
      return;
    }
    // EPIPE: the reader went away; EIO: the disk did. A supervisor works on without its log.
    this.#closed = code === 'EPIPE' || code === 'EBADF' || code === 'EIO';
    this.#dropped += this.#pending.length;
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}
