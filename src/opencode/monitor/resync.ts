/**
 * Finds out what the event stream cannot tell, because it replays nothing (facts, section 4). After each connect and
 * each gap, reads the status of every live directory, and the open requests where sessions are active.
 */
import { sharedAbort } from '../../lib/abort.js';
import { type Clock, sleep } from '../../lib/clock.js';
import { Throttle } from '../../lib/throttle.js';
import type { Observation } from '../../watchdog/observation.js';
import { messageOf, OpencodeError } from '../http/errors.js';
import type { OwnedRequest, ServerApi } from '../server-api.js';
import {
  isDirectory,
  type LiveDirectories,
  MAX_LIVE_DIRECTORIES,
  normaliseDirectory,
} from './directories.js';
import { NOTICE_EVERY_MS, type Notice } from './notice.js';
import type { OpenRequests } from './open-requests.js';
import { type Place, type Poller, WHOLE_SERVER } from './poller.js';
import type { SessionInfos } from './session-infos.js';

/**
 * Sessions listed at an attach. Enough to find the 20 most recent directories among the sessions of busy ones. At the
 * limit: older ones are found by their events.
 */
export const RECENT_SESSIONS = 200;
/**
 * Failures in a row after which a directory is left to the ordinary polls. At the limit: the attach goes on without it,
 * because one broken project must not hide the rest.
 */
const MAX_ROUNDS = 3;
/** How far the server's clock is behind ours may be misjudged by this much. */
const LIST_MARGIN_MS = 60_000;
/**
 * New directories that are read at a time. At the limit: the rest wait, but no more than are polled; any others are
 * left to the polls.
 */
export const MAX_CONCURRENT_READS = 4;

export interface ResyncOptions {
  client: ServerApi;
  clock: Clock;
  emit(observation: Observation): void;
  notice: Notice;
  directories: LiveDirectories;
  requests: OpenRequests;
  infos: SessionInfos;
  poller: Poller;
  /** The time between two rounds for directories that did not answer. */
  retryMs: number;
}

export class Resync {
  readonly #options: ResyncOptions;
  readonly #work = new Set<Promise<void>>();
  readonly #notices: Throttle;
  /** Ends with `stop`. */
  #life: AbortController | undefined;
  /** The current run. A newer one replaces it. */
  #run: AbortController | undefined;
  #attached = false;
  #since: number | undefined;
  #findingOwn: Promise<void> | undefined;
  #listing: Promise<void> | undefined;
  /** When (epoch ms by our clock) the sessions were last listed. A session that began to run since then was updated since then. */
  #listedAt: number | undefined;
  /** New directories to read, in the order in which they were heard of. */
  readonly #newDirectories = new Set<string>();
  #readers = 0;

  constructor(options: ResyncOptions) {
    this.#options = options;
    this.#notices = new Throttle(options.clock, NOTICE_EVERY_MS);
  }

  /** Whether recently updated sessions of other directories still have to be found. */
  get needsAttach(): boolean {
    return !this.#attached;
  }

  start(): void {
    this.#life ??= sharedAbort();
    this.findOwnDirectory();
  }

