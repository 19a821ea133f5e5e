/**
 * Follows the two files that a spawned server writes its output to, as bounded lines at a bounded rate.
 *
 * The output goes to files, not pipes. With a pipe, the reader's death breaks the server's stdout (the wrapper and
 * tools that inherit it may die of EPIPE), a frozen reader blocks the server once the pipe is full, and the next daemon
 * cannot go on reading.
 */
import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  ftruncateSync,
  readSync,
  watch,
} from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import type { Clock, Timer } from '../../lib/clock.js';
import { withoutEscapes } from '../../lib/printable.js';
import { openPrivateFile } from '../../lib/state-dir.js';
import { Lines } from './lines.js';

export type Stream = 'stdout' | 'stderr';

export interface OutputOptions {
  files: Record<Stream, string>;
  clock: Clock;
  /** `end`: an earlier daemon has already shown what is there. */
  from: 'start' | 'end';
  onLine(line: { stream: Stream; line: string }): void;
  /** This many lines were left out because they came faster than MAX_LINES_PER_SECOND. */
  onDropped(lines: number): void;
  /** A stream is shown no more, because its file cannot be read (EIO, ESTALE). Called once for each stream. */
  onLost(stream: Stream, error: unknown): void;
}

/** A line of the server's output, and of a command's. At the limit: its beginning is shown, the rest dropped. */
export const MAX_LINE_BYTES = 8 * 1024;
/**
 * Lines of the server's output. A server in debug mode writes thousands a second; a log that repeats them all hides
 * what matters. At the limit: lines are dropped; a notice says how many.
 */
export const MAX_LINES_PER_SECOND = 100;
/** Last lines of output kept for an error. At the limit: the oldest is forgotten. */
export const KEPT_LINES = 20;
/** Last lines of the server's output kept for the evidence of an incident. At the limit: the oldest is forgotten. */
export const MAX_EVIDENCE_LINES = 200;
const WINDOW_MS = 1_000;
/**
 * inotify reports new output. The files are polled if it does not work, or if something is left to read or to report.
 */
const POLL_MS = 1_000;
/** Polls go on even if inotify works, because it may fall silent (its queue is full, or the file system is remote). */
const RARE_POLL_MS = 10_000;
/**
 * The file that the server's output is written to. What was read is no longer needed and must not fill the disk. At the
 * limit: the file is emptied once it is read.
 */
export const MAX_FILE_BYTES = 8 * 2 ** 20;
const CHUNK_BYTES = 64 * 1024;
/**
 * Chunks of output read at once. A writer that is faster than we read must not block the event loop. At the limit: the
 * rest is read with the next poll.
 */
const MAX_CHUNKS_PER_READ = 64;

export class OutputTail {
  readonly #options: OutputOptions;
  readonly #files: TailedFile[];
  readonly #kept: string[] = [];
  #timer: Timer | undefined;
  #pollsSoon = false;
  #windowStart: number;
  #inWindow = 0;
  #dropped = 0;

  constructor(options: OutputOptions) {
    this.#options = options;
    this.#windowStart = options.clock.now();
    this.#files = (['stdout', 'stderr'] as const).map(
      (stream) =>
        new TailedFile(options.files[stream], options.from, {
          line: (line) => this.#line(stream, line),
          lost: (error) => options.onLost(stream, error),
        }),
    );
    for (const file of this.#files) file.watch(() => this.#told(file));
    this.#poll();
  }

