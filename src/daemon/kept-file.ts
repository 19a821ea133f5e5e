/**
 * One file of the state directory that a daemon keeps for the next: JSON, read at the start and written when it
 * changes.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type * as z from 'zod';
import { readPrivateFile, writePrivateFile } from '../lib/state-dir.js';

/** A write that failed is tried again after this many ms: a full disk may have room again. */
export const WRITE_AGAIN_MS = 5_000;

export interface KeptFileOptions<T> {
  /** The folder of the file. Undefined if nothing can be kept: the content then lives in memory only. */
  directory: string | undefined;
  name: string;
  /** A larger file was not written by us: it is not read, and that is reported as a problem. */
  maxBytes: number;
  schema: z.ZodType<T>;
  /**
   * Called when the file cannot be read or written. Repeated failures to write are reported once, until a write
   * succeeds.
   */
  onProblem(why: string): void;
}

export class KeptFile<T> {
  readonly #o: KeptFileOptions<T>;
  readonly #path: string | undefined;
  #written = '';
  #isBroken = false;

  constructor(options: KeptFileOptions<T>) {
    this.#o = options;
    const { directory, name } = options;
    this.#path = directory === undefined ? undefined : join(directory, name);
  }

  /** What the last daemon kept. Undefined if there is nothing, or nothing that is valid. */
  read(): T | undefined {
    const { maxBytes, schema, onProblem } = this.#o;
    if (this.#path === undefined) return undefined;
    try {
      const file = readPrivateFile(this.#path, maxBytes);
      if (file.kind === 'absent') return undefined;
      if (file.kind === 'refused') throw new Error(file.problem);
      return schema.parse(JSON.parse(file.text));
    } catch (error) {
      onProblem(`${this.#path} is not read: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** Nothing is kept any more. */
  drop(): void {
    if (this.#path === undefined) return;
    try {
      rmSync(this.#path, { force: true });
      this.#written = '';
    } catch (error) {
      this.#o.onProblem(`${this.#path} is not removed: ${(error as Error).message}`);
    }
  }

  /** Replaces what is kept. Writes nothing if it has not changed. Returns false if it could not be written. */
  write(content: T): boolean {
    if (this.#path === undefined) return true;
    const text = JSON.stringify(content);
    if (text === this.#written) return true;
    try {
      writePrivateFile(this.#path, text);
      this.#written = text;
      this.#isBroken = false;
    } catch (error) {
      if (!this.#isBroken) this.#o.onProblem((error as Error).message);
      this.#isBroken = true;
    }
    return !this.#isBroken;
  }
}
