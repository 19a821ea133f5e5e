/** One file of the state directory that a daemon keeps for the next: JSON that is read at its start and written as it changes. */
import { join } from 'node:path';
import type * as z from 'zod';
import { readPrivateFile, writePrivateFile } from '../lib/state-dir.js';

export interface KeptFileOptions<T> {
  /** Where the file is; undefined where nothing can be kept: what it would hold then lives in memory. */
  directory: string | undefined;
  name: string;
  /** A larger one was not written by us, and is taken as absent. */
  maxBytes: number;
  schema: z.ZodType<T>;
  /** It cannot be read or written; told once until it can. */
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

  /** What the last daemon has kept; undefined where there is nothing that can be believed. */
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

  /** Replaces what is kept; nothing where it is the same. */
  write(content: T): void {
    if (this.#path === undefined) return;
    const text = JSON.stringify(content);
    if (text === this.#written) return;
    try {
      writePrivateFile(this.#path, text);
      this.#written = text;
      this.#isBroken = false;
    } catch (error) {
      if (!this.#isBroken) this.#o.onProblem((error as Error).message);
      this.#isBroken = true;
    }
  }
}
