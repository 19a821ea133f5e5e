/**
 * A small opencode with a truth of its own: healthy and stuck sessions, a server that dies and freezes, a stream that
 * is cut, answers that take time. The watchdog sees of it what a daemon would see, and its decisions can be compared
 * with the truth.
 */
import {
  type Act,
  type ContinueAct,
  type Decision,
  isNote,
  type Note,
} from '../../../src/watchdog/decision.js';
import type {
  Observation,
  PendingRequest,
  RunningTool,
  SessionInfo,
  SessionStatus,
} from '../../../src/watchdog/observation.js';
import type { Policy } from '../../../src/watchdog/policy.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';
import { randomFrom } from '../../support/random.js';
import { BEHAVIOURS, type Behaviour, type BehaviourName, UNTIL_CHILD_ENDS } from './behaviours.js';
import { Opencode2Wire } from './opencode-2-wire.js';
import { Queue } from './queue.js';
import { type Reply, SimulatedExecutor, type SimulatedServer } from './simulated-executor.js';

export interface Disturbance {
  kind:
    | 'cut'
    | 'exit'
    | 'freeze'
    | 'gap'
    | 'restart'
    | 'pause'
    | 'manual'
    /** The event stream is cut, and does not come back for minutes although the server serves. */
    | 'streamless'
    /** A reload with other limits, and a second one with the old limits again. */
    | 'reload'
    /** A person prompts, or deletes, a session that is idle. */
    | 'prompt'
    | 'delete'
    /** The daemon is killed, alone or together with the server, and the next one starts. */
    | 'daemon'
    | 'both';
  at: number;
  ms: number;
}

/**
 * What an abort of a session does. `lost`: nothing, the first time. `slow`: it ends the run when nobody may wait for it
 * any more.
 */
export type AbortOf = 'works' | 'fails' | 'lost' | 'slow';

export interface History {
  /** The version of the API that the simulated server speaks. Default: 1. */
  api?: 1 | 2;
  seed: number;
  policy: Policy;
  sessions: readonly { behaviour: BehaviourName; at: number; abort: AbortOf }[];
  disturbances: readonly Disturbance[];
  /** The outcome of each restart, in turn. The last one holds for all further restarts. */
  restarts: readonly ('done' | 'alive' | 'dead')[];
}

/** How long a history lasts, in simulated ms. */
export const HORIZON = 6 * 60_000;
const POLL_EVERY = 10_000;
const PROBE_EVERY = 5_000;
const HEARTBEAT_EVERY = 10_000;
/** When the monitor says that there is no event stream, ms after the cut, and how long a `streamless` time is. */
const UNAVAILABLE_AFTER = 10_000;
const STREAMLESS_SHARE = 5;
/**
 * A limit must tolerate a freeze shorter than this, ms. The time of a longer one is not counted against any session.
 */
const HICCUP = 15_000;
/** The time limit for looking up a session's directory. */
const ASK_MS = 10_000;
const DIRECTORIES = ['/a', '/b'] as const;

/** The true state of one session. */
export class SimSession {
  status: SessionStatus & { nextAt?: number } = { type: 'idle' };
  readonly tools = new Map<string, RunningTool>();
  readonly requests = new Map<string, PendingRequest>();
  preparing = false;
  deleted = false;
  mark = 0;
  /** The exceeded limit (ms), and when the watchdog should act. Undefined while the session is healthy. */
  guilt: { limit: number; at: number } | undefined;
  /** It was in retry at some time, so a pile-up may include it. */
  retried = false;
  /** Somebody has ended its run. */
  interrupted = false;
  /** The arguments of calls that are not unique to the call. */
  readonly inputs = new Map<string, string>();
  life: Generator<number, void> | undefined;
  aborts = 0;
  /** When its run began. */
  begunAt = 0;
  lastMessageID = '';
  /** How its last run ended; undefined while it runs. */
  endedBy: 'itself' | 'person' | 'watchdog' | 'dispose' | 'server' | undefined;
  /** How often the server ended while the session was at work, or while the news of the run's end was on its way. */
  diedUnder = 0;
  /** When the watchdog last continued it, and when a person last prompted it after its first run. */
  continuedAt = Number.NEGATIVE_INFINITY;
  personAt = Number.NEGATIVE_INFINITY;
  /** Since when a person has wanted the run aborted. */
  unwantedSince: number | undefined;
  /** What it does when it is continued. */
  goesOn: Behaviour = BEHAVIOURS.testsAfterEdits;
  /** Who sent the last abort. */
  abortedBy: 'person' | 'watchdog' = 'watchdog';
  onChildEnd: (() => void) | undefined;

