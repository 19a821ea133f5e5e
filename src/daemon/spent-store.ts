/**
 * Keeps what the server's day has spent, for the next daemon. It keeps the day's spending and opencode's totals of
 * sessions, so that what is spent while no daemon runs is counted as soon as opencode reports the totals again.
 */
import * as z from 'zod';
import type { Clock } from '../lib/clock.js';
import { amount } from '../opencode/token-counts.js';
import type { Observation, Spent } from '../watchdog/observation.js';
import type { Watchdog } from '../watchdog/watchdog.js';
import { KeptFile } from './kept-file.js';
import { every } from './scheduler.js';

/**
 * Bytes of the file with the day's spending. Enough for ten thousand sessions. At the limit: a larger file was not
 * written by us, and is not read.
 */
export const MAX_SPENT_BYTES = 2 * 1024 ** 2;
/**
 * Time between two checks of the date, and between two writes if something was spent, ms. They fall on the wall clock's
 * minutes, so also on midnight.
 */
const POLL_MS = 60_000;

const spent = z.object({ costUsd: amount, tokens: amount });
const fileSchema = z.object({
  /** `2026-11-28`, in the daemon's time zone. */
  day: z.string(),
  spent,
  totals: z.record(z.string().max(256), spent),
});

export interface SpentStoreOptions {
  /** The folder of the file. Undefined if nothing can be kept: what was spent then lives in memory only. */
  directory: string | undefined;
  clock: Clock;
  watchdog: Pick<Watchdog, 'spentToday' | 'spentTotals'>;
  observe(o: Observation): void;
  /**
   * Called when the file cannot be read or written. Repeated failures to write are reported once, until a write
   * succeeds.
   */
  onProblem(why: string): void;
}

export class SpentStore {
  readonly #o: SpentStoreOptions;
  readonly #file: KeptFile<z.infer<typeof fileSchema>>;
  #day = '';
  #end: () => void = () => {};

  constructor(options: SpentStoreOptions) {
    this.#o = options;
    const { directory, onProblem } = options;
    this.#file = new KeptFile({
      directory,
      name: 'spent.json',
      maxBytes: MAX_SPENT_BYTES,
      schema: fileSchema,
      onProblem,
    });
  }

  /** Tells the watchdog what is known of today. */
  start(): void {
    const { clock, observe } = this.#o;
    const epoch = clock.epoch();
    this.#day = dayOf(epoch);
    const known = this.#file.read();
    const isToday = known?.day === this.#day;
    observe({
      kind: 'budget.day',
      at: clock.now(),
      sinceMs: epoch - midnightBefore(epoch),
      spent: isToday ? known.spent : { costUsd: 0, tokens: 0 },
      totals: new Map(Object.entries(known?.totals ?? {})),
    });
    this.#end = every(clock, POLL_MS, () => this.#poll());
  }

  /** Writes the spending a last time. */
  stop(): void {
    this.#end();
    if (this.#day !== '') this.#write();
  }

  #poll(): void {
    const { clock, observe } = this.#o;
    const epoch = clock.epoch();
    const today = dayOf(epoch);
    if (today !== this.#day) {
      this.#day = today;
      const sinceMs = epoch - midnightBefore(epoch);
      const spent: Spent = { costUsd: 0, tokens: 0 };
      observe({ kind: 'budget.day', at: clock.now(), sinceMs, spent });
    }
    this.#write();
  }

  #write(): void {
    const { spentToday, spentTotals } = this.#o.watchdog;
    const totals = Object.fromEntries(spentTotals);
    this.#file.write({ day: this.#day, spent: spentToday, totals });
  }
}

function midnightBefore(epoch: number): number {
  const date = new Date(epoch);
  return date.setHours(0, 0, 0, 0);
}

function dayOf(epoch: number): string {
  const date = new Date(epoch);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
