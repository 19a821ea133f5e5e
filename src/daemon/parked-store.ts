/**
 * Keeps the runs that wait for their quota (`recover.afterQuota`), so that they go on waiting after a restart of the
 * daemon.
 */
import * as z from 'zod';
import type { Clock } from '../lib/clock.js';
import { defined } from '../lib/defined.js';
import type { Observation } from '../watchdog/observation.js';
import type { Watchdog } from '../watchdog/watchdog.js';
import { KeptFile, WRITE_AGAIN_MS } from './kept-file.js';

/**
 * Bytes of the file with the parked runs. Enough for 500 of them. At the limit: a larger file was not written by us,
 * and is not read.
 */
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
  /** The folder of the file. Undefined if nothing can be kept: the runs then wait in memory only. */
  directory: string | undefined;
  clock: Clock;
  watchdog: Pick<Watchdog, 'parked' | 'parkedVersion'>;
  observe(o: Observation): void;
  /**
   * Called when the file cannot be read or written. Repeated failures to write are reported once, until a write
   * succeeds.
   */
  onProblem(why: string): void;
}

export class ParkedStore {
  readonly #o: ParkedStoreOptions;
  readonly #file: KeptFile<z.infer<typeof fileSchema>>;
  /** Of what is written. */
  #version = 0;
  #nextWriteAt = Number.NEGATIVE_INFINITY;

  constructor(options: ParkedStoreOptions) {
    this.#o = options;
    const { directory, onProblem } = options;
    this.#file = new KeptFile({
      directory,
      name: 'parked.json',
      maxBytes: MAX_PARKED_BYTES,
      schema: fileSchema,
      onProblem,
    });
  }

  /** Tells the watchdog which runs an earlier daemon had parked. */
  start(): void {
    const { clock, observe, watchdog } = this.#o;
    const runs = this.#file.read()?.runs ?? [];
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

  /** To be called with every turn of the loop: writes what has changed. */
  keep(): void {
    const { watchdog, clock } = this.#o;
    const version = watchdog.parkedVersion;
    const now = clock.now();
    if (version === this.#version || now < this.#nextWriteAt) return;
    const epoch = clock.epoch();
    const runs = watchdog.parked(now).map(({ inMs, forMs, ...run }) => ({
      ...run,
      parkedAt: Math.round(epoch - forMs),
      until: Math.round(epoch + inMs),
    }));
    if (this.#file.write({ runs })) this.#version = version;
    else this.#nextWriteAt = now + WRITE_AGAIN_MS;
  }

  /** The daemon ends: what a full disk refused is tried once more. */
  stop(): void {
    this.#nextWriteAt = Number.NEGATIVE_INFINITY;
    this.keep();
  }
}