  constructor(
    readonly sim: Simulation,
    readonly id: string,
    readonly directory: string,
    readonly abort: AbortOf,
    readonly parentID: string | undefined,
  ) {}

  get now(): number {
    return this.sim.now;
  }
  get info(): SessionInfo {
    const { directory, parentID } = this;
    return { directory, ...(parentID === undefined ? {} : { parentID }) };
  }
  get limits(): Policy {
    return this.sim.history.policy;
  }
  /**
   * How long a run may go without an answer to its first request. In 2.x nothing tells that the request was made
   * (section 3.4).
   */
  get unansweredMs(): number {
    const { maxSilence, maxToolTime } = this.limits.stall;
    return this.isOfOpencode2 ? maxToolTime : maxSilence;
  }
  get isOfOpencode2(): boolean {
    return this.sim.history.api === 2;
  }
  random(from: number, to: number): number {
    return this.sim.random(from, to);
  }

  say(o: WithoutPlace): void {
    this.sim.stream({ ...o, sessionID: this.id, directory: this.directory } as Observation);
  }
  become(status: SessionStatus): void {
    this.status =
      status.type === 'retry' ? { ...status, nextAt: this.now + (status.nextInMs ?? 0) } : status;
    if (status.type === 'retry') this.retried = true;
    if (this.begunAt === 0) this.begunAt = this.now;
    this.say({ kind: 'session.status', status });
  }
  /** Says it, and changes the transcript. */
  write(o: WithoutPlace): void {
    this.mark += 1;
    this.say(o);
  }
  child(behaviour: Behaviour): SimSession {
    return this.sim.spawn(behaviour, this.directory, 'works', this.id);
  }
  /** Ends the run. */
  end(by: NonNullable<SimSession['endedBy']> = 'itself'): void {
    if (this.status.type !== 'idle') this.endedBy = by;
    this.life = undefined;
    this.guilt = undefined;
    this.tools.clear();
    this.requests.clear();
    if (this.status.type === 'idle') return;
    this.status = { type: 'idle' };
    this.say({ kind: 'session.status', status: { type: 'idle' } });
    const parent = this.parentID === undefined ? undefined : this.sim.sessions.get(this.parentID);
    const goOn = parent?.onChildEnd;
    if (parent) parent.onChildEnd = undefined;
    if (goOn) this.sim.after(20, goOn);
  }
}

type WithoutPlace = Observation extends infer O
  ? O extends { sessionID: string }
    ? Omit<O, 'at' | 'sessionID' | 'directory'>
    : never
  : never;

/**
 * A status as the monitor reads it: the wire has the time of the next attempt, the monitor makes it a distance from
 * now.
 */
function readAt({ nextAt, ...status }: SimSession['status'], now: number): SessionStatus {
  return status.type === 'retry' && nextAt !== undefined
    ? { ...status, nextInMs: Math.max(0, nextAt - now) }
    : status;
}

export class Simulation implements SimulatedServer {
  watchdog: Watchdog;
  readonly sessions = new Map<string, SimSession>();
  /** Everything that was observed, so that a failure can be replayed. */
  readonly observed: Observation[] = [];
  now = 0;
  /** From when limits may be counted again: since a resync, a freeze's end or a healthy answer. Infinite until then. */
  disturbedUntil = 0;
  readonly #queue = new Queue();
  readonly #random: () => number;
  readonly #inspect: (act: Act, sim: Simulation) => void;
  /** Called for each note. */
  onNote: (note: Note) => void = () => {};
  /** Called before a session begins a continuation that the server has accepted. */
  onContinued: (session: SimSession) => void = () => {};
  /** Called when a new daemon has started. */
  onNextDaemon: () => void = () => {};
  #serving = true;
  #frozenUntil = 0;
  /** The total length of all freezes so far, without short ones. */
  #frozenMs = 0;
  /** Each death of the server begins a new generation. What was under way then is lost. */
  #generation = 0;
  #connected = false;
  #deliveredAt = 0;
  #restarts = 0;
  #acting = false;
  /** The monitor rests while the server is being restarted. Each rest begins a new turn. */
  #isResting = false;
  #turn = 0;
  #executor = new SimulatedExecutor(this);
  /** Only for OpenCode 2: writes what happens as frames, and reads them. */
  readonly #wire: Opencode2Wire | undefined;