  async stop(): Promise<void> {
    this.#life?.abort();
    this.#life = undefined;
    this.#newDirectories.clear();
    this.cancel();
    await Promise.all(this.#work);
  }

  /**
   * For a new server process: the next run attaches again, and lists the sessions that were updated recently, or since
   * the old process was heard last (`since`, epoch ms by our clock): what is older does not run in the new one.
   */
  forget(since?: number): void {
    this.#attached = false;
    this.#since = since;
    this.#listedAt = undefined;
  }

  /**
   * Makes the next run attach again: it lists the sessions that were updated since we last heard the events of every
   * directory (`since`, epoch ms by our clock). If it has to attach anyway, that goes further back.
   */
  missed(since: number): void {
    if (this.#attached) this.forget(since);
  }

  /** The stream is gone, so the current run has no purpose any more. */
  cancel(): void {
    this.#run?.abort();
    this.#run = undefined;
  }

  /** `resynced` is called at the end. If it returns true, `stream.resynced` is emitted. */
  run(resynced: () => boolean): Promise<void> {
    if (!this.#life) return Promise.resolve();
    this.cancel();
    const control = sharedAbort();
    this.#run = control;
    const all = this.#all(resynced, control.signal).finally(() => {
      if (this.#run === control) this.#run = undefined;
    });
    return this.#track(all);
  }

  /** Whether `relist` would do something. */
  get canRelist(): boolean {
    return this.#life !== undefined && !this.#run && !this.#listing;
  }

  /**
   * Finds directories where sessions were updated since the last list: without an event stream nothing else shows them.
   * Never twice at a time, and not during a run.
   */
  relist(): void {
    const signal = this.#life?.signal;
    if (!signal || !this.canRelist) return;
    if (this.#listedAt !== undefined) this.#since = this.#listedAt - LIST_MARGIN_MS;
    this.#listing = this.#track(this.#attach(signal)).finally(() => {
      this.#listing = undefined;
    });
  }

  /**
   * Reads the sessions and open requests of a directory that was not known. A poll of the whole server has them
   * already.
   */
  readNew(directory: string): void {
    if (this.#options.client.statusScope === 'server') return;
    const signal = this.#life?.signal;
    // Directories beyond the limit are live, too, so the ordinary polls find what runs there.
    if (!signal || this.#newDirectories.size >= MAX_LIVE_DIRECTORIES) return;
    this.#newDirectories.add(directory);
    if (this.#readers < MAX_CONCURRENT_READS) void this.#track(this.#readAllNew(signal));
  }

  async #readAllNew(signal: AbortSignal): Promise<void> {
    this.#readers += 1;
    // The loop also takes directories that are added meanwhile.
    for (const directory of this.#newDirectories) {
      if (signal.aborted) break;
      this.#newDirectories.delete(directory);
      await this.#readStatuses([directory], signal);
    }
    this.#readers -= 1;
  }

  findOwnDirectory(): void {
    if (this.#life) this.#track(this.#findOwn());
  }

  async #all(resynced: () => boolean, signal: AbortSignal): Promise<void> {
    const { client, clock, directories, emit, notice, retryMs } = this.#options;
    await this.#findOwn();
    if (!this.#attached && !signal.aborted) await this.#attach(signal);
    const isWhole = client.statusScope === 'server';
    let left: Place[] = isWhole ? [WHOLE_SERVER] : directories.all();
    for (let round = 1; !signal.aborted; round += 1) {
      left = await this.#readStatuses(left, signal);
      if (left.length === 0) break;
      if (round === MAX_ROUNDS) {
        if (isWhole) notice('warn', 'the server does not tell which sessions are active', {});
        else notice('warn', 'some directories do not tell their status', { directories: left });
        break;
      }
      await sleep(clock, retryMs, signal).catch(() => undefined);
      left = left.filter((place) => place === undefined || directories.has(place));
    }
    if (!signal.aborted && resynced()) emit({ kind: 'stream.resynced', at: clock.now() });
  }

  /** Polls, then asks for open requests where sessions are active. Returns the places that did not answer. */
  async #readStatuses(places: readonly Place[], signal: AbortSignal): Promise<Place[]> {
    const failed = await this.#options.poller.poll(places);
    for (const directory of places) {
      if (signal.aborted) return [];
      if (failed.includes(directory) || !this.#options.poller.hasActive(directory)) continue;
      await this.#readRequests(directory, signal);
    }
    return signal.aborted ? [] : failed;
  }

  async #readRequests(place: Place, signal: AbortSignal): Promise<void> {
    const { client, clock, emit, notice, requests } = this.#options;
    const startedAt = clock.now();
    try {
      const lists = await client.openRequests(place, signal);
      if (signal.aborted) return;
      const at = clock.now();
      for (const { directory, permissions, questions } of lists) {
        const compare = (on: OwnedRequest['on'], list: readonly OwnedRequest[] | undefined) =>
          list ? requests.compare(on, directory, list, startedAt, at) : [];
        const news = [...compare('permission', permissions), ...compare('question', questions)];
        for (const observation of news) emit(observation);
      }
    } catch (error) {
      if (signal.aborted) return;
      notice('warn', 'open requests could not be read', {
        ...(place !== WHOLE_SERVER && { directory: place }),
        error: messageOf(error),
      });
    }
  }

  async #attach(signal: AbortSignal): Promise<void> {
    const { client, clock, directories, infos, notice } = this.#options;
    const startedAt = clock.epoch();
    const askedAt = clock.now();
    try {
      const sessions = await client.recentSessions(RECENT_SESSIONS, signal);
      if (signal.aborted) return;
      infos.listed(sessions, askedAt);
      this.#listedAt = startedAt;
      // When a session was updated is said by the server's clock.
      const epochNow = client.epoch();
      const since = this.#since === undefined ? 0 : this.#since + epochNow - clock.epoch();
      const missed = sessions.filter(({ updated }) => (updated ?? since) >= since);
      directories.attach(missed, epochNow);
      this.#attached = true;
    } catch (error) {
      if (signal.aborted || !this.#notices.passes('list')) return;
      notice('warn', 'recent sessions could not be listed', { error: messageOf(error) });
    }
  }

  #findOwn(): Promise<void> {
    const signal = this.#life?.signal;
    const { client, directories } = this.#options;
    // Polls of the whole server need no directory, and asking for the server's own would boot it (opencode-2-facts,
    // section 4.3).
    if (!signal || client.statusScope === 'server' || directories.own !== undefined)
      return Promise.resolve();
    this.#findingOwn ??= this.#askOwn(signal).finally(() => {
      this.#findingOwn = undefined;
    });
    return this.#findingOwn;
  }

  async #askOwn(signal: AbortSignal): Promise<void> {
    const { client, directories, notice } = this.#options;
    try {
      const own = await client.serverDirectory(signal);
      if (!isDirectory(own)) throw new Error(`it is said to be ${JSON.stringify(own)}`);
      directories.setOwn(normaliseDirectory(own));
    } catch (error) {
      // This is asked again at the next good probe and the next connect. The probe reports a server that is down.
      const isDown = error instanceof OpencodeError && error.kind === 'refused';
      if (signal.aborted || isDown || !this.#notices.passes('own')) return;
      notice('warn', "the server's directory is not known", { error: messageOf(error) });
    }
  }

  #track(work: Promise<void>): Promise<void> {
    const tracked = work.finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
    return tracked;
  }
}
