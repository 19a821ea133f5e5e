/** Tells whether what a process writes leads to a process that has ended. Linux only. */
import { procLink, procNames, procText } from '../table/proc-files.js';

const OUTPUTS = [1, 2];
/** The access mode in the `flags` of /proc/PID/fdinfo/FD, which are octal (proc(5), O_ACCMODE of open(2)). */
const ACCESS_MODE = 0o3;
const WRITE_ONLY = 0o1;
/**
 * RefCount in /proc/net/unix of a stream socket that has lost its peer. A living peer holds one more (the kernel's
 * net/unix/af_unix.c; seen on Linux 6.18).
 */
const REFS_WITHOUT_PEER = 2;
/** SOCK_STREAM. A datagram socket's peer holds no reference to it. */
const STREAM = '0001';

interface Descriptor {
  pid: number;
  fd: string;
}

export class DeadOutput {
  readonly #pids: readonly number[];
  readonly #isLeft: (pid: number) => boolean;
  #pipes: Map<string, Descriptor[]> | undefined;

  /**
   * @param pids all processes, among which readers are looked for
   * @param isLeft whether an ended server has left a process: as a reader it counts only if somebody reads its own output
   */
  constructor(pids: readonly number[], isLeft: (pid: number) => boolean) {
    this.#pids = pids;
    this.#isLeft = isLeft;
  }

  /** True if its standard output or error leads to nobody. In doubt it leads to somebody. */
  of(pid: number, asked: readonly number[] = []): boolean {
    return OUTPUTS.some((fd) => {
      const link = procLink(`/proc/${pid}/fd/${fd}`) ?? '';
      const inode = /\[(\d+)\]$/.exec(link)?.[1];
      if (inode === undefined) return false;
      if (link.startsWith('socket:')) return hasLostPeer(pid, inode);
      if (!link.startsWith('pipe:')) return false;
      const readers = this.#readersOf(inode).filter((reader) => reader !== pid);
      return readers.every(
        (reader) =>
          this.#isLeft(reader) && !asked.includes(reader) && this.of(reader, [...asked, pid]),
      );
    });
  }

  #readersOf(inode: string): number[] {
    this.#pipes ??= pipesOf(this.#pids);
    const ends = this.#pipes.get(inode) ?? [];
    return ends.filter(isReadable).map(({ pid }) => pid);
  }
}

function hasLostPeer(pid: number, inode: string): boolean {
  const lines = (procText(`/proc/${pid}/net/unix`) ?? '').split('\n');
  const row = lines.map((line) => line.split(/\s+/)).find(([, , , , , , found]) => found === inode);
  const [, refs = '', , , type] = row ?? [];
  return type === STREAM && Number.parseInt(refs, 16) <= REFS_WITHOUT_PEER;
}

/** Who holds an end of each pipe, as far as the descriptors can be read. */
function pipesOf(pids: readonly number[]): Map<string, Descriptor[]> {
  const pipes = new Map<string, Descriptor[]>();
  for (const pid of pids) {
    for (const fd of procNames(`/proc/${pid}/fd`) ?? []) {
      const inode = /^pipe:\[(\d+)\]$/.exec(procLink(`/proc/${pid}/fd/${fd}`) ?? '')?.[1];
      if (inode === undefined) continue;
      pipes.set(inode, [...(pipes.get(inode) ?? []), { pid, fd }]);
    }
  }
  return pipes;
}

function isReadable({ pid, fd }: Descriptor): boolean {
  const flags = /^flags:\s+(\d+)$/m.exec(procText(`/proc/${pid}/fdinfo/${fd}`) ?? '')?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & ACCESS_MODE) !== WRITE_ONLY;
}
