/**
 * Everything that the watchdog learns from opencode over HTTP: the event stream, probes, polls and inspections, as
 * one flow of observations that can be started, paused and stopped.
 */
import { sharedAbort } from '../../lib/abort.js';
import { BoundedMap, BoundedSet } from '../../lib/bounded.js';
import type { Clock } from '../../lib/clock.js';
import { Semaphore } from '../../lib/semaphore.js';
import { Throttle } from '../../lib/throttle.js';
import type { Observation } from '../../watchdog/observation.js';
import { messageOf } from '../http/errors.js';
import type { EventReader, Frame, ServerApi, StreamRoute } from '../server-api.js';
import { LiveDirectories } from './directories.js';
import { EventStream } from './event-stream.js';
import { inspectSession } from './inspection.js';
import { NOTICE_EVERY_MS, type Notice } from './notice.js';
import { OpenRequests } from './open-requests.js';
import { type Place, Poller, WHOLE_SERVER } from './poller.js';
import { Prober } from './prober.js';
import { Resync } from './resync.js';
import { SessionInfos } from './session-infos.js';

/** A session whose frames are too large to read is inspected this often. */
const INSPECT_OVERSIZED_EVERY_MS = 60_000;

/**
 * Sessions of which a frame was too large to read, until their step ends and they are inspected. Nearly no frame is. At
 * the limit: the oldest is forgotten, and its step and its tools are judged without that frame.
 */
const MAX_UNREAD = 1_000;

/** If a server answers but its stream does not open within this time, the server is watched without a stream. */
const WITHOUT_STREAM_AFTER_MS = 10_000;
/** Without a stream, live directories are listed again after this many poll intervals. */
const RELIST_EVERY_POLLS = 3;

/**
 * What SQLite and the system say when the disk is full. Health stays good then, and every write fails (facts, section
 * 14).
 */
const FULL_DISK = /SQLITE_FULL|database or disk is full|\bENOSPC\b|no space left on device/i;

/** Inspections at a time; each is four requests. At the limit: the rest wait, each session at most once. */
export const MAX_INSPECTIONS = 16;

/** A session may be updated before we notice that the stream is dead, so the missed time begins this much earlier. */
const DEAF_MARGIN_MS = 60_000;
/**
 * Where nobody listened for a while, the server may still be the old one, behind a tunnel that was closed. A run that is
 * not judged yet may have been silent for this long before, in a tool (the default of `stall.maxToolTime`).
 */
const SILENT_BEFORE_MS = 60 * 60_000;

