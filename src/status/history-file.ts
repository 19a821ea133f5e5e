/** An append-only NDJSON file in the state directory, bounded by one rotation: `NAME.ndjson` and `NAME.1.ndjson`. */
import { closeSync, constants, fstatSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { openPrivateFile } from '../lib/state-dir.js';

/** Names of the two files, oldest first. */
function filesOf(directory: string, name: string): string[] {
  return [join(directory, `${name}.1.ndjson`), join(directory, `${name}.ndjson`)];
}

/**
 * Returns every line of both files, oldest first. A line torn by a crash or a full disk, which is not JSON, is among
 * them.
 *
 * @param maxBytes limit of each file; a larger file is not ours and is not read
 * @param owner the uid that a file must have; ours if it is left out
 */
export function readLines(
  directory: string,
  name: string,
  maxBytes: number,
  owner?: number,
): { lines: string[]; problems: string[] } {
  const lines: string[] = [];
  const problems: string[] = [];
  for (const path of filesOf(directory, name)) {
    try {
      for (const line of textOf(path, maxBytes, owner).split('\n'))
        if (line !== '') lines.push(line);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  return { lines, problems };
}

/** Bytes that are not UTF-8 (a character cut by a crash) spoil only their own line. */
function textOf(path: string, maxBytes: number, owner?: number): string {
  let fd: number;
  try {
    fd = openPrivateFile(path, constants.O_RDONLY, owner);
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

  /** @param maxBytes limit of the current file; it is then renamed, and replaces the previous one */
  constructor(directory: string, name: string, maxBytes: number) {
    this.#directory = directory;
    this.#name = name;
    this.#maxBytes = maxBytes;
  }

  /** @throws if the line cannot be written; the next call tries again */
  append(line: string): void {
    const bytes = Buffer.from(`${line}\n`);
    try {
      let fd = this.#open();
      if (this.#size > 0 && this.#size + bytes.length > this.#maxBytes) {
        this.close();
        const [old = '', current = ''] = filesOf(this.#directory, this.#name);
        renameSync(current, old);
        fd = this.#open();
      }
      let written = 0;
      while (written < bytes.length) written += writeSync(fd, bytes, written);
      this.#size += written;
    } catch (error) {
      // The next append opens the file again, and its line then begins on a line of its own.
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
    // Ends a line that a crash may have left unfinished. An empty line does not disturb a reader.
    if (this.#size > 0) this.#size += writeSync(fd, '\n');
    return fd;
  }
}
