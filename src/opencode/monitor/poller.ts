/** Asks each live directory, or the whole server, for its sessions' status: in a steady rhythm, and all at once after a gap. */
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

/** How long before it is due a round is made together with a probe, as a share of the interval. */
const JOIN_SHARE = 0.1;
/** Of the same rhythm, a probe may come this share of it after a round is due, or before: timers are not exact. */
const GRACE_SHARE = 0.01;

/** What one poll asks about: a directory, or the whole server where its API tells of all at once. */
export type Place = string | undefined;
export const WHOLE_SERVER: Place = undefined;

export interface PollerOptions {
  client: ServerApi;
  clock: Clock;
  intervalMs: number;
  /** How often `join` is called. */
  beatMs: number;
  /** The server has no such route (1.0.0): asking would only fail. */
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
  /** When the last round was made; at first, when the rhythm began. */
  #roundAt = 0;

  constructor(options: PollerOptions) {
    this.#options = options;
    this.#notices = new Throttle(options.clock, NOTICE_EVERY_MS);
  }

  start(): void {
    if (this.#control) return;
    this.#control = sharedAbort();
    // What is true at the start is asked for by whoever starts us.
    this.#roundAt = this.#options.clock.now();
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#control?.abort();
    this.#control = undefined;
    this.#timer?.cancel();
    await Promise.all(this.#inFlight.values());
  }

  /** Polls these; gives the ones that did not answer. */
  async poll(places: readonly Place[]): Promise<Place[]> {
    const failed: Place[] = [];
    await eachLimited(places, MAX_CONCURRENT_POLLS, async (directory) => {
      // A poll that is on its way began before whatever we are asked to find: wait, then ask again.
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
   * A probe is being made: polls that are due soon are made with it, because a waking of the process costs as much as a
   * request. Where both have the same rhythm they keep step from here on.
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
    // First of all: the rhythm goes on whatever becomes of this round.
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

  /** True when the directory answered. Never two at a time for one directory. */
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
      // Not a word about the server's health: that is the probe's to say.
      if (!signal.aborted && this.#notices.passes(directory ?? '')) {
        notice('warn', 'a status poll failed', { directory, error: messageOf(error) });
      }
      return false;
    }
    if (signal.aborted) return false;
    this.#active.delete(directory);
    if (hasActive(statuses)) this.#active.add(directory);
    const where = directory === WHOLE_SERVER ? {} : { directory };
    emit({ kind: 'status.polled', at: clock.now(), startedAt, ...where, statuses });
    return true;
  }
}

/** Without a copy: there may be thousands. */
function hasActive(statuses: ReadonlyMap<string, SessionStatus>): boolean {
  for (const { type } of statuses.values()) if (type !== 'idle') return true;
  return false;
}