  constructor(
    readonly history: History,
    onAct: (act: Act, sim: Simulation) => void,
  ) {
    this.#inspect = onAct;
    this.#random = randomFrom(history.seed);
    this.watchdog = new Watchdog({ policy: history.policy, acts: true });
    if (history.api === 2) this.#wire = new Opencode2Wire(() => this.now);
  }

  get serving(): boolean {
    return this.#serving && this.now >= this.#frozenUntil;
  }
  random(from: number, to: number): number {
    return Math.round(from + this.#random() * (to - from));
  }

  run(): void {
    this.observe({ kind: 'server.attached', running: true, pid: this.#pid, at: 0 });
    this.#connect();
    this.#every(POLL_EVERY, () => this.#poll());
    this.#every(PROBE_EVERY, () => this.#probe());
    this.#every(HEARTBEAT_EVERY, () => {
      if (this.serving && this.#connected && !this.#isResting) {
        this.observe({ kind: 'stream.alive', at: this.now, heartbeatMs: HEARTBEAT_EVERY });
      }
    });
    this.history.sessions.forEach(({ behaviour, at, abort }, i) => {
      this.after(at, () => {
        if (this.serving) this.spawn(BEHAVIOURS[behaviour], DIRECTORIES[i % 2] ?? '/a', abort);
      });
    });
    for (const disturbance of this.history.disturbances) {
      this.after(disturbance.at, () => this.#disturb(disturbance));
    }
    while (this.now < HORIZON) this.#step();
  }

  #step(): void {
    const { deadline } = this.watchdog;
    const next = Math.min(this.#queue.nextAt, HORIZON);
    if (deadline !== undefined && deadline <= next) {
      this.now = Math.max(this.now, deadline);
      this.observe({ kind: 'tick', at: this.now });
      return;
    }
    this.now = next;
    this.#queue.take(this.now)?.();
  }

  after(ms: number, fn: () => void): void {
    this.#queue.add(this.now + ms, fn);
  }

  #every(ms: number, fn: () => void): void {
    this.after(ms, () => {
      fn();
      this.#every(ms, fn);
    });
  }

  observe(o: Observation): void {
    this.observed.push(o);
    const decisions = this.watchdog.observe(o);
    const { deadline } = this.watchdog;
    if (deadline !== undefined && deadline <= o.at) {
      throw new Error(`deadline ${deadline} is not after ${o.at} (${o.kind})`);
    }
    for (const decision of decisions) this.#obey(decision);
  }

  get isPaused(): boolean {
    return this.watchdog.pausedAt !== undefined;
  }

  // --- opencode --------------------------------------------------------------------------------------------------

  spawn(behaviour: Behaviour, directory: string, abort: AbortOf, parentID?: string): SimSession {
    const id = `s${this.sessions.size}`;
    const session = new SimSession(this, id, directory, abort, parentID);
    this.sessions.set(id, session);
    session.say({ kind: 'session.info', info: session.info });
    session.life = behaviour(session);
    this.#live(session, session.life);
    return session;
  }

  #live(session: SimSession, life: Generator<number, void>): void {
    if (session.life !== life) return;
    if (!this.serving) {
      // The sessions of a frozen server continue when the server does.
      if (this.#serving) this.#queue.add(this.#frozenUntil, () => this.#live(session, life));
      return;
    }
    const { value, done } = life.next();
    if (done || typeof value !== 'number') session.end();
    else if (value === UNTIL_CHILD_ENDS) session.onChildEnd = () => this.#live(session, life);
    else this.#wait(value, () => this.#live(session, life));
  }

  /** Waits in a session's own time, which stands still during a long freeze. */
  #wait(ms: number, fn: () => void): void {
    const before = this.#frozenMs;
    this.after(ms, () => {
      const lost = this.#frozenMs - before;
      if (lost === 0) fn();
      else this.#wait(lost, fn);
    });
  }

