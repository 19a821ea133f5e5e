/**
 * Keeps who is at work, and what is held against sessions by crashes (`recover.afterRestart`): a daemon that comes up
 * after its predecessor and the server died together knows from it which runs were cut.
 */
import * as z from 'zod';
import type { Clock, Timer } from '../lib/clock.js';
import { defined } from '../lib/defined.js';
import type { Observation } from '../watchdog/observation.js';
import type { Watchdog } from '../watchdog/watchdog.js';
import { KeptFile } from './kept-file.js';

/** Bytes of the file with the runs at work: a thousand of them. At the limit: a larger one was not written by us, and is taken as absent. */
export const MAX_RUNS_BYTES = 2 * 1024 ** 2;
/** Runs that begin and end at once are one write, ms. */
const WRITE_AFTER_MS = 1_000;

const id = z.string().min(1).max(256);
const text = z.string().max(4_096).optional();
const fileSchema = z.object({
  wasStopped: z.literal(true).optional(),
  serverPid: z.number().int().positive().optional(),
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
  /** Where the file is; undefined where nothing can be kept. */
  directory: string | undefined;
  clock: Clock;
  watchdog: Pick<Watchdog, 'crashes'> & { server: { readonly pid: number | undefined } };
  /** `recover.afterRestart`, read each time: nothing is written where nobody asks for it. */
  wanted(): boolean;
  observe(o: Observation): void;
  /** The file cannot be read or written; told once until it can. */
  onProblem(why: string): void;
}

export class RunsStore {
  readonly #o: RunsStoreOptions;
  readonly #file: KeptFile<z.infer<typeof fileSchema>>;
  #version = -1;
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

  /** Tells the watchdog what an earlier daemon has seen; before it is told which server runs. */
  start(): void {
    const { clock, observe, wanted } = this.#o;
    const known = wanted() ? this.#file.read() : undefined;
    if (known === undefined) return;
    const { serverPid, runs, inARow, quarantined, wasStopped } = known;
    observe({
      kind: 'runs.restored',
      at: clock.now(),
      ...(serverPid === undefined ? {} : { serverPid }),
      ...(wasStopped && { wasStopped }),
      runs: runs.map((run) => ({ ...defined(run), sessionID: run.sessionID, count: run.count })),
      inARow: new Map(Object.entries(inARow)),
      quarantined: quarantined.map((each) => ({ ...defined(each), sessionID: each.sessionID })),
    });
  }

  /** Called with every turn of the loop: writes soon what has changed. */
  keep(): void {
    const { watchdog, clock, wanted } = this.#o;
    if (watchdog.crashes.version === this.#version || !wanted()) return;
    this.#version = watchdog.crashes.version;
    this.#timer ??= clock.after(WRITE_AFTER_MS, () => this.#write(), { unref: true });
  }

  /** What ends with the daemon now was ended by whoever stopped it: no crash. */
  stop(): void {
    this.#timer?.cancel();
    if (this.#o.wanted()) this.#write({ wasStopped: true });
  }

  #write(more: { wasStopped?: true } = {}): void {
    this.#timer = undefined;
    const { crashes, server } = this.#o.watchdog;
    this.#file.write({
      ...more,
      serverPid: server.pid,
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
