/** `run --record FILE`: writes every observation as it is taken in. Bounded: at its limit the file is put aside once. */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { isDiskFull } from '../lib/disk.js';
import type { Observation } from '../watchdog/observation.js';
import { FORMAT_VERSION, type Header, MAX_LINE_CHARS, toLine } from './format.js';

/** A recording. A busy day is some 50 MB. At the limit: it is put aside as `FILE.1`, once: two files are kept. */
export const MAX_RECORDING_BYTES = 64 * 1024 * 1024;

export interface RecorderOptions {
  file: string;
  header: Pick<Header, 'version' | 'opencode' | 'acts' | 'policy' | 'about'>;
  /** ISO 8601 of now. */
  now(): string;
  /** Takes secrets out of any text. */
  clean(text: string): string;
  maxBytes?: number;
  /** A disk that is full ends the recording, not the daemon. Said once, too: what is too long for a line. */
  onError(error: unknown): void;
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #maxBytes: number;
  #fd: number | undefined;
  #bytes = 0;
  #saidLeftOut = false;

  /**
   * @throws where the file cannot be opened: a recording that was asked for and not made is an error at start. Not
   * where the disk is full: a daemon that is started again by its service manager watches on, without a recording.
   */
  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? MAX_RECORDING_BYTES;
    try {
      this.#open();
    } catch (error) {
      this.close();
      if (!isDiskFull(error)) throw error;
      options.onError(error);
    }
  }

  take(o: Observation): void {
    if (this.#fd === undefined) return;
    try {
      if (this.#bytes >= this.#maxBytes) this.#rotate();
      const line = toLine(o, this.#options.clean);
      // What could not be read back is left out, its time is not.
      this.#write(
        line.length <= MAX_LINE_CHARS ? line : JSON.stringify({ kind: 'tick', at: o.at }),
      );
      if (line.length > MAX_LINE_CHARS) this.#leftOut(o);
    } catch (error) {
      this.close();
      this.#options.onError(error);
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #leftOut(o: Observation): void {
    if (this.#saidLeftOut) return;
    this.#saidLeftOut = true;
    const what = `an observation (${o.kind}) of more than ${MAX_LINE_CHARS} characters`;
    this.#options.onError(new Error(`${what} is left out of the recording, as others will be`));
  }

  #rotate(): void {
    this.close();
    renameSync(this.#options.file, `${this.#options.file}.1`);
    this.#open();
  }

  #open(): void {
    const { file, header, now } = this.#options;
    // Readable by its owner alone: directories and error messages are nobody else's business.
    this.#fd = openSync(file, 'a', 0o600);
    this.#bytes = fstatSync(this.#fd).size;
    // A file that has lines already is another recording's: each keeps its own header.
    if (this.#bytes > 0) {
      this.#rotate();
      return;
    }
    const full: Header = {
      recording: 'opencode-watchdog',
      format: FORMAT_VERSION,
      startedAt: now(),
      ...header,
    };
    this.#write(JSON.stringify(full));
  }

  #write(line: string): void {
    if (this.#fd === undefined) return;
    this.#bytes += writeSync(this.#fd, `${line}\n`);
  }
}