  /** An event on its way. It is delivered in order, unless the stream is cut meanwhile. */
  stream(o: Observation): void {
    const frames = this.#framesOf(o);
    if (!this.#connected) return;
    const at = Math.max(this.#deliveredAt, this.now + this.random(0, 50));
    this.#deliveredAt = at;
    const generation = this.#connection;
    this.#queue.add(at, () => {
      for (const read of frames) {
        if (!this.#connected || generation !== this.#connection) return;
        for (const each of read()) this.observe(each);
      }
    });
  }

  #framesOf(o: Observation): (() => Observation[])[] {
    const wire = this.#wire;
    if (wire === undefined) {
      const read = () => {
        const tool = 'tool' in o ? { tool: this.#read(o.tool) } : {};
        return [{ ...o, ...tool, at: this.now } as Observation];
      };
      return [read];
    }
    const session = 'sessionID' in o ? this.sessions.get(o.sessionID) : undefined;
    return wire.frames(o, session).map((frame) => () => wire.read(frame));
  }
  #connection = 0;
  readonly #gaps: { at: number; ms: number }[] = [];

  /** A tool as the monitor reads it: its start is by the wall clock, which ran on through every gap since then. */
  #read(tool: RunningTool): RunningTool {
    const since = this.#gaps.filter(({ at }) => at >= tool.startedAt);
    return { ...tool, startedAt: tool.startedAt - since.reduce((sum, { ms }) => sum + ms, 0) };
  }