  /** Reads what is there now, including an unfinished last line. */
  flush(): void {
    for (const file of this.#files) file.read(true);
    this.#report();
  }

  /** The last lines of both streams, oldest first. */
  lastLines(): string[] {
    return [...this.#kept];
  }

  stop(): void {
    this.#timer?.cancel();
    this.flush();
    for (const file of this.#files) file.close();
  }

  #poll(): void {
    try {
      for (const file of this.#files) file.read();
      if (this.#options.clock.now() - this.#windowStart >= WINDOW_MS) this.#report();
    } finally {
      this.#schedule();
    }
  }

  /** Polls rarely if nothing is left to do: in an idle process a poll each second is a fifth of all its work. */
  #schedule(): void {
    const isQuiet =
      this.#dropped === 0 && this.#files.every((file) => file.isWatched && !file.hasMore);
    this.#pollsSoon = !isQuiet;
    const wait = isQuiet ? RARE_POLL_MS : POLL_MS;
    this.#timer = this.#options.clock.after(wait, () => this.#poll(), { coarse: true });
  }

  #told(file: TailedFile): void {
    file.read();
    // If output is left, the next poll must not be a rare one.
    if (this.#pollsSoon || (this.#dropped === 0 && !file.hasMore)) return;
    this.#timer?.cancel();
    this.#schedule();
  }

  #line(stream: Stream, line: string): void {
    this.#kept.push(line);
    if (this.#kept.length > MAX_EVIDENCE_LINES) this.#kept.shift();
    if (this.#options.clock.now() - this.#windowStart >= WINDOW_MS) this.#report();
    if (this.#inWindow >= MAX_LINES_PER_SECOND) {
      this.#dropped += 1;
      return;
    }
    this.#inWindow += 1;
    this.#options.onLine({ stream, line });
  }

  #report(): void {
    this.#windowStart = this.#options.clock.now();
    this.#inWindow = 0;
    if (this.#dropped === 0) return;
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.#options.onDropped(dropped);
  }
}

interface Told {
  line(line: string): void;
  /** The file cannot be read any more. */
  lost(error: unknown): void;
}

/** One growing file, read on from where the last read ended. */
class TailedFile {
  readonly #path: string;
  readonly #tell: Told;
  readonly #decoder = new StringDecoder('utf8');
  readonly #buffer = Buffer.alloc(CHUNK_BYTES);
  #fd: number | undefined;
  #watcher: FSWatcher | undefined;
  #offset = 0;
  readonly #lines: Lines;
  /** True if the last read ended before the end of the file. */
  hasMore = false;

  constructor(path: string, from: 'start' | 'end', tell: Told) {
    this.#path = path;
    this.#tell = tell;
    this.#lines = new Lines(MAX_LINE_BYTES, (line) => this.#emit(line));
    try {
      // Opened for writing too: the server still writes to a file that was removed, and such a file can only be emptied
      // through its descriptor.
      this.#fd = openPrivateFile(path, constants.O_RDWR);
      if (from === 'end') this.#offset = fstatSync(this.#fd).size;
    } catch {
      // Without its file a server has no output to show. The code that makes the file reports why it is missing.
    }
  }

  /** A file that does not exist needs no watching. */
  get isWatched(): boolean {
    return this.#fd === undefined || this.#watcher !== undefined;
  }

  watch(changed: () => void): void {
    try {
      this.#watcher = watch(this.#path, { persistent: false }, changed);
      // The polls go on without it.
      this.#watcher.on('error', () => {
        this.#watcher?.close();
        this.#watcher = undefined;
      });
    } catch {
      // There is no inotify here, or none left: the polls are enough.
    }
  }

  /** Called by timers and by inotify, so it does not throw: a file that cannot be read is closed and reported. */
  read(unfinished = false): void {
    if (this.#fd === undefined) return;
    try {
      this.#read(this.#fd, unfinished);
    } catch (error) {
      this.hasMore = false;
      this.close();
      this.#tell.lost(error);
    }
  }

  #read(fd: number, unfinished: boolean): void {
    // We or a person have emptied the file: everything in it is new.
    if (fstatSync(fd).size < this.#offset) this.#offset = 0;
    this.hasMore = true;
    for (let chunk = 0; chunk < MAX_CHUNKS_PER_READ; chunk++) {
      const bytes = readSync(fd, this.#buffer, 0, CHUNK_BYTES, this.#offset);
      if (bytes === 0) {
        this.hasMore = false;
        break;
      }
      this.#offset += bytes;
      this.#lines.push(this.#decoder.write(this.#buffer.subarray(0, bytes)));
    }
    if (unfinished) this.#lines.end();
    // The server's descriptor appends (O_APPEND), so it goes on at the new end. What it writes between the last read
    // and this line is lost, which is little for a server that has written megabytes.
    if (this.#offset > MAX_FILE_BYTES) ftruncateSync(fd);
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd === undefined) return;
    try {
      closeSync(fd);
    } catch {
      // close(2): the descriptor is gone anyway, and the error (EIO) is about writing, which we do not do.
    }
  }

  #emit(line: string): void {
    const isCut = line.length > MAX_LINE_BYTES;
    // It is cut first: what is not shown need not be looked at.
    const start = isCut ? line.slice(0, MAX_LINE_BYTES - 1) : line.replace(/\r$/, '');
    const text = withoutEscapes(start);
    if (text !== '' || isCut) this.#tell.line(isCut ? `${text}…` : text);
  }
}
