/**
 * Asks for the status of the sessions in each live directory, or in the whole server: at a steady interval, and all at
 * once after a gap.
 */
import { sharedAbort } from '../../lib/abort.js';
import { BoundedSet } from '../../lib/bounded.js';
import type { Clock, Timer } from '../../lib/clock.js';
import { eachLimited } from '../../lib/semaphore.js';
import { Throttle } from '../../lib/throttle.js';
import type { Observation, SessionStatus } from '../../watchdog/observation.js';
import { messageOf } from '../http/errors.js';
import type { ServerApi } from '../server-api.js';
import { MAX_LIVE_DIRECTORIES } from './directories.js';
import { NOTICE_EVERY_MS, type Notice } from './notice.js';

/**
 * Status polls at a time. opencode serves polls from memory; more at once would only queue in its one event loop. At
 * the limit: the rest wait; one directory is never polled twice at once.
 */
export const MAX_CONCURRENT_POLLS = 4;

/** How early a round may be made together with a probe, before it is due, as a share of the interval. */
const JOIN_SHARE = 0.1;
/**
 * If probes and polls have the same interval, a round waits this share of it longer for the probe, and a probe this
 * soon after a round starts no other one: timers are not exact.
 */
const GRACE_SHARE = 0.01;

/** What one poll asks about: a directory, or the whole server if its API covers all directories at once. */
export type Place = string | undefined;
export const WHOLE_SERVER: Place = undefined;

export interface PollerOptions {
  client: ServerApi;
  clock: Clock;
  intervalMs: number;
  /** How often `join` is called. */
  beatMs: number;
  /** The server has no status route (1.0.0), so asking would only fail. */
  statusless(): boolean;
  /** What to ask about now. */
  places(): readonly Place[];
  emit(observation: Observation): void;
  notice: Notice;
}

export class Poller {
  readonly #options: PollerOptions;
  readonly #inFlight = new Map<Place, Promise<boolean>>();
  readonly #notices: Throttle;
  /** Directories whose last answer had sessions that are not idle. */
  readonly #active = new BoundedSet<Place>(MAX_LIVE_DIRECTORIES + 1);
  #control: AbortController | undefined;
  #timer: Timer | undefined;
  /** When the last round was made; at first, when the polling started. */
  #roundAt = 0;

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#notices = new Throttle(options.clock, NOTICE_EVERY_MS);
  }

  start(): void {
    if (this.#control) return;
    this.#control = sharedAbort();
    // The caller asks for the state at the start itself, so the first round can wait.
    this.#roundAt = this.#options.clock.now();
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#control?.abort();
    this.#control = undefined;
    this.#timer?.cancel();
    await Promise.all(this.#inFlight.values());
  }

  /** Polls these places and returns those that did not answer. */
  async poll(places: readonly Place[]): Promise<Place[]> {
    const failed: Place[] = [];
    await eachLimited(places, MAX_CONCURRENT_POLLS, async (directory) => {
      // A poll in flight began before the change that the caller looks for: wait for it, then ask again.
      await this.#inFlight.get(directory);
      if (!(await this.#one(directory))) failed.push(directory);
    });
    return failed;
  }

  /** Whether the directory's last answer had sessions that are not idle. */
  hasActive(directory: Place): boolean {
    return this.#active.has(directory);
  }

  /**
   * Called when a probe is made. Polls that are due soon are made with it, because waking the process costs as much as
   * a request. If both have the same interval, they stay together from here on.
   */
  join(): void {
    if (!this.#control) return;
    const { clock, intervalMs } = this.#options;
    const share = this.#keepsStep ? GRACE_SHARE : 1 - JOIN_SHARE;
    if (clock.now() - this.#roundAt < intervalMs * share) return;
    this.#timer?.cancel();
    this.#round();
  }

  get #keepsStep(): boolean {
    return this.#options.beatMs === this.#options.intervalMs;
  }

  #round(): void {
    const { clock, places } = this.#options;
    this.#roundAt = clock.now();
    // This comes first, so that the next round follows whatever happens in this one.
    this.#schedule();
    const idle = places().filter((place) => !this.#inFlight.has(place));
    void eachLimited(idle, MAX_CONCURRENT_POLLS, async (directory) => {
      await this.#one(directory);
    });
  }

  #schedule(): void {
    const { clock, intervalMs } = this.#options;
    const wait = intervalMs * (1 + (this.#keepsStep ? GRACE_SHARE : 0));
    this.#timer = clock.after(wait, () => this.#round());
  }

  /** Resolves to true if the directory answered. A directory never has two polls at a time. */
  #one(directory: Place): Promise<boolean> {
    if (this.#options.statusless()) return Promise.resolve(true);
    const running = this.#inFlight.get(directory);
    if (running) return running;
    const poll = this.#ask(directory).finally(() => this.#inFlight.delete(directory));
    this.#inFlight.set(directory, poll);
    return poll;
  }

  async #ask(directory: Place): Promise<boolean> {
    const { client, clock, emit, notice } = this.#options;
    const signal = this.#control?.signal;
    if (!signal) return false;
    const startedAt = clock.now();
    let statuses: ReadonlyMap<string, SessionStatus>;
    try {
      statuses = await client.statuses(directory, signal);
    } catch (error) {
      // This says nothing about the server's health, which only the probe reports.
      if (!signal.aborted && this.#notices.passes(directory ?? '')) {
        notice('warn', 'a status poll failed', { directory, error: messageOf(error) });
      }
      return false;
    }
    if (signal.aborted) return false;
    this.#active.delete(directory);
    if (statuses.size > 0) this.#active.add(directory);
    const where = directory === WHOLE_SERVER ? {} : { directory };
    emit({ kind: 'status.polled', at: clock.now(), startedAt, ...where, statuses });
    return true;
  }
}