export interface MonitorOptions {
  client: ServerApi;
  clock: Clock;
  /** Milliseconds. */
  watch: { pollInterval: number; heartbeatTimeout: number };
  probe: { interval: number; timeout: number };
  emit(observation: Observation): void;
  notice: Notice;
  /** In [0, 1): for the jitter of reconnects. */
  random?: () => number;
}

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #directories = new LiveDirectories();
  readonly #requests = new OpenRequests();
  readonly #infos: SessionInfos;
  readonly #reader: EventReader;
  readonly #stream: EventStream;
  readonly #prober: Prober;
  readonly #poller: Poller;
  readonly #resync: Resync;
  readonly #oversized: Throttle;
  /** Sessions whose current step is not known as a whole. */
  readonly #unread = new BoundedSet<string>(MAX_UNREAD);
  /** Sessions, with their directory, that are inspected once `#oversized` lets them pass. */
  readonly #toInspect = new BoundedMap<string, string | undefined>(MAX_UNREAD);
  readonly #notices: Throttle;
  readonly #relists: Throttle;
  readonly #inspections = new Set<Promise<void>>();
  /** Inspections that wait for their turn, by session. */
  readonly #waiting = new Map<string, Promise<void>>();
  readonly #semaphore = new Semaphore(MAX_INSPECTIONS);
  /** Ends with each pause; absent while paused or stopped. */
  #control: AbortController | undefined;
  /** The route of the event stream that is or was connected. */
  #route: StreamRoute | undefined;
  /** How much of what could not be read has been reported. */
  #unparseableSaid = 0;
  /** Since when (observed clock) there is no stream although the server listens; undefined while there is one. */
  #streamlessSince: number | undefined;
  /** Why the stream was lost, or could not be opened, the last time. */
  #streamFailure = { path: '', reason: 'not connected yet' };
  /** The stream was reported as unavailable: there are only polls and inspections. */
  #isStreamless = false;
  /**
   * Since the last connection there was a time when nobody listened on the port, so the next answer comes from another
   * process.
   */
  #wasDown = false;
  /** Since when (epoch ms) not every directory's events are heard; undefined while they are. */
  #deafSince: number | undefined;
  /** When (epoch ms) the stream brought something last. The observed clock stands still while this machine sleeps. */
  #heardAt = 0;

  constructor(options: MonitorOptions) {
    this.#options = options;
    const { client, clock, watch, probe, notice, random } = options;
    const emit = (observation: Observation) => this.#emit(observation);
    const common = { client, clock, emit, notice };
    this.#infos = new SessionInfos(common);
    this.#reader = client.eventReader({ notice });
    this.#oversized = new Throttle(clock, INSPECT_OVERSIZED_EVERY_MS);
    this.#notices = new Throttle(clock, NOTICE_EVERY_MS);
    this.#relists = new Throttle(clock, watch.pollInterval * RELIST_EVERY_POLLS);
    this.#prober = new Prober({
      ...common,
      intervalMs: probe.interval,
      timeoutMs: probe.timeout,
      onBeat: () => this.#poller.join(),
    });
    this.#poller = new Poller({
      ...common,
      intervalMs: watch.pollInterval,
      beatMs: probe.interval,
      statusless: () => this.#reader.statusless,
      places: () => this.#placesToPoll(),
    });
    this.#resync = new Resync({
      ...common,
      directories: this.#directories,
      requests: this.#requests,
      infos: this.#infos,
      poller: this.#poller,
      retryMs: watch.pollInterval,
    });
    this.#stream = new EventStream({
      client,
      clock,
      reader: this.#reader,
      ownDirectory: () => this.#directories.own,
      heartbeatTimeoutMs: watch.heartbeatTimeout,
      ...(random && { random }),
      events: this.#streamEvents(),
    });
    client.parseStats.onUnknownStatus = (type) =>
      notice('warn', 'an unknown session status counts as busy', { type });
  }

  /** Directories that are polled. */
  get liveDirectories(): string[] {
    return this.#directories.all();
  }

  get streamConnected(): boolean {
    return this.#stream.isConnected;
  }

  /** Frames that the event stream has brought since the beginning. */
  get events(): number {
    return this.#stream.frames;
  }

  start(): void {
    this.resume();
  }

  /** Settles when no request is on its way and no timer is set. */
  async stop(): Promise<void> {
    this.#control?.abort();
    this.#control = undefined;
    this.#infos.reset();
    await Promise.all([
      this.#stream.stop(),
      this.#prober.stop(),
      this.#poller.stop(),
      this.#resync.stop(),
      ...this.#inspections,
    ]);
  }

  /** The server is about to be restarted: nothing is asked until `resume`. */
  async pause(): Promise<void> {
    const wasConnected = this.#stream.isConnected;
    const stopped = this.stop();
    if (wasConnected) {
      this.#deaf();
      const at = this.#options.clock.now();
      const reason = 'paused for a restart';
      const { path = '' } = this.#route ?? {};
      this.#emit({ kind: 'stream.lost', at, path, reason, silentMs: 0, planned: true });
    }
    await stopped;
  }

  /**
   * `fresh`: it is another server process than before, and nothing is known of it yet. False if the old one is still
   * alive.
   */
  resume({ fresh = true }: { fresh?: boolean } = {}): void {
    if (this.#control) return;
    this.#control = sharedAbort();
    if (fresh) this.#forget(this.#deafSince);
    this.#streamlessSince = this.#options.clock.now();
    this.#isStreamless = false;
    this.#resync.start();
    this.#prober.start();
    this.#poller.start();
    this.#stream.start();
  }

  /** Asks for the server's health now. Does nothing while paused or stopped. */
  probe(): void {
    this.#prober.hurry();
  }

  /** Asks for everything anew, because events may have been missed; `stream.resynced` follows if the stream is up. */
  resync(): Promise<void> {
    return this.#resync.run(() => this.#stream.isConnected);
  }

  /** Emits `session.inspected` or `session.inspect_failed`. Does nothing while paused or stopped. */
  inspect(sessionID: string, directory: string | undefined): Promise<void> {
    const { client, clock } = this.#options;
    const signal = this.#control?.signal;
    if (!signal) return Promise.resolve();
    const known = this.#waiting.get(sessionID);
    if (known) return known;
    let begun = false;
    const inspection = this.#semaphore
      .take(async () => {
        begun = true;
        // A caller who asks from now on wants a newer state than this inspection sees, and gets another one.
        this.#waiting.delete(sessionID);
        if (signal.aborted) return;
        const seen = await inspectSession(client, clock, sessionID, directory, signal);
        if (seen && !signal.aborted) this.#emit(seen);
      })
      .finally(() => this.#inspections.delete(inspection));
    if (!begun) this.#waiting.set(sessionID, inspection);
    this.#inspections.add(inspection);
    return inspection;
  }

  #emit(observation: Observation): void {
    this.#options.emit(observation);
    if (observation.kind === 'status.polled') {
      for (const [sessionID, status] of observation.statuses) {
        if (status.type !== 'idle') this.#infos.want(sessionID, observation.directory);
      }
    } else if (observation.kind === 'probe.failed') {
      if (observation.failure === 'refused' && !this.#stream.isConnected) this.#wasDown = true;
    } else if (observation.kind === 'probe.ok') {
      this.#inspectUnread();
      this.#goOnWithoutStream();
      // This is the first good answer of a server that was not up when we started.
      if (this.#directories.own === undefined) this.#resync.findOwnDirectory();
      this.#probed(observation.version);
    }
  }

  /**
   * The server answers. If its stream does not, polls and inspections must be enough, and they have to know which
   * directories to ask about.
   */
  #goOnWithoutStream(): void {
    const { clock, watch } = this.#options;
    const now = clock.now();
    const silentMs = now - (this.#streamlessSince ?? now);
    const limit = Math.min(WITHOUT_STREAM_AFTER_MS, watch.heartbeatTimeout);
    if (!this.#isStreamless && silentMs >= limit) {
      this.#isStreamless = true;
      this.#emit({ kind: 'stream.unavailable', at: now, ...this.#streamFailure, silentMs });
    }
    // With a stream, its reconnect would show that there is a new process.
    if (this.#isStreamless && this.#wasDown) this.#serverWasReplaced();
    const mustList = this.#isStreamless || this.#resync.needsAttach;
    const canList = mustList && this.#resync.canRelist;
    if (canList && this.#relists.passes('')) this.#resync.relist();
  }

  /** Reports, at most once a minute, how much could not be read, so that a change of opencode's formats is noticed. */
  #sayUnparseable(): void {
    const { client, notice } = this.#options;
    const { unparseable } = client.parseStats;
    if (unparseable === this.#unparseableSaid || !this.#notices.passes('unparseable')) return;
    notice('info', 'some of what the server sent could not be read', {
      events: unparseable - this.#unparseableSaid,
    });
    this.#unparseableSaid = unparseable;
  }

  /** The end of a tool may have been in the frame that was too large to read. */
  #inspectUnread(): void {
    const { notice } = this.#options;
    for (const [sessionID, directory] of this.#toInspect) {
      if (!this.#oversized.passes(sessionID)) continue;
      this.#toInspect.delete(sessionID);
      this.inspect(sessionID, directory).catch((error: unknown) =>
        notice('warn', 'a session could not be inspected', { error: messageOf(error) }),
      );
    }
  }

  #probed(version: string | undefined): void {
    const signal = this.#control?.signal;
    if (!signal) return;
    const path = this.#stream.isConnected ? this.#route?.path : undefined;
    const check = this.#reader
      .probed(version, path, signal)
      .finally(() => this.#inspections.delete(check));
    this.#inspections.add(check);
  }

  #streamEvents(): ConstructorParameters<typeof EventStream>[0]['events'] {
    const { clock, notice } = this.#options;
    return {
      connected: (route) => {
        const { path, ofAllDirectories } = route;
        this.#route = route;
        this.#heardAt = clock.epoch();
        this.#streamlessSince = undefined;
        this.#isStreamless = false;
        this.#emit({ kind: 'stream.connected', at: clock.now(), path });
        if (this.#wasDown) this.#serverWasReplaced();
        // Runs may have begun in directories that we do not know while we did not hear all of them.
        else if (ofAllDirectories && this.#deafSince !== undefined) {
          this.#resync.missed(this.#deafSince);
        }
        if (ofAllDirectories) this.#deafSince = undefined;
        else this.#deaf();
        void this.resync();
      },
      lost: (reason, silentMs) => {
        this.#resync.cancel();
        this.#streamlessSince = clock.now();
        const { path = '' } = this.#route ?? {};
        this.#streamFailure = { path, reason };
        this.#deaf();
        this.#emit({ kind: 'stream.lost', at: clock.now(), path, reason, silentMs });
        this.#prober.hurry();
      },
      failed: (end, path) => {
        this.#streamFailure = { path, reason: end.reason };
        if (end.why === 'refused') {
          this.#wasDown = true;
          // Nobody listens, so no stream is missing.
          this.#streamlessSince = clock.now();
        }
        // The probe reports a server that is down.
        if (end.why !== 'refused' && this.#notices.passes(`${path} ${end.why}`)) {
          notice('warn', 'the event stream could not be opened', { path, reason: end.reason });
        }
        // The polls go on whatever is wrong with the stream, and they must know which directories to ask about.
        if (end.why !== 'refused' && this.#resync.needsAttach) this.#resync.relist();
      },
      alive: (heartbeatMs) => {
        this.#heardAt = clock.epoch();
        this.#sayUnparseable();
        this.#emit({
          kind: 'stream.alive',
          at: clock.now(),
          ...(heartbeatMs !== undefined && { heartbeatMs }),
        });
      },
      oversized: (sessionID, tag) => {
        if (this.#notices.passes(`oversized ${sessionID}`)) {
          notice('info', 'an event was too large to read', { sessionID });
        }
        if (sessionID === undefined) return;
        this.#progress(sessionID, tag);
        this.#unread.add(sessionID);
        this.#toInspect.set(sessionID, this.#place(tag));
        this.#inspectUnread();
      },
      frame: (frame) => this.#heardFrame(frame),
    };
  }

  /** From here on not every directory is heard. What the last bytes did not bring was missed, too. */
  #deaf(): void {
    this.#deafSince ??= this.#heardAt - DEAF_MARGIN_MS;
  }

  /**
   * Asking about a directory creates an instance (facts, section 3), so a server that may be a new process is only
   * asked about its own directory.
   */
  #placesToPoll(): Place[] {
    if (this.#options.client.statusScope === 'server') return [WHOLE_SERVER];
    const { own } = this.#directories;
    if (!this.#wasDown) return this.#directories.all();
    return own === undefined ? [] : [own];
  }

  /** A stream of one directory covers the server's own, without naming it. */
  #place(tag: string | undefined): string | undefined {
    return tag ?? (this.#route?.ofAllDirectories === false ? this.#directories.own : undefined);
  }

  #progress(sessionID: string, tag: string | undefined): void {
    const directory = this.#place(tag);
    const at = this.#options.clock.now();
    if (directory !== undefined) this.#heard(directory);
    this.#emit({
      kind: 'session.progress',
      at,
      sessionID,
      ...(directory !== undefined && { directory }),
    });
  }

  #heardFrame(frame: Exclude<Frame, { kind: 'unreadable' | 'nothing' | 'heartbeat' }>): void {
    if (frame.kind === 'all_disposed') {
      this.#disposed(this.#directories.all());
      return;
    }
    if (frame.directory !== undefined) this.#heard(frame.directory);
    for (const observation of frame.observations) {
      this.#requests.note(observation, frame.listed);
      if (observation.kind === 'directory.disposed') {
        this.#disposed([observation.directory]);
        continue;
      }
      this.#emit(this.#withUnread(observation));
      if (observation.kind === 'session.error') this.#noteBrokenStore(observation.message);
      if (observation.kind === 'session.info') this.#infos.told(observation.sessionID);
      if (observation.kind === 'session.status') this.#heardStatus(observation);
    }
  }

  #heardStatus({
    sessionID,
    directory,
    status,
    at,
  }: Extract<Observation, { kind: 'session.status' }>): void {
    if (status.type === 'idle') {
      this.#directories.idle(sessionID);
      return;
    }
    if (directory !== undefined) this.#directories.works(sessionID, directory, at);
    this.#infos.want(sessionID, directory);
  }

  /** A step of which a frame could not be read is neither empty nor the repetition of another. */
  #withUnread(o: Observation): Observation {
    if (o.kind !== 'session.step_finished' || !this.#unread.delete(o.sessionID)) return o;
    if (o.step === undefined) return o;
    const { fingerprint: _, ...step } = o.step;
    return { ...o, step: { ...step, empty: false } };
  }

  /** Here the session's error is a failure of the server itself: every other session fails in the same way. */
  #noteBrokenStore(message: string): void {
    if (!FULL_DISK.test(message) || !this.#notices.passes('full disk')) return;
    this.#options.notice('error', 'the server cannot write: its disk is full', {
      error: message,
      advice: 'Make room where opencode keeps its data (~/.local/share/opencode).',
    });
  }

  /** If the directory was not known to have an instance, its sessions may have run before we listened. */
  #heard(directory: string): void {
    if (this.#directories.heard(directory)) this.#resync.readNew(directory);
  }

  #disposed(directories: readonly string[], replaced = false): void {
    const at = this.#options.clock.now();
    for (const directory of directories) {
      this.#directories.disposed(directory, at);
      this.#emit({ kind: 'directory.disposed', at, directory, ...(replaced && { replaced }) });
    }
  }

  /** The server was restarted, and not by us. The runs in the directories that we drop are gone. */
  #serverWasReplaced(): void {
    const dropped = this.#directories.all();
    this.#forget(this.#deafSince && this.#deafSince - SILENT_BEFORE_MS);
    this.#disposed(dropped, true);
  }

  /** `since`: when the old process was heard last (epoch ms), if it ever was. */
  #forget(since: number | undefined): void {
    this.#wasDown = false;
    this.#options.client.forgetVersion();
    this.#directories.reset();
    this.#requests.reset();
    this.#infos.reset();
    this.#unread.clear();
    this.#toInspect.clear();
    this.#reader.forget();
    this.#resync.forget(since);
  }
}
