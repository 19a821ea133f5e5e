/** Keeps the runs that wait for their quota (`recover.afterQuota`), so that they wait on when the daemon is restarted. */
import { join } from 'node:path';
import * as z from 'zod';
import type { Clock } from '../lib/clock.js';
import { readPrivateFile, writePrivateFile } from '../lib/state-dir.js';
import type { Observation } from '../watchdog/observation.js';
import type { Watchdog } from '../watchdog/watchdog.js';

/** Bytes of the file with the parked runs: 500 of them. At the limit: a larger one was not written by us, and is taken as absent. */
export const MAX_PARKED_BYTES = 1024 ** 2;

const text = z.string().max(4_096).optional();
const fileSchema = z.object({
  runs: z.array(
    z.object({
      sessionID: z.string().min(1).max(256),
      directory: text,
      title: text,
      parentID: text,
      model: text,
      agent: text,
      lastMessageID: text,
      count: z.number().int().nonnegative(),
      /** Epoch ms, both. */
      parkedAt: z.number(),
      until: z.number(),
    }),
  ),
});

export interface ParkedStoreOptions {
  /** Where the file is; undefined where nothing can be kept: they wait in memory then. */
  directory: string | undefined;
  clock: Clock;
  watchdog: Pick<Watchdog, 'parked' | 'parkedVersion'>;
  observe(o: Observation): void;
  /** The file cannot be read or written; told once until it can. */
  onProblem(why: string): void;
}

export class ParkedStore {
  readonly #o: ParkedStoreOptions;
  #version = 0;
  #isBroken = false;

  constructor(options: ParkedStoreOptions) {
    this.#o = options;
  }

  /** Tells the watchdog what an earlier daemon had parked. */
  start(): void {
    const { clock, observe, watchdog } = this.#o;
    const runs = this.#read();
    if (runs.length > 0) {
      const epoch = clock.epoch();
      observe({
        kind: 'parked.restored',
        at: clock.now(),
        runs: runs.map(({ parkedAt, until, ...run }) => ({
          ...defined(run),
          sessionID: run.sessionID,
          count: run.count,
          inMs: until - epoch,
          forMs: Math.max(0, epoch - parkedAt),
        })),
      });
    }
    this.#version = watchdog.parkedVersion;
  }

  /** Called with every turn of the loop: writes what has changed. */
  keep(): void {
    const { directory, watchdog, clock, onProblem } = this.#o;
    if (watchdog.parkedVersion === this.#version) return;
    this.#version = watchdog.parkedVersion;
    if (directory === undefined) return;
    const epoch = clock.epoch();
    const runs = watchdog.parked(clock.now()).map(({ inMs, forMs, ...run }) => ({
      ...run,
      parkedAt: Math.round(epoch - forMs),
      until: Math.round(epoch + inMs),
    }));
    try {
      writePrivateFile(fileOf(directory), JSON.stringify({ runs }));
      this.#isBroken = false;
    } catch (error) {
      if (!this.#isBroken) onProblem((error as Error).message);
      this.#isBroken = true;
    }
  }

  #read(): z.infer<typeof fileSchema>['runs'] {
    const { directory, onProblem } = this.#o;
    if (directory === undefined) return [];
    try {
      const file = readPrivateFile(fileOf(directory), MAX_PARKED_BYTES);
      if (file.kind === 'absent') return [];
      if (file.kind === 'refused') throw new Error(file.problem);
      return fileSchema.parse(JSON.parse(file.text)).runs;
    } catch (error) {
      onProblem(`${fileOf(directory)} is not read: ${(error as Error).message}`);
      return [];
    }
  }
}

const fileOf = (directory: string) => join(directory, 'parked.json');

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, child]) => child !== undefined),
  ) as Defined<T>;
}