  #connect(turn = this.#turn): void {
    if (this.#isResting || turn !== this.#turn) return;
    if (!this.serving) {
      this.after(1_000, () => this.#connect(turn));
      return;
    }
    if (this.#connected) return;
    if (this.now < this.#streamlessUntil) {
      this.after(UNAVAILABLE_AFTER, () => this.#unavailable(turn));
      return;
    }
    this.#connected = true;
    this.#connection += 1;
    this.#deliveredAt = this.now;
    const connection = this.#connection;
    this.#wire?.connected();
    this.observe({ kind: 'stream.connected', path: '/global/event', at: this.now });
    let waiting = this.#places.length;
    const polled = () => {
      waiting -= 1;
      if (waiting > 0 || !this.#connected || connection !== this.#connection) return;
      this.disturbedUntil = this.now;
      this.observe({ kind: 'stream.resynced', at: this.now });
    };
    for (const directory of this.#places) this.#pollOne(directory, polled);
  }

  #streamlessUntil = 0;

  #unavailable(turn: number): void {
    if (this.#isResting || turn !== this.#turn || this.#connected) return;
    if (!this.serving) {
      this.after(1_000, () => this.#unavailable(turn));
      return;
    }
    const why = { path: '/global/event', reason: 'no answer', silentMs: UNAVAILABLE_AFTER };
    this.observe({ kind: 'stream.unavailable', ...why, at: this.now });
  }

  /** What is polled one by one: the directories, or the whole server. */
  get #places(): readonly (string | undefined)[] {
    return this.#wire === undefined ? DIRECTORIES : [undefined];
  }

  #lose(planned = false): void {
    if (!this.#connected) return;
    this.#connected = false;
    this.disturbedUntil = Number.POSITIVE_INFINITY;
    const why = planned ? { reason: 'paused for a restart', planned } : { reason: 'end' };
    this.observe({ kind: 'stream.lost', ...why, silentMs: 0, at: this.now });
  }

  /** As the monitor does for a restart: it drops what is under way, and asks nothing. */
  #rest(): void {
    this.#isResting = true;
    this.#turn += 1;
    this.#lose(true);
  }

  #wake(): void {
    this.#isResting = false;
    this.#connect();
  }

  /** A new pid in each generation. */
  get #pid(): number {
    return this.#generation + 1;
  }

  #die(): void {
    this.#serving = false;
    this.#generation += 1;
    this.#wire?.forget();
    for (const session of this.sessions.values()) {
      const isAtWork = session.status.type !== 'idle';
      if (isAtWork) session.endedBy = 'server';
      if (isAtWork || this.#wasLastSeenAtWork(session)) session.diedUnder += 1;
      session.life = undefined;
      session.status = { type: 'idle' };
      session.guilt = undefined;
      // A transcript shows only the tools of the last message, and a run that goes on writes a new one.
      session.tools.clear();
    }
  }

  /** Whether the last news of the session that came through showed it at work: the news of its end may not have come. */
  #wasLastSeenAtWork({ id, directory }: SimSession): boolean {
    for (const o of this.observed.toReversed()) {
      if (o.kind === 'session.status' && o.sessionID === id) return o.status.type !== 'idle';
      const isPolled = o.kind === 'status.polled' && [undefined, directory].includes(o.directory);
      if (isPolled) return (o.statuses.get(id)?.type ?? 'idle') !== 'idle';
    }
    return false;
  }

  #disturb({ kind, ms }: Disturbance): void {
    switch (kind) {
      case 'cut':
        this.#lose();
        this.after(ms, () => this.#connect());
        return;
      case 'streamless':
        this.#streamlessUntil = this.now + ms * STREAMLESS_SHARE;
        this.#lose();
        this.#connect();
        this.after(ms * STREAMLESS_SHARE, () => this.#connect());
        return;
      case 'reload': {
        const { policy } = this.history;
        const lenient = {
          ...policy,
          retry: { maxAttempts: 1_000, maxDuration: 0, maxWait: 0 },
          stall: { maxSilence: 0, maxToolTime: 0, maxRunTime: 0 },
        };
        this.observe({ kind: 'policy.changed', policy: lenient, at: this.now });
        this.after(ms, () => this.observe({ kind: 'policy.changed', policy, at: this.now }));
        return;
      }
      case 'pause':
        this.observe({ kind: 'acts.paused', at: this.now });
        this.after(ms, () => this.observe({ kind: 'acts.resumed', at: this.now }));
        return;
      case 'manual': {
        // Mostly for a session that exists, now and then for one that does not.
        const sessionID = `s${ms % (this.sessions.size + 1)}`;
        const session = this.sessions.get(sessionID);
        if (session && session.status.type !== 'idle') session.unwantedSince ??= this.now;
        this.observe({ kind: 'abort.requested', by: 'command', sessionID, at: this.now });
        return;
      }
      case 'exit':
        this.killServer();
        return;
      case 'prompt': {
        const session = this.#someIdle(ms);
        if (session !== undefined) this.#promptedByPerson(session);
        return;
      }
      case 'delete': {
        const session = this.#someIdle(ms);
        if (session === undefined) return;
        session.deleted = true;
        session.say({ kind: 'session.deleted' });
        return;
      }
      case 'daemon':
      case 'both':
        // Not simulated: what a new daemon finds at a frozen server.
        if (this.#serving && !this.serving) return;
        // Now and then a person has just had a run aborted.
        if (ms % 3 === 0) this.#disturb({ kind: 'manual', at: this.now, ms });
        if (kind === 'both' && this.#serving) this.#die();
        this.#nextDaemon();
        return;
      case 'freeze':
        if (ms > HICCUP) {
          this.#frozenMs += Math.max(0, this.now + ms - Math.max(this.now, this.#frozenUntil));
        }
        this.#frozenUntil = Math.max(this.#frozenUntil, this.now + ms);
        this.disturbedUntil = Number.POSITIVE_INFINITY;
        this.after(ms + 1, () => {
          this.disturbedUntil = Math.min(this.disturbedUntil, this.now);
        });
        return;
      case 'gap':
        this.#gaps.push({ at: this.now, ms });
        this.observe({ kind: 'gap', ms, at: this.now });
        return;
      case 'restart': {
        const reason = ms % 2 === 0 ? 'memory' : 'manual';
        this.observe({ kind: 'restart.requested', reason, at: this.now });
      }
    }
  }

  /** A run, or a person, kills the server. */
  killServer(): void {
    if (!this.#serving || this.#acting) return;
    this.#die();
    this.#lose();
    this.observe({ kind: 'server.exited', code: 1, signal: null, at: this.now });
  }

  prompt(
    { sessionID, lastMessageID, cutMessageID, onlyIfOpen }: ContinueAct,
    isWithdrawn: () => boolean,
    then: (reply: Reply<'began' | 'used'>) => void,
  ): void {
    const generation = this.#generation;
    this.after(this.random(10, 300), () => {
      const session = this.sessions.get(sessionID);
      const isThere = session !== undefined && !session.deleted;
      if (!this.serving || generation !== this.#generation || !isThere) {
        then({ kind: isThere ? 'refused' : 'timeout' });
        return;
      }
      const isNewerThan = (id?: string) => id !== undefined && session.lastMessageID > id;
      const isOpen = session.endedBy === 'server';
      const isNewer = isNewerThan(lastMessageID) || (isNewerThan(cutMessageID) && !isOpen);
      const isSubagent = session.parentID !== undefined;
      const hadEnded = session.endedBy === 'itself';
      const isClosed = hadEnded || (onlyIfOpen === true && !isOpen);
      if (session.status.type !== 'idle' || isSubagent || isNewer || isClosed || isWithdrawn()) {
        then({ kind: 'answer', value: 'used' });
        return;
      }
      this.onContinued(session);
      session.continuedAt = this.now;
      this.#begin(session, session.goesOn);
      this.after(this.random(10, 300), () => then({ kind: 'answer', value: 'began' }));
    });
  }

  #begin(session: SimSession, behaviour: Behaviour): void {
    session.begunAt = 0;
    session.endedBy = undefined;
    session.unwantedSince = undefined;
    const life = behaviour(session);
    session.life = life;
    this.#live(session, life);
  }

  #promptedByPerson(session: SimSession): void {
    if (!this.serving) return;
    session.personAt = this.now;
    session.goesOn = BEHAVIOURS.testsAfterEdits;
    this.#begin(session, BEHAVIOURS.answers);
  }

  #someIdle(nth: number): SimSession | undefined {
    const idle = [...this.sessions.values()].filter(
      ({ status, life, parentID, deleted }) =>
        status.type === 'idle' && life === undefined && parentID === undefined && !deleted,
    );
    return idle[nth % Math.max(1, idle.length)];
  }

  /** A new daemon starts at once, with what the old one has stored. */
  #nextDaemon(): void {
    const { crashes, server } = this.watchdog;
    const runs = crashes.atWork();
    const { inARow, quarantined } = crashes;
    const serverPid = server.pid;
    const parked = this.watchdog.parked(this.now);
    this.#executor.kill();
    this.#executor = new SimulatedExecutor(this);
    this.watchdog = new Watchdog({ policy: this.history.policy, acts: true });
    this.#turn += 1;
    this.#connected = false;
    this.#acting = false;
    this.#isResting = false;
    this.onNextDaemon();
    const at = this.now;
    this.observe({
      kind: 'runs.restored',
      at,
      ...(serverPid !== undefined && { serverPid }),
      runs,
      inARow: new Map(inARow),
      quarantined: [...quarantined.values()],
    });
    this.observe({ kind: 'parked.restored', at, runs: parked });
    const running = this.serving;
    this.observe({ kind: 'server.attached', at, running, ...(running && { pid: this.#pid }) });
    if (running) this.#connect();
  }

  // --- monitor ----------------------------------------------------------------------------------------------------

  #poll(): void {
    for (const directory of this.#places) this.#pollOne(directory);
  }

  /** @param directory undefined: all directories at once */
  #pollOne(directory: string | undefined, then?: () => void): void {
    if (!this.serving || this.#isResting) return;
    const startedAt = this.now;
    const generation = this.#generation;
    const turn = this.#turn;
    this.after(this.random(0, 400), () => {
      if (!this.serving || generation !== this.#generation) return;
      const shown = [...this.sessions.values()]
        .filter(({ status }) => status.type !== 'idle')
        .filter((session) => directory === undefined || session.directory === directory)
        .map(({ id, status }) => ({ id, status: { ...status } }));
      this.after(this.random(0, 400), () => {
        if (generation !== this.#generation || turn !== this.#turn) return;
        const statuses = new Map(shown.map(({ id, status }) => [id, this.#readStatus(id, status)]));
        const where = directory === undefined ? {} : { directory };
        this.observe({ kind: 'status.polled', at: this.now, startedAt, ...where, statuses });
        then?.();
      });
    });
  }

  #readStatus(sessionID: string, status: SimSession['status']): SessionStatus {
    return this.#wire?.status(sessionID, status) ?? readAt(status, this.now);
  }

  #probe(): void {
    if (this.#isResting) return;
    const startedAt = this.now;
    const { serving } = this;
    const turn = this.#turn;
    this.after(serving ? this.random(1, 200) : 3_000, () => {
      if (turn !== this.#turn) return;
      if (serving && this.serving) {
        if (!this.watchdog.server.healthy) this.disturbedUntil = Math.max(0, this.now);
        this.observe({ kind: 'probe.ok', at: this.now, startedAt });
      } else if (!serving) {
        const failure = this.#serving ? 'timeout' : 'refused';
        this.observe({ kind: 'probe.failed', at: this.now, startedAt, failure, error: failure });
      }
    });
  }

  // --- executor -----------------------------------------------------------------------------------------------------

  #obey(decision: Decision): void {
    if (isNote(decision)) {
      this.onNote(decision);
      return;
    }
    if (decision.act === 'abort') {
      const session = this.sessions.get(decision.sessionID);
      if (session) session.abortedBy = decision.reason === 'manual' ? 'person' : 'watchdog';
    }
    this.#inspect(decision, this);
    this.#executor.do(decision);
  }

  /**
   * Simulates a request and its answer, each of which takes a while. A frozen server handles the request when it
   * continues.
   */
  #ask<T>(withinMs: number, answer: () => T, then: (reply: Reply<T>) => void): void {
    let isOpen = true;
    const settle = (reply: Reply<T>) => {
      if (!isOpen) return;
      isOpen = false;
      then(reply);
    };
    const generation = this.#generation;
    const arrive = () => {
      if (!this.#serving || generation !== this.#generation) {
        settle({ kind: 'refused' });
        return;
      }
      if (!this.serving) {
        this.#queue.add(this.#frozenUntil, arrive);
        return;
      }
      // The server may handle a request even if its client has given up.
      if (!isOpen && this.random(0, 1) === 0) return;
      const value = answer();
      this.after(this.random(1, 50), () => settle({ kind: 'answer', value }));
    };
    this.after(this.random(1, 50), arrive);
    this.after(withinMs, () => settle({ kind: 'timeout' }));
  }

  directoryOf(sessionID: string, then: (reply: Reply<string | null>) => void): void {
    this.#ask<string | null>(
      ASK_MS,
      () => {
        const session = this.sessions.get(sessionID);
        return session === undefined || session.deleted ? null : session.directory;
      },
      then,
    );
  }

  statusOf(
    sessionID: string,
    withinMs: number,
    then: (reply: Reply<SessionStatus | undefined>) => void,
  ): void {
    this.#ask<SessionStatus | undefined>(
      withinMs,
      () => {
        const status = this.sessions.get(sessionID)?.status;
        return status === undefined || status.type === 'idle'
          ? undefined
          : this.#readStatus(sessionID, status);
      },
      then,
    );
  }

  abort(sessionID: string, withinMs: number, then: (reply: Reply<true>) => void): void {
    // Once it is sent, the session counts as acted on.
    const session = this.sessions.get(sessionID);
    if (session) session.aborts += 1;
    const tries = session?.aborts ?? 0;
    this.#ask<true>(
      withinMs,
      () => {
        if (session === undefined) return true;
        const works = session.abort !== 'fails' && (session.abort !== 'lost' || tries > 1);
        const { life } = session;
        if (works && life !== undefined) {
          const takesMs =
            session.abort === 'slow' ? this.random(2_000, 20_000) : this.random(0, 250);
          this.after(takesMs, () => {
            if (session.life !== life) return;
            session.interrupted = true;
            if (session.status.type === 'busy')
              session.say({ kind: 'session.error', name: 'MessageAbortedError', message: '' });
            session.end(session.abortedBy);
          });
        }
        return true;
      },
      then,
    );
  }

  running(
    directory: string,
    withinMs: number,
    then: (reply: Reply<ReadonlySet<string>>) => void,
  ): void {
    this.#ask<ReadonlySet<string>>(
      withinMs,
      () => new Set(this.#activeIn(directory).map(({ id }) => id)),
      then,
    );
  }

  /** Ends every run of the directory, even those that no abort ends. */
  dispose(directory: string, withinMs: number, then: (reply: Reply<true>) => void): void {
    this.#ask<true>(
      withinMs,
      () => {
        for (const session of this.#activeIn(directory)) {
          this.onDisposed(session);
          session.aborts += 1;
          session.interrupted = true;
          if (session.status.type === 'busy') {
            session.say({ kind: 'session.error', name: 'MessageAbortedError', message: '' });
          }
          session.end('dispose');
        }
        this.after(this.random(1_500, 1_800), () =>
          this.stream({ kind: 'directory.disposed', directory, at: this.now }),
        );
        return true;
      },
      then,
    );
  }
  /** Called for each run that a dispose cuts, before it does. */
  onDisposed: (session: SimSession) => void = () => {};

  #activeIn(directory: string): SimSession[] {
    return [...this.sessions.values()].filter(
      (session) => session.directory === directory && session.status.type !== 'idle',
    );
  }

  inspect(sessionID: string): void {
    if (this.#isResting) return;
    const startedAt = this.now;
    const generation = this.#generation;
    const turn = this.#turn;
    const fail = () =>
      turn === this.#turn &&
      this.observe({ kind: 'session.inspect_failed', at: this.now, sessionID, error: 'no answer' });
    this.after(this.random(1, 300), () => {
      const session = this.sessions.get(sessionID);
      if (!this.serving || session === undefined || generation !== this.#generation) {
        this.after(1_000, fail);
        return;
      }
      const result = session.deleted
        ? ({ found: false } as const)
        : ({
            found: true,
            info: session.info,
            tools: [...session.tools.values()],
            requests: [...session.requests.values()],
            preparing: session.preparing,
            mark: `${session.mark}`,
          } as const);
      this.after(this.random(1, 300), () => {
        if (turn !== this.#turn) return;
        // Read when it arrives, so that a gap on the way counts too.
        const read = result.found
          ? { ...result, tools: result.tools.map((tool) => this.#read(tool)) }
          : result;
        this.observe({
          kind: 'session.inspected',
          at: this.now,
          sessionID,
          startedAt,
          result: read,
        });
      });
    });
  }

  restart(): void {
    const executor = this.#executor;
    /** True if the daemon was killed meanwhile. The next daemon starts from what it finds. */
    const isLeft = () => executor !== this.#executor;
    this.#acting = true;
    this.#rest();
    const { restarts } = this.history;
    const outcome = restarts[Math.min(this.#restarts, restarts.length - 1)] ?? 'done';
    this.#restarts += 1;
    if (outcome === 'alive' && this.serving) {
      this.after(3_000, () => {
        if (isLeft()) return;
        this.#acting = false;
        this.#wake();
        this.observe({ kind: 'restart.failed', error: 'no', serverAlive: true, at: this.now });
      });
      return;
    }
    this.after(this.random(50, 1_000), () => {
      if (isLeft()) return;
      this.#die();
      this.after(this.random(1_000, 5_000), () => {
        if (isLeft()) return;
        this.#acting = false;
        if (outcome === 'dead') {
          this.#wake();
          this.observe({ kind: 'restart.failed', error: 'no', serverAlive: false, at: this.now });
          return;
        }
        this.#serving = true;
        this.#frozenUntil = 0;
        this.#wake();
        this.observe({ kind: 'restart.done', pid: this.#pid, tookMs: 1, at: this.now });
      });
    });
  }
}
