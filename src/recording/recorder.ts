/**
 * `run --record FILE`: writes every observation as it is taken in. The file is bounded: at its limit it becomes
 * `FILE.1`.
 */
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { isDiskFull } from '../lib/disk.js';
import type { Observation } from '../watchdog/observation.js';
import { FORMAT_VERSION, type Header, MAX_LINE_CHARS, toLine } from './format.js';

/**
 * A recording. A busy day takes about 50 MB. At the limit: it is put aside as `FILE.1`, in the place of the one before
 * it, so two files are kept.
 */
export const MAX_RECORDING_BYTES = 64 * 1024 * 1024;

export interface RecorderOptions {
  file: string;
  /** Of the first file. A later one has the policy that was in force when it was begun. */
  header: Pick<Header, 'version' | 'opencode' | 'acts' | 'policy' | 'about'>;
  /** ISO 8601 of now. */
  now(): string;
  /** Removes secrets from a text. */
  clean(text: string): string;
  maxBytes?: number;
  /**
   * Called when an error has ended the recording: a full disk ends the recording, not the daemon. Also called once for
   * observations that are too long for a line.
   */
  onError(error: unknown): void;
}

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #maxBytes: number;
  #policy: Header['policy'];
  #fd: number | undefined;
  #bytes = 0;
  #saidLeftOut = false;

  /**
   * @throws if the file cannot be opened: a recording that was asked for and cannot be made is an error at the start.
   * It does not throw if the disk is full: a daemon that its service manager starts again goes on watching, without a
   * recording.
   */
  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? MAX_RECORDING_BYTES;
    this.#policy = options.header.policy;
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
      // An observation that could not be read back is left out, but its time is kept.
      this.#write(
        line.length <= MAX_LINE_CHARS ? line : JSON.stringify({ kind: 'tick', at: o.at }),
      );
      if (line.length > MAX_LINE_CHARS) this.#leftOut(o);
      if (o.kind === 'policy.changed' && o.policy !== undefined) this.#policy = { ...o.policy };
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
    // Readable by its owner only: directories and error messages are nobody else's business.
    this.#fd = openSync(file, 'a', 0o600);
    this.#bytes = fstatSync(this.#fd).size;
    // If the file has lines already, they are another recording's: each keeps its own header.
    if (this.#bytes > 0) {
      this.#rotate();
      return;
    }
    const full: Header = {
      recording: 'opencode-watchdog',
      format: FORMAT_VERSION,
      startedAt: now(),
      ...header,
      policy: this.#policy,
    };
    this.#write(JSON.stringify(full));
  }

  #write(line: string): void {
    if (this.#fd === undefined) return;
    this.#bytes += writeSync(this.#fd, `${line}\n`);
  }
}
