/**
 * Keeps which sessions are at work, how many crashes in a row count against each, and which are quarantined
 * (`recover.afterRestart`). If a daemon and the server died together, the next daemon learns from it which runs were
 * cut.
 */
import * as z from 'zod';
import type { Clock, Timer } from '../lib/clock.js';
import { defined } from '../lib/defined.js';
import type { Observation } from '../watchdog/observation.js';
import type { Watchdog } from '../watchdog/watchdog.js';
import { KeptFile, WRITE_AGAIN_MS } from './kept-file.js';

/**
 * Bytes of the file with the runs at work. Enough for a thousand of them. At the limit: a larger file was not written
 * by us, and is not read.
 */
export const MAX_RUNS_BYTES = 2 * 1024 ** 2;
/** How long a write waits for further changes, ms: runs that begin and end together are then one write. */
const WRITE_AFTER_MS = 1_000;

const id = z.string().min(1).max(256);
const text = z.string().max(4_096).optional();
const fileSchema = z.object({
  wasStopped: z.literal(true).optional(),
  serverPid: z.number().int().positive().optional(),
  serverStart: text,
  runs: z.array(
    z.object({
      sessionID: id,
      directory: text,
      title: text,
      parentID: text,
      model: text,
      agent: text,
      count: z.number().int().nonnegative(),
      waiting: z.literal(true).optional(),
    }),
  ),
  inARow: z.record(id, z.number().int().positive()),
  quarantined: z.array(z.object({ sessionID: id, directory: text, title: text })),
});

export interface RunsStoreOptions {
  /** The folder of the file. Undefined if nothing can be kept. */
  directory: string | undefined;
  clock: Clock;
  watchdog: Pick<Watchdog, 'crashes'> & { server: { readonly pid: number | undefined } };
  /** When the server's process began, in a form that differs for another process with its pid. */
  serverStart?(): string | undefined;
  /** Whether `recover.afterRestart` asks for it; read each time. If it does not, nothing is written. */
  wanted(): boolean;
  observe(o: Observation): void;
  /**
   * Called when the file cannot be read or written. Repeated failures to write are reported once, until a write
   * succeeds.
   */
  onProblem(why: string): void;
}

export class RunsStore {
  readonly #o: RunsStoreOptions;
  readonly #file: KeptFile<z.infer<typeof fileSchema>>;
  #version = -1;
  /** Nothing is written before the earlier daemon's file is read: the loop turns already during the first probe. */
  #started = false;
  #serverPid: number | undefined;
  #timer: Timer | undefined;

  constructor(options: RunsStoreOptions) {
    this.#o = options;
    const { directory, onProblem } = options;
    this.#file = new KeptFile({
      directory,
      name: 'runs.json',
      maxBytes: MAX_RUNS_BYTES,
      schema: fileSchema,
      onProblem,
    });
  }

  /** Tells the watchdog what an earlier daemon has seen. To be called before the watchdog learns which server runs. */
  start(): void {
    const { clock, observe, wanted } = this.#o;
    this.#started = true;
    // Whoever switches it on again weeks later does not want the runs of today to go on.
    if (!wanted()) this.#file.drop();
    const known = wanted() ? this.#file.read() : undefined;
    if (known === undefined) return;
    const { serverPid, serverStart, runs, inARow, quarantined, wasStopped } = known;
    observe({
      kind: 'runs.restored',
      at: clock.now(),
      ...(serverPid === undefined ? {} : { serverPid }),
      ...(serverStart === undefined ? {} : { serverStart }),
      ...(wasStopped && { wasStopped }),
      runs: runs.map((run) => ({ ...defined(run), sessionID: run.sessionID, count: run.count })),
      inARow: new Map(Object.entries(inARow)),
      quarantined: quarantined.map((each) => ({ ...defined(each), sessionID: each.sessionID })),
    });
  }

  /** To be called with every turn of the loop: what has changed is written soon. */
  keep(): void {
    const { watchdog, wanted } = this.#o;
    if (!this.#started) return;
    const { version } = watchdog.crashes;
    const { pid } = watchdog.server;
    if ((version === this.#version && pid === this.#serverPid) || !wanted()) return;
    this.#version = version;
    this.#serverPid = pid;
    this.#timer ??= this.#writeAfter(WRITE_AFTER_MS);
  }

  /** The runs that end with the daemon now end because it was stopped: that is no crash. */
  stop(): void {
    if (!this.#started) return;
    this.#timer?.cancel();
    if (this.#o.wanted()) this.#write({ wasStopped: true });
    else this.#file.drop();
  }

  #writeAfter(ms: number): Timer {
    const write = () => {
      this.#timer = this.#write() ? undefined : this.#writeAfter(WRITE_AGAIN_MS);
    };
    return this.#o.clock.after(ms, write, { unref: true });
  }

  #write(more: { wasStopped?: true } = {}): boolean {
    const { crashes, server } = this.#o.watchdog;
    return this.#file.write({
      ...more,
      serverPid: server.pid,
      serverStart: this.#o.serverStart?.(),
      runs: crashes.atWork(),
      inARow: Object.fromEntries(crashes.inARow),
      quarantined: [...crashes.quarantined.values()].map(({ sessionID, directory, title }) => ({
        sessionID,
        directory,
        title,
      })),
    });
  }
}
