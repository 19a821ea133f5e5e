/** An append-only NDJSON file of the state directory, bounded by one rotation: `NAME.ndjson` and `NAME.1.ndjson`. */
import { closeSync, constants, fstatSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openPrivateFile } from '../lib/state-dir.js';

/** Names of the two files, oldest first. */
function filesOf(directory: string, name: string): string[] {
  return [join(directory, `${name}.1.ndjson`), join(directory, `${name}.ndjson`)];
}

/**
 * Every line of both files, oldest first; a torn one too (a crash, a full disk), which is no JSON.
 *
 * @param maxBytes of each; a larger file is none of ours
 */
export function readLines(
  directory: string,
  name: string,
  maxBytes: number,
): { lines: string[]; problems: string[] } {
  const lines: string[] = [];
  const problems: string[] = [];
  for (const path of filesOf(directory, name)) {
    try {
      for (const line of textOf(path, maxBytes).split('\n')) if (line !== '') lines.push(line);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { lines, problems };
}

/** Bytes that are no UTF-8 (a character that a crash cut) spoil their own line only. */
function textOf(path: string, maxBytes: number): string {
  let fd: number;
  try {
    fd = openPrivateFile(path, constants.O_RDONLY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    if (size > maxBytes) throw new Error(`${path} is larger than ${maxBytes} bytes`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

export class HistoryFile {
  readonly #directory: string;
  readonly #name: string;
  readonly #maxBytes: number;
  #fd: number | undefined;
  #size = 0;

  /** @param maxBytes of the file that is written; it is then renamed, and the one before it is forgotten */
  constructor(directory: string, name: string, maxBytes: number) {
    this.#directory = directory;
    this.#name = name;
    this.#maxBytes = maxBytes;
  }

  /** @throws where it cannot be written; the next call tries anew */
  append(line: string): void {
    const bytes = Buffer.from(`${line}\n`);
    let fd = this.#open();
    if (this.#size > 0 && this.#size + bytes.length > this.#maxBytes) {
      this.close();
      const [old = '', current = ''] = filesOf(this.#directory, this.#name);
      renameSync(current, old);
      fd = this.#open();
    }
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(fd, bytes, written);
      this.#size += written;
    } catch (error) {
      // Opened anew for the next line, which then begins on a line of its own.
      this.close();
      throw error;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): number {
    if (this.#fd !== undefined) return this.#fd;
    const [, path = ''] = filesOf(this.#directory, this.#name);
    const fd = openPrivateFile(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
    this.#fd = fd;
    this.#size = fstatSync(fd).size;
    // Whatever a crash left of a line is ended: an empty line costs a reader nothing.
    if (this.#size > 0) this.#size += writeSync(fd, '\n');
    return fd;
  }
}
