/**
 * Runs that the end of the server cut, and how they are continued (`recover.afterRestart`, off by default).
 *
 * After a restart that was decided, all of them are told to go on at once. After a crash (the process ended, or did not
 * respond) one of them may be what brings the server down. So they are told to go on one after the other: the next when
 * the last one has finished a step, has ended, or has been at work for a minute. A session that was at work in
 * `recover.quarantineAfter` crashes in a row, without a finished step in between, is quarantined: this is reported and
 * shown, and the watchdog never continues the session again until a person prompts it.
 */
import type { Health, SessionFields } from '../decision.js';
import type { ActObservation, Observation, RunAtWork } from '../observation.js';
import { proceed } from './recovery.js';
import type { SessionRegistry } from './registry.js';
import type { Context } from './rule-context.js';
import { fieldsOf, newRun, type Run, type Session } from './state.js';

/**
 * Sessions at work that are remembered for the next daemon, and runs that wait to be continued. At the limit: further
 * ones are left out.
 */
export const MAX_AT_WORK = 1_000;
/** Quarantined sessions. At the limit: the one quarantined longest ago is forgotten. */
export const MAX_QUARANTINED = 500;
/** A run that has been at work for this long (ms) has not brought the server down. */
const PROVEN_MS = 60_000;
/** If the beginning of a continued run is not reported within this time (ms), the next one's turn comes anyway. */
const UNTOLD_MS = 120_000;

export interface Cut {
  session: Session;
  run: Run;
  health: Health;
  at: number;
}

interface Waiting extends Cut {
  /**
   * What the transcript must show before it goes on. `open`: that its last run has no end. `unused`: that nobody has
   * used it since it was cut. `unfinished`: that its last run did not come to its own end.
   */
  mustBe: 'open' | 'unused' | 'unfinished';
  because: 'restart' | 'crash';
}

type Found = Extract<Observation, { kind: 'runs.restored' }>;
type Attached = Extract<Observation, { kind: 'server.attached' }>;

export class Crashes {
  readonly #context: Context;
  readonly #registry: SessionRegistry;
  /** In how many crashes in a row each session was at work. */
  #inARow = new Map<string, number>();
  readonly #quarantined = new Map<string, SessionFields>();
  /** Runs that were cut, while the server is not back yet, or acts are paused. */
  #cut: readonly Cut[] = [];
  /** One of those runs may have brought the server down. */
  #wasCrash = false;
  /** Runs that will be told to go on, one after the other. */
  #queue: Waiting[] = [];
  #trial:
    | {
        sessionID: string;
        since: number;
        began: boolean;
        /** Its prompt was not sent: the server could not be reached. */
        isUnsent?: boolean;
        /** What waits again if the server dies before the run is seen; undefined if a person does not want it. */
        waiting: Waiting | undefined;
      }
    | undefined;
  /** A server that could not be reached may be dying: until then the queue waits for its end. */
  #heldUntil = Number.NEGATIVE_INFINITY;
  /**
   * Runs that were told to go on, until the executor reports what came of that. Only it can tell whether somebody has
   * used the session since the cut. Undefined: a person has wanted the session aborted since.
   */
  readonly #told = new Map<string, Waiting | undefined>();
  /** What an earlier daemon saw at work, until it is known which server runs now. */
  #found: Found | undefined;
  /** The same where that server's process is there and does not answer: it may be replaced, or answer again. */
  #frozen: Found | undefined;
  /** Changes whenever something changes that must be kept on disk. */
  version = 0;

  constructor(context: Context, registry: SessionRegistry) {
    this.#context = context;
    this.#registry = registry;
  }

  get inARow(): ReadonlyMap<string, number> {
    return this.#inARow;
  }
  get quarantined(): ReadonlyMap<string, SessionFields> {
    return this.#quarantined;
  }

