/**
 * Runs that the end of the server cut (`recover.afterRestart`, off by default), from there to their way back.
 *
 * After a restart that was decided, all are told to go on at once. After a crash (the process ended, or did not respond)
 * one of them may be what brings the server down: they are told to go on one after the other, the next when the last
 * one has finished a step, has ended, or has been at work for a minute. A session at work in
 * `recover.quarantineAfter` crashes in a row, without a finished step in between, is quarantined: said, shown, and never
 * continued by the watchdog again, until a person prompts it.
 */
import type { Health, SessionFields } from '../decision.js';
import type { ActObservation, Observation, RunAtWork } from '../observation.js';
import { proceed } from './recovery.js';
import type { SessionRegistry } from './registry.js';
import type { Context } from './rule-context.js';
import { fieldsOf, newRun, type Run, type Session } from './state.js';

/** Sessions at work that are remembered for the next daemon, and runs that wait to be continued. At the limit: further ones are not. */
export const MAX_AT_WORK = 1_000;
/** Quarantined sessions. At the limit: the one quarantined longest ago is forgotten. */
export const MAX_QUARANTINED = 500;
/** A run that has been at work for this long (ms) has not brought the server down. */
const PROVEN_MS = 60_000;
/** The prompt of a run whose beginning is not told: the next one's turn comes all the same. */
const UNTOLD_MS = 120_000;

export interface Cut {
  session: Session;
  run: Run;
  health: Health;
  at: number;
}

interface Waiting extends Cut {
  /** Only the transcript tells whether its last run has no end. */
  onlyIfOpen: boolean;
}

export class Crashes {
  readonly #context: Context;
  readonly #registry: SessionRegistry;
  /** In how many crashes in a row each session was at work. */
  #inARow = new Map<string, number>();
  readonly #quarantined = new Map<string, SessionFields>();
  /** Cut, and the server is not back yet. */
  #cut: readonly Cut[] = [];
  /** Told to go on one after the other. */
  #queue: Waiting[] = [];
  #trial: { sessionID: string; since: number; began: boolean } | undefined;
  /** Told to go on, and only the executor can tell whether somebody has used them since they were cut. */
  readonly #unsure = new Set<string>();
  /** What an earlier daemon has seen at work, until it is known which server runs now. */
  #found: Extract<Observation, { kind: 'runs.restored' }> | undefined;
  /** Changes with everything that is to be kept on disk. */
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
    const cut = [...this.#cut.filter(wasWell), ...this.#queue];
    return [...active, ...cut.map(({ session, run }) => ({ session, run, waiting: true }))]
      .filter(({ session }) => session.info.parentID === undefined)
      .slice(0, MAX_AT_WORK)
      .map(({ session, run, waiting }) => ({
        ...fieldsOf(session),
        ...(run.model === undefined ? {} : { model: run.model }),
        ...(run.agent === undefined ? {} : { agent: run.agent }),
        count: session.continues,
        ...(waiting && { waiting }),
      }));
  }

  /** Who is at work, and well, is another. */
  changed(): void {
    this.version += 1;
  }

