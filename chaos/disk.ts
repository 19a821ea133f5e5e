/** A small disk that can be filled to the last page, or the closest substitute if mounting is not allowed. */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * How a full disk is made: by a tmpfs of its own (ENOSPC), or by a limit on the size of files (EFBIG, setrlimit(2)).
 */
export type DiskMeans = 'tmpfs' | 'rlimit' | 'none';

/** A page, the unit in which tmpfs allocates. */
const PAGE = 4_096;

export class Disk {
  readonly #path: string;
  readonly #filler: string;
  #fd: number | undefined;

  private constructor(path: string) {
    this.#path = path;
    this.#filler = join(path, '.chaos-filler');
  }

  /** Mounts one over an empty folder. @throws if that is not allowed */
  static mount(path: string, mib: number): Disk {
    const args = ['-t', 'tmpfs', '-o', `size=${mib}m`, 'chaos', path];
    const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`mount ${args.join(' ')}: ${stderr}`);
    return new Disk(path);
  }

  /** Takes all the space that is left. Call it repeatedly, because others may free some. */
  fill(): void {
    this.#fd ??= openSync(this.#filler, 'a');
    for (const size of [1024 * PAGE, 16 * PAGE, PAGE]) {
      const block = Buffer.alloc(size, 1);
      for (;;) {
        try {
          if (writeSync(this.#fd, block) < size) break;
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'ENOSPC') break;
          throw error;
        }
      }
    }
  }

  free(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    rmSync(this.#filler, { force: true });
  }

  unmount(): void {
    this.free();
    // A lazy unmount: a process that still has a file open there must not keep the run from ending.
    spawnSync('umount', ['-l', this.#path]);
  }
}

/** Forbids a process to make any file longer, or allows it again. Its children inherit the limit. */
export function limitFiles(pid: number, limited: boolean): boolean {
  const size = limited ? '0:unlimited' : 'unlimited:unlimited';
  return spawnSync('prlimit', ['--pid', String(pid), `--fsize=${size}`]).status === 0;
}

export const hasPrlimit = (): boolean =>
  spawnSync('prlimit', ['--version'], { stdio: 'ignore' }).status === 0;