  /** The runs at work now, and those that wait to be continued: what the next daemon must know. */
  atWork(): RunAtWork[] {
    const active = [...this.#registry.active].flatMap((session) =>
      session.run === undefined || !wasWell(session) || isUnwanted(session)
        ? []
        : [{ session, run: session.run, waiting: false }],
    );
    const untold = this.#trial?.waiting;
    const onTrial = untold === undefined || untold.session.run !== undefined ? [] : [untold];
    const cut = [...this.#cut.filter(wasWell), ...onTrial, ...this.#queue];
    return [...active, ...cut.map(({ session, run }) => ({ session, run, waiting: true }))]
      .filter(({ session }) => session.info.parentID === undefined)
      .map(({ session, run, waiting }) => ({
        ...fieldsOf(session),
        ...(run.model === undefined ? {} : { model: run.model }),
        ...(run.agent === undefined ? {} : { agent: run.agent }),
        count: session.continues,
        ...(waiting && { waiting }),
      }))
      .concat(this.#frozen?.runs ?? [])
      .slice(0, MAX_AT_WORK);
  }

  /** The set of healthy runs at work may have changed. */
  changed(): void {
    this.version += 1;
  }

  /** A run has begun. If we did not prompt it, somebody else uses the session, and it loses its turn. */
  began(sessionID: string): void {
    this.version += 1;
    if (this.#trial?.sessionID !== sessionID) this.#leaveQueue(sessionID);
  }

  /** The end of the server has cut these runs. `wanted`: those of them that no person was having aborted. */
  cut(runs: readonly Cut[], wanted: readonly Cut[], isCrash: boolean, at: number): void {
    this.version += 1;
    const again = new Set(runs.map(({ session }) => session));
    this.#cut = [...this.#cut.filter(({ session }) => !again.has(session)), ...wanted];
    if (isCrash) this.#wasCrash = true;
    const trial = this.#trial;
    this.#trial = undefined;
    this.#heldUntil = at;
    // Its prompt may not have been sent: the server may have died while it was starting. The transcript will show it.
    const untold = trial?.waiting;
    if (untold !== undefined && !again.has(untold.session)) {
      this.#queue.unshift({ ...untold, mustBe: 'open' });
    }
    if (!isCrash) return;
    const atWork = new Set(runs.map(({ session }) => session));
    // The trial was seen to begin, and may have brought the server down before any event of it came.
    const onTrial = trial?.began === true ? this.#registry.find(trial.sessionID) : undefined;
    if (onTrial !== undefined) atWork.add(onTrial);
    // If no session is at work, this is the restart that follows a crash, and the crash is already counted.
    if (atWork.size > 0) this.#count([...atWork]);
  }

  /** The server is healthy again, and acts are not paused: the runs that were cut go on. */
  resume(at: number, pid: number | undefined): void {
    const frozen = this.#frozen;
    this.#frozen = undefined;
    const because = this.#wasCrash ? 'crash' : 'restart';
    const cut = this.#cut
      .filter(wasWell)
      .map((each): Waiting => ({ ...each, mustBe: 'unused', because }));
    this.#cut = [];
    this.#wasCrash = false;
    if (!this.#isOn) {
      this.#queue = [];
      return;
    }
    if (frozen !== undefined && pid !== frozen.serverPid) {
      this.#wereCut(frozen, pid !== undefined, at);
    }
    if (because === 'crash') this.#enqueue(cut);
    else for (const each of cut) this.#continue(each, at);
    this.review(at);
  }

  /** A dispose by the watchdog has cut these runs. They go on. */
  disposed(cut: readonly Cut[], at: number): void {
    if (!this.#isOn) return;
    // A dispose ends the message being written with an abort error (facts, section 12), so it looks like one that a
    // person has ended.
    for (const each of cut.filter(wasWell)) {
      this.#continue({ ...each, mustBe: 'unfinished', because: 'restart' }, at);
    }
  }

  get #isOn(): boolean {
    return this.#context.policy.recover.afterRestart !== 'none';
  }

  restored(o: Found): void {
    this.#inARow = new Map(o.inARow);
    for (const fields of o.quarantined) {
      const session = this.#registry.enter(fields.sessionID, o.at);
      if (session === undefined) continue;
      this.#registry.learn(session, infoOf(fields));
      this.#quarantined.set(session.id, fields);
    }
    this.#found = o;
  }

  /** It is now known which server runs. If it is the one that the earlier daemon saw, nothing more was cut. */
  attached(o: Attached): void {
    const found = this.#found;
    this.#found = undefined;
    if (found === undefined || !this.#isOn) return;
    const waiting = found.runs.filter((run) => run.waiting);
    const rest = { ...found, runs: found.runs.filter((run) => !run.waiting) };
    this.#enqueue(waiting.flatMap((run) => this.#restore(run, o.at)));
    if (!isSameServer(o, found)) {
      // If no process is seen, the same server may still be serving.
      const isGone = !o.running || (o.pid !== undefined && found.serverPid !== undefined);
      this.#wereCut(rest, isGone, o.at);
    } else if (!o.running) this.#frozen = rest;
  }

  /** What an earlier daemon saw at work was cut. `isGone`: it is certain that this server has ended. */
  #wereCut({ runs, wasStopped }: Found, isGone: boolean, at: number): void {
    const cut = runs.flatMap((run) => this.#restore(run, at));
    if (isGone && !wasStopped && cut.length > 0) this.#count(cut.map(({ session }) => session));
    this.#enqueue(cut);
  }

  #restore(found: RunAtWork, at: number): Waiting[] {
    const session = this.#registry.enter(found.sessionID, at);
    if (session === undefined) return [];
    this.#registry.learn(session, infoOf(found));
    session.continues = Math.max(session.continues, found.count);
    const { model, agent, directory } = found;
    const run = { ...newRun(at, directory), model, agent };
    return [{ session, run, health: 'busy', at, mustBe: 'open', because: 'crash' }];
  }

  /** Tells the next run to go on, if it is its turn. */
  review(at: number): void {
    if (!this.#isOn) this.#leaveAll();
    const trial = this.#trial;
    if (trial !== undefined) {
      const doneAt = trial.since + (trial.began ? PROVEN_MS : UNTOLD_MS);
      if (at < doneAt) {
        this.#context.wakeAt(doneAt);
        return;
      }
      this.#trial = undefined;
      if (trial.isUnsent && trial.waiting !== undefined && this.#isOn) {
        // The server did not die of it. It comes after the others, and that try counts, so that there is an end.
        trial.waiting.session.continues += 1;
        this.#queue.push(trial.waiting);
        this.version += 1;
      }
    }
    if (at < this.#heldUntil) this.#context.wakeAt(this.#heldUntil);
    if (!this.#context.canAct() || at < this.#heldUntil) return;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      this.version += 1;
      if (!this.#continue(next, at)) continue;
      const sessionID = next.session.id;
      this.#trial = { sessionID, since: at, began: false, waiting: next };
      this.#context.wakeAt(at + UNTOLD_MS);
      return;
    }
  }

  /**
   * The executor reports whether the continued run has begun. Returns true if that is no failure to report: the run had
   * come to its own end, or somebody has used the session since.
   */
  continued(
    o: Extract<ActObservation, { kind: 'continue.done' | 'continue.failed' | 'continue.skipped' }>,
  ): boolean {
    const told = this.#told.get(o.sessionID);
    const wasTold = this.#told.delete(o.sessionID);
    const trial = this.#trial?.sessionID === o.sessionID ? this.#trial : undefined;
    const unreachable = o.kind === 'continue.failed' ? o.unreachable : undefined;
    if (trial !== undefined) {
      // A server that cannot be reached may be dying just now, perhaps of this run. The next one waits until that is
      // known.
      const isOver = o.kind !== 'continue.done' && unreachable === undefined;
      const began = o.kind === 'continue.done' || unreachable === 'sent';
      const isUnsent = unreachable === 'unsent';
      this.#trial = isOver ? undefined : { ...trial, since: o.at, began, isUnsent };
      this.#context.wakeAt(o.at + 1);
    }
    const isLeft = o.kind === 'continue.skipped' && this.#context.isPaused();
    if (told !== undefined && (isLeft || unreachable === 'unsent')) {
      this.#notSent(told, o.at);
    }
    return wasTold && o.kind === 'continue.failed' && o.superseded === true;
  }

  /** Nothing was sent, so it does not count. The run has its turn again: after a pause, or when the server is back. */
  #notSent(told: Waiting, at: number): void {
    told.session.continues -= 1;
    // One on trial waits there, until the server ends or is seen to live on.
    if (this.#trial?.waiting === told) return;
    // The server's end, heard before this, has given it its turn already.
    if (this.#queue.some(({ session }) => session === told.session)) return;
    this.#queue.unshift(told);
    const mayBeDying = this.#context.canAct() && !this.#context.isPaused();
    if (mayBeDying) this.#heldUntil = at + PROVEN_MS;
    this.version += 1;
  }

  /** A step of the session has finished, and the server still lives. */
  worked(sessionID: string, at: number): void {
    if (this.#inARow.delete(sessionID)) this.version += 1;
    this.#isOver(sessionID, at);
  }

  ended(sessionID: string, at: number): void {
    this.version += 1;
    this.#isOver(sessionID, at);
  }

  /** A person uses the session again. It loses its turn and its quarantine: what follows is the person's decision. */
  prompted(sessionID: string): void {
    if (this.#trial?.sessionID === sessionID) return;
    this.#leaveQueue(sessionID);
    if (this.#quarantined.delete(sessionID)) this.version += 1;
  }

  /** A person wants the session aborted, so a run of it that was cut does not go on. */
  abortRequested(sessionID: string): void {
    this.#leaveQueue(sessionID);
    if (this.#trial?.sessionID === sessionID) this.#trial = { ...this.#trial, waiting: undefined };
    if (this.#told.has(sessionID)) this.#told.set(sessionID, undefined);
    this.#cut = this.#cut.filter(({ session }) => session.id !== sessionID);
    if (this.#frozen !== undefined) {
      const runs = this.#frozen.runs.filter((run) => run.sessionID !== sessionID);
      this.#frozen = { ...this.#frozen, runs };
    }
    this.version += 1;
  }

  /** A reload has switched it off. */
  #leaveAll(): void {
    if (this.#queue.length === 0) return;
    this.#queue = [];
    this.version += 1;
  }

  #leaveQueue(sessionID: string): void {
    this.#queue = this.#queue.filter(({ session }) => session.id !== sessionID);
  }

  #isOver(sessionID: string, at: number): void {
    if (this.#trial?.sessionID !== sessionID || !this.#trial.began) return;
    this.#trial = undefined;
    this.#context.wakeAt(at + 1);
  }

  #enqueue(cut: readonly Waiting[]): void {
    const known = new Set(this.#queue.map(({ session }) => session.id));
    const more = cut.filter(({ session }) => !known.has(session.id));
    // Sessions that were at work in fewer crashes come first, so that the one that brings the server down comes last.
    this.#queue = [...this.#queue, ...more]
      .sort((a, b) => this.#crashesOf(a) - this.#crashesOf(b))
      .slice(0, MAX_AT_WORK);
    this.version += 1;
  }

  #crashesOf({ session }: Cut): number {
    return this.#inARow.get(session.id) ?? 0;
  }

  /** Counts a crash for these sessions. For any other session the row is broken, unless it waits for its turn. */
  #count(sessions: readonly Session[]): void {
    const { recover } = this.#context.policy;
    const next = new Map<string, number>();
    for (const { session } of this.#queue) {
      const before = this.#inARow.get(session.id);
      if (before !== undefined) next.set(session.id, before);
    }
    for (const session of sessions) {
      if (session.info.parentID !== undefined || session.deleted) continue;
      const crashes = (this.#inARow.get(session.id) ?? 0) + 1;
      next.set(session.id, crashes);
      const isTooMany = recover.quarantineAfter > 0 && crashes >= recover.quarantineAfter;
      if (!this.#isOn || !isTooMany) continue;
      this.#quarantine(session, crashes);
    }
    this.#inARow = next;
    this.version += 1;
  }

  #quarantine(session: Session, crashes: number): void {
    if (this.#quarantined.has(session.id)) return;
    this.#quarantined.set(session.id, fieldsOf(session));
    if (this.#quarantined.size > MAX_QUARANTINED) {
      const [oldest] = this.#quarantined.keys();
      if (oldest !== undefined) this.#quarantined.delete(oldest);
    }
    this.#context.emit({ note: 'session.quarantined', ...fieldsOf(session), crashes });
  }

  /** Returns true if the session was told to go on. */
  #continue(waiting: Waiting, now: number): boolean {
    const { session, run, at, mustBe, because } = waiting;
    const promptedSince = (session.lastPrompt?.at ?? at) > at;
    if (promptedSince || session.run !== undefined || this.#quarantined.has(session.id)) {
      return false;
    }
    // Nobody heard what happened between the last event and the end of the process, nor before its turn came. The
    // transcript shows whether the run came to its own end, or somebody has used the session meanwhile.
    const cutMessageID = mustBe === 'unused' ? run.askedMessageID : undefined;
    const onlyIfOpen = mustBe !== 'unfinished' && cutMessageID === undefined;
    const way = { because, hasFailed: false, cutMessageID, onlyIfOpen };
    const isTold = proceed(this.#context, session, run, way, now);
    if (isTold) this.#told.set(session.id, waiting);
    return isTold;
  }
}

/** Whether a person is having the session aborted. */
export function isUnwanted({ abortAskedBy, aborting }: Session): boolean {
  return abortAskedBy !== undefined || aborting?.reason === 'manual';
}

/**
 * Whether the run was healthy when it was cut. A run that was stuck, waited for a person or retried is not continued.
 */
function wasWell({ health }: { health: Health }): boolean {
  return health === 'busy' || health === 'delegating';
}

function infoOf({ directory, title }: SessionFields): { directory?: string; title?: string } {
  return {
    ...(directory === undefined ? {} : { directory }),
    ...(title === undefined ? {} : { title }),
  };
}

/** In a container that is started again, the new process often has the pid of the old one. It has another start. */
function isSameServer({ pid, startTime }: Attached, { serverPid, serverStart }: Found): boolean {
  const isStartKnown = startTime !== undefined && serverStart !== undefined;
  return pid !== undefined && pid === serverPid && (!isStartKnown || startTime === serverStart);
}
