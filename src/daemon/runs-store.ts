/**
 * Keeps who is at work, and what is held against sessions by crashes (`recover.afterRestart`): a daemon that comes up
 * after its predecessor and the server died together knows from it which runs were cut.
 */
import { join } from 'node:path';
import * as z from 'zod';
import type { Clock, Timer } from '../lib/clock.js';
import { readPrivateFile, writePrivateFile } from '../lib/state-dir.js';
import type { Observation } from '../watchdog/observation.js';
import type { Watchdog } from '../watchdog/watchdog.js';

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
  #written = '';
  #version = -1;
  #timer: Timer | undefined;
  #isBroken = false;

  constructor(options: RunsStoreOptions) {
    this.#o = options;
  }

  /** Tells the watchdog what an earlier daemon has seen; before it is told which server runs. */
  start(): void {
    const { clock, observe, wanted } = this.#o;
    const known = wanted() ? this.#read() : undefined;
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
    const { directory, watchdog, onProblem } = this.#o;
    if (directory === undefined) return;
    const { crashes, server } = watchdog;
    const text = JSON.stringify({
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
    if (text === this.#written) return;
    try {
      writePrivateFile(fileOf(directory), text);
      this.#written = text;
      this.#isBroken = false;
    } catch (error) {
      if (!this.#isBroken) onProblem((error as Error).message);
      this.#isBroken = true;
    }
  }

  #read(): z.infer<typeof fileSchema> | undefined {
    const { directory, onProblem } = this.#o;
    if (directory === undefined) return undefined;
    try {
      const file = readPrivateFile(fileOf(directory), MAX_RUNS_BYTES);
      if (file.kind === 'absent') return undefined;
      if (file.kind === 'refused') throw new Error(file.problem);
      return fileSchema.parse(JSON.parse(file.text));
    } catch (error) {
      onProblem(`${fileOf(directory)} is not read: ${(error as Error).message}`);
      return undefined;
    }
  }
}

const fileOf = (directory: string) => join(directory, 'runs.json');

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, child]) => child !== undefined),
  ) as Defined<T>;
}
