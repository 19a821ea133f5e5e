/** The server that this watchdog has started: kept in memory, and recorded on disk for the next daemon. */
import type { Clock, Timer } from '../../lib/clock.js';
import type { ControlDeps } from '../control/control.js';
import { isOpencode, runsCommand } from '../identity/opencode-command.js';
import { isMarked } from '../signal/orphans.js';
import {
  ancestors,
  type ProcessInfo,
  type ProcessRef,
  type ProcessTable,
  sameProcess,
} from '../table/process-table.js';
import { type Exit, exitOf, type Launched, launch, relaunched } from './launch.js';
import type { LaunchSpec } from './launch-spec.js';
import { KEPT_LINES } from './output.js';
import { ServerRecords } from './state-file.js';

/** Time until a failed record is written again: people have to free a full disk. */
const RECORD_AGAIN_MS = 5_000;

export interface OwnOptions {
  url: string;
  deps: ControlDeps;
  clock: Clock;
  table: ProcessTable;
  /** `server.command`. */
  command: readonly string[];
  /** Where the record and the server's output are kept. */
  stateDir: string;
  /** The record and the output belong to another daemon: neither is touched. */
  readOnly?: boolean;
}

export class SpawnedServer {
  readonly #options: OwnOptions;
  readonly #records: ServerRecords;
  #launched: Launched | undefined;
  /** The process that listens, once it is known: it outlives a wrapper that was killed alone. */
  #serving: ProcessRef | undefined;
  #recordAgain: Timer | undefined;

  constructor(options: OwnOptions) {
    this.#options = options;
    this.#records = new ServerRecords(options.stateDir, options.url);
  }

  get launched(): Launched | undefined {
    return this.#launched;
  }

  /**
   * The markers of servers that are gone and whose orphans may not have been looked for yet: the server that ended
   * last, and those before it. A server that still runs, listening or not, keeps everything that it started.
   */
  async marksOfTheGone(): Promise<string[]> {
    const record = this.#records.read();
    // For a server in memory the marker is known even if the disk was too full for a record.
    const { root, marker } = this.#launched ?? {};
    const last =
      root === undefined
        ? record
        : marker !== undefined && { root, server: record?.server ?? null, mark: marker };
    const marks = new Set<string>();
    for (const each of [...this.#records.earlier(), ...(last ? [last] : [])]) {
      const lives = await Promise.all(
        [each.root, each.server].map((ref) => ref !== null && this.#options.table.isAlive(ref)),
      );
      if (!lives.includes(true)) marks.add(each.mark);
    }
    return [...marks];
  }

  /** Called when nothing of these earlier servers runs any more. */
  forgetEarlier(marks: ReadonlySet<string>): void {
    const earlier = this.#records.earlier();
    const left = earlier.filter(({ mark }) => !marks.has(mark));
    if (left.length === earlier.length) return;
    try {
      this.#records.keepEarlier(left);
    } catch {
      // They are looked for again the next time.
    }
  }

  /** How the server ended; undefined while it runs, or if that cannot be known. */
  get exit(): Exit | undefined {
    return this.#launched && exitOf(this.#launched);
  }

  /** @throws ControlError */
  async launch(spec: LaunchSpec): Promise<Launched> {
    this.forget();
    const launched = await launch(spec, this.#launchOptions());
    this.#launched = launched;
    this.#record(launched, null);
    return launched;
  }

  /** Reads from disk what an earlier daemon started. */
  async recall(): Promise<void> {
    if (this.#launched) return;
    const record = this.#records.read();
    if (!record) return;
    // The wrapper may have been killed alone: then only the server below it is left of what was started.
    for (const root of [record.root, record.server]) {
      if (root === null || !(await this.#isOurs(root, record.mark))) continue;
      // Following the output empties its file in the end, so only the file's owner may do it.
      const files = this.#options.readOnly ? null : this.#records.outputFiles();
      this.#launched ??= relaunched(root, record, files, this.#launchOptions());
      this.#serving ??= record.server ?? undefined;
      return;
    }
  }

  /** A record alone proves nothing, because others may have written it: the process itself must show its marker. */
  async #isOurs(ref: ProcessRef, marker: string): Promise<boolean> {
    const { table, command } = this.#options;
    if (!(await table.isAlive(ref))) return false;
    if (table.kind === 'proc') return isMarked(ref.pid, marker);
    // Another process's environment cannot be read here: its command is the next best evidence.
    const info = await table.read(ref.pid);
    return info !== undefined && (runsCommand(info, command) || isOpencode(info));
  }

  /** What was started, if it is still alive, even if it boots and does not listen yet. */
  async alive(): Promise<Launched | undefined> {
    await this.recall();
    const launched = this.#launched;
    return launched && (await this.#options.table.isAlive(launched.root)) ? launched : undefined;
  }

  /** Whether the process that served is gone: then only its wrapper can be left, which boots nothing any more. */
  async hasServed(): Promise<boolean> {
    return this.#serving !== undefined && !(await this.#options.table.isAlive(this.#serving));
  }

  /** Whether a process is the one that was started, or descends from it. */
  async includes(server: ProcessInfo): Promise<boolean> {
    const root = this.#launched?.root;
    if (!root) return false;
    if (sameProcess(server, root)) return true;
    if (this.#serving && sameProcess(server, this.#serving)) return true;
    const above = ancestors(server.pid, await this.#options.table.list());
    return above.some((parent) => sameProcess(parent, root));
  }

  /** Called when the server is healthy, with the process that listens. */
  serves(server: ProcessRef): void {
    this.#serving = server;
    if (this.#launched && !this.#options.readOnly) this.#record(this.#launched, server);
  }

  /** Called when what was started is gone, or is not what serves: its record and its output mean nothing any more. */
  forget(): void {
    this.release();
    if (!this.#options.readOnly) this.#records.remove();
  }

  /** Stops reading its output; what was started runs on, and its record stays. */
  release(): void {
    this.#recordAgain?.cancel();
    this.#launched?.tail?.stop();
    this.#launched?.child?.unref();
    this.#launched = undefined;
    this.#serving = undefined;
  }

  /** Reads the output written so far. */
  flush(): void {
    this.#launched?.tail?.flush();
  }

  /** The last lines of the server's output, oldest first, as far as this daemon has read it. */
  lastLines(): string[] {
    this.flush();
    return this.#launched?.tail?.lastLines() ?? [];
  }

  #launchOptions() {
    return { ...this.#options, records: this.#records };
  }

  /** Writes the record, and tries again later if a full disk refuses it. */
  #record(launched: Launched, server: ProcessRef | null, again = false): void {
    this.#recordAgain?.cancel();
    const { root, marker, files, adopted } = launched;
    // Without a directory there is no record; this was reported when the server was started.
    if (files === null || marker === undefined) return;
    const { clock, deps } = this.#options;
    try {
      this.#records.write({ root, server, mark: marker, ...(adopted && { adopted }) });
    } catch (error) {
      if (!again) {
        deps.onNotice(
          'warn',
          `until it can be written down, a restart of this daemon would not know the server as its own: ${this.#records.dir} cannot be written (${String(error)})`,
        );
      }
      const retry = () => this.#record(launched, server, true);
      this.#recordAgain = clock.after(RECORD_AGAIN_MS, retry, { unref: true });
    }
  }
}

export function lastWords({ tail }: Launched): string {
  tail?.flush();
  const lines = tail?.lastLines().slice(-KEPT_LINES) ?? [];
  return lines.length === 0 ? '; it wrote nothing' : `; its last output:\n${lines.join('\n')}`;
}