  /** A run has begun. Where it is none of ours, somebody else has set the session to work: its turn is void. */
  began(sessionID: string): void {
    this.version += 1;
    if (this.#trial?.sessionID !== sessionID) this.#leaveQueue(sessionID);
  }

  /** The server was seen to end under these runs. `wanted`: those of them that no person was having aborted. */
  cut(runs: readonly Cut[], wanted: readonly Cut[], isCrash: boolean): void {
    this.version += 1;
    this.#cut = [...this.#cut, ...wanted];
    const trial = this.#trial;
    this.#trial = undefined;
    if (!isCrash) return;
    const atWork = new Set(runs.map(({ session }) => session));
    // It was seen to begin, and may have brought the server down before any event of it came.
    const onTrial = trial?.began === true ? this.#registry.find(trial.sessionID) : undefined;
    if (onTrial !== undefined) atWork.add(onTrial);
    // A restart that follows a crash has nobody at work: it is the same one.
    if (atWork.size > 0) this.#count([...atWork]);
  }

  /** The server is healthy again: these runs go on. */
  resume(cut: readonly Cut[], isCrash: boolean, at: number): void {
    this.#cut = [];
    if (this.#context.policy.recover.afterRestart === 'none') {
      this.#queue = [];
      return;
    }
    const healthy = cut.filter(wasWell);
    if (isCrash) this.#enqueue(healthy.map((each) => ({ ...each, onlyIfOpen: false })));
    else for (const each of healthy) this.#continue({ ...each, onlyIfOpen: false }, 'restart', at);
    this.review(at);
  }

  restored(o: Extract<Observation, { kind: 'runs.restored' }>): void {
    this.#inARow = new Map(o.inARow);
    for (const fields of o.quarantined) {
      const session = this.#registry.enter(fields.sessionID, o.at);
      if (session === undefined) continue;
      this.#registry.learn(session, infoOf(fields));
      this.#quarantined.set(session.id, fields);
    }
    this.#found = o;
  }

  /** It is known which server runs. Where it is the one that the earlier daemon saw, nothing more was cut. */
  attached(o: Extract<Observation, { kind: 'server.attached' }>): void {
    const found = this.#found;
    this.#found = undefined;
    if (found === undefined) return;
    // Also where it was too busy to answer just now: its process is there.
    const isSame = o.pid !== undefined && o.pid === found.serverPid;
    if (this.#context.policy.recover.afterRestart === 'none') return;
    const restore = (run: RunAtWork): Waiting[] => {
      const session = this.#registry.enter(run.sessionID, o.at);
      if (session === undefined) return [];
      this.#registry.learn(session, infoOf(run));
      session.continues = Math.max(session.continues, run.count);
      const { model, agent, directory } = run;
      const was = newRun(o.at, directory);
      return [
        {
          session,
          run: { ...was, model, agent },
          health: 'busy',
          at: o.at,
          onlyIfOpen: true,
        },
      ];
    };
    this.#enqueue(found.runs.filter(({ waiting }) => waiting).flatMap(restore));
    if (isSame) return;
    const cut = found.runs.filter(({ waiting }) => !waiting).flatMap(restore);
    // Where no process is seen, the same server may serve on.
    const isGone = !o.running || (o.pid !== undefined && found.serverPid !== undefined);
    if (isGone && !found.wasStopped && cut.length > 0) {
      this.#count(cut.map(({ session }) => session));
    }
    this.#enqueue(cut);
  }

  /** Has the next one go on, where it is its turn. */
  review(at: number): void {
    const trial = this.#trial;
    if (trial !== undefined) {
      const doneAt = trial.since + (trial.began ? PROVEN_MS : UNTOLD_MS);
      if (at < doneAt) {
        this.#context.wakeAt(doneAt);
        return;
      }
      this.#trial = undefined;
    }
    if (!this.#context.canAct()) return;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      this.version += 1;
      if (!this.#continue(next, 'crash', at)) continue;
      this.#trial = { sessionID: next.session.id, since: at, began: false };
      this.#context.wakeAt(at + UNTOLD_MS);
      return;
    }
  }

  /** The executor reports whether the continued run has begun. True where it had come to its own end before. */
  continued(
    o: Extract<ActObservation, { kind: 'continue.done' | 'continue.failed' | 'continue.skipped' }>,
  ): boolean {
    const wasUnsure = this.#unsure.delete(o.sessionID);
    if (this.#trial?.sessionID === o.sessionID) {
      if (o.kind === 'continue.done') this.#trial = { ...this.#trial, since: o.at, began: true };
      else this.#trial = undefined;
      this.#context.wakeAt(o.at + 1);
    }
    return wasUnsure && o.kind === 'continue.failed' && o.superseded === true;
  }

  /** A step of the session has finished, and the server lives. */
  worked(sessionID: string, at: number): void {
    if (this.#inARow.delete(sessionID)) this.version += 1;
    this.#isOver(sessionID, at);
  }

  ended(sessionID: string, at: number): void {
    this.version += 1;
    this.#isOver(sessionID, at);
  }

  /** A person is back at the session: whatever was held against it is the person's to judge. */
  prompted(sessionID: string): void {
    if (this.#trial?.sessionID === sessionID) return;
    this.#leaveQueue(sessionID);
    if (this.#quarantined.delete(sessionID)) this.version += 1;
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
    // Who has been at work in fewer crashes comes first: what brings the server down comes last.
    this.#queue = [...this.#queue, ...more]
      .sort((a, b) => this.#crashesOf(a) - this.#crashesOf(b))
      .slice(0, MAX_AT_WORK);
    this.version += 1;
  }

  #crashesOf({ session }: Cut): number {
    return this.#inARow.get(session.id) ?? 0;
  }

  /** Those not at work were not there: their row is broken, unless they wait for their turn. */
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
      if (recover.afterRestart === 'none' || !isTooMany) continue;
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

  /** True where it was told to go on. */
  #continue(
    { session, run, at, onlyIfOpen }: Waiting,
    because: 'restart' | 'crash',
    now: number,
  ): boolean {
    const promptedSince = (session.lastPrompt?.at ?? at) > at;
    if (promptedSince || session.run !== undefined || this.#quarantined.has(session.id)) {
      return false;
    }
    // After a crash its turn may come much later: the transcript shows whether somebody has used the session meanwhile.
    const isLate = because === 'crash';
    const cutMessageID = isLate && !onlyIfOpen ? run.askedMessageID : undefined;
    const asksTranscript = onlyIfOpen || (isLate && cutMessageID === undefined);
    const way = { because, hasFailed: false, cutMessageID, onlyIfOpen: asksTranscript };
    const isTold = proceed(this.#context, session, run, way, now);
    if (isTold && isLate) this.#unsure.add(session.id);
    return isTold;
  }
}

/** A person is having it aborted. */
export function isUnwanted({ abortAskedBy, aborting }: Session): boolean {
  return abortAskedBy !== undefined || aborting?.reason === 'manual';
}

/** What was stuck, waited for a person or retried as it was cut is not continued for that. */
function wasWell({ health }: { health: Health }): boolean {
  return health === 'busy' || health === 'delegating';
}

function infoOf({ directory, title }: SessionFields): { directory?: string; title?: string } {
  return {
    ...(directory === undefined ? {} : { directory }),
    ...(title === undefined ? {} : { title }),
  };
}
