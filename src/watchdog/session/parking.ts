/**
 * Parked runs (`recover.afterQuota`, off by default): a run that ended because its quota is spent waits for the time at
 * which its provider says that the quota is back, and is continued then.
 *
 * At first only one run of each provider is tried. When it has worked, the others follow a few at a time. A run is let
 * go after `recover.maxPark`, and as soon as somebody uses its session: a session that somebody uses is never prompted.
 */
import type { ParkedEnd, SessionFields } from '../decision.js';
import { providerOf } from '../model-name.js';
import type { ActObservation, Observation, ParkedRun } from '../observation.js';
import type { SessionRegistry } from './registry.js';
import type { Context } from './rule-context.js';
import { fieldsOf, type Run, type Session } from './state.js';

/** Runs that wait for their quota. At the limit: the next one is not parked. */
export const MAX_PARKED = 500;
/** Runs of one provider that are continued at a time until the first has worked. */
const FIRST = 1;
/** Runs of one provider that are continued at a time once the first has worked. At the limit: the rest wait. */
const MAX_AT_ONCE = 3;
/** Providers round their times. A run that is continued this much later (ms) loses nothing. */
const AFTER_ITS_TIME_MS = 5_000;
/** A prompt that the server did not take is sent again after this many ms. */
const AGAIN_MS = 60_000;
/** How often such a prompt is sent in all. */
const TRIES = 3;
/** The proof of an abort follows the end of its run within this time, ms. */
const PROOF_MS = 10_000;

interface Parked extends Omit<ParkedRun, 'inMs' | 'forMs'> {
  parkedAt: number;
  /** When its quota is back. */
  until: number;
  phase: 'waits' | 'asked';
  tries: number;
}

interface Trial {
  parked: Parked;
  since: number;
  /** When its run ended. Whether it is parked again is known with the proof of its abort. */
  overAt?: number;
}

export class Parking {
  readonly #context: Context;
  readonly #registry: SessionRegistry;
  readonly #parked = new Map<string, Parked>();
  /** Runs that were continued, and of which no step has finished yet. */
  readonly #trying = new Map<string, Trial>();
  /** Providers whose first continued run has worked. */
  readonly #works = new Set<string>();
  /** Changes whenever something changes that must be kept on disk. */
  version = 0;

  constructor(context: Context, registry: SessionRegistry) {
    this.#context = context;
    this.#registry = registry;
  }

  /** The runs that wait, with their times, for the disk and for people. */
  list(at: number): ParkedRun[] {
    return [...this.#parked.values()].map(({ parkedAt, until, phase: _, tries: __, ...run }) => ({
      ...run,
      inMs: until - at,
      forMs: at - parkedAt,
    }));
  }

  /** Returns true if the run waits now. `until`: when its quota is back. */
  park(session: Session, run: Run, until: number, at: number): boolean {
    const { recover } = this.#context.policy;
    // The run that was parked here has begun and failed again before the executor could report it.
    const asked = this.#parked.get(session.id);
    const before = asked ?? this.#trying.get(session.id)?.parked;
    const parkedAt = before?.parkedAt ?? at;
    if (asked !== undefined) this.#end(asked, 'continued');
    if (recover.afterQuota === 'none' || until - parkedAt > recover.maxPark) return false;
    if (session.continues >= recover.maxPerSession || this.#parked.size >= MAX_PARKED) return false;
    const { model, agent, askedMessageID, askedBeforeGap } = run;
    // A newer message would look like somebody else's use of the session, and may be the run's own.
    const lastMessageID = askedBeforeGap ? undefined : askedMessageID;
    const directory = run.directory ?? session.info.directory;
    const parked: Parked = {
      ...fieldsOf(session),
      ...(directory === undefined ? {} : { directory }),
      ...(model === undefined ? {} : { model }),
      ...(agent === undefined ? {} : { agent }),
      ...(lastMessageID === undefined ? {} : { lastMessageID }),
      count: session.continues,
      parkedAt,
      until,
      phase: 'waits',
      tries: 0,
    };
    this.#trying.delete(session.id);
    this.#parked.set(session.id, parked);
    this.version += 1;
    // A quota belongs to a provider: what it says to one run holds for all.
    this.#works.delete(providerOf(parked.model));
    for (const other of this.#parked.values()) {
      if (other.phase === 'waits' && providerOf(other.model) === providerOf(parked.model)) {
        other.until = Math.max(other.until, until);
      }
    }
    this.#context.emit({ note: 'session.parked', ...this.#fields(parked), untilInMs: until - at });
    this.#context.wakeAt(Math.max(at + 1, until + AFTER_ITS_TIME_MS));
    return true;
  }

  /** What an earlier daemon had parked. */
  restored({ runs, at }: Extract<Observation, { kind: 'parked.restored' }>): void {
    for (const { inMs, forMs, ...run } of runs) {
      if (this.#parked.size >= MAX_PARKED) break;
      const session = this.#registry.enter(run.sessionID, at);
      if (session === undefined) continue;
      session.continues = Math.max(session.continues, run.count);
      const { directory, title } = run;
      this.#registry.learn(session, {
        ...(directory === undefined ? {} : { directory }),
        ...(title === undefined ? {} : { title }),
      });
      const parked: Parked = {
        ...run,
        parkedAt: at - forMs,
        until: at + inMs,
        phase: 'waits',
        tries: 0,
      };
      this.#parked.set(run.sessionID, parked);
      this.#context.emit({ note: 'session.parked', ...this.#fields(parked), untilInMs: inMs });
      this.#context.wakeAt(Math.max(at + 1, parked.until + AFTER_ITS_TIME_MS));
    }
    this.version += 1;
  }

  /** The wall clock went on while the daemon did not run. */
  gap(ms: number): void {
    for (const parked of this.#parked.values()) {
      parked.until -= ms;
      parked.parkedAt -= ms;
    }
  }

  /** Continues the runs that are due, and lets go of those that have waited too long. */
  review(at: number): void {
    if (this.#parked.size === 0) return;
    const { recover } = this.#context.policy;
    for (const parked of [...this.#parked.values()]) {
      if (parked.phase !== 'waits') continue;
      const lastAt = parked.parkedAt + recover.maxPark + AFTER_ITS_TIME_MS + AGAIN_MS;
      if (at >= lastAt || recover.afterQuota === 'none') {
        this.#end(parked, 'let_go');
        continue;
      }
      const dueAt = parked.until + AFTER_ITS_TIME_MS;
      if (at < dueAt) {
        this.#context.wakeAt(Math.min(dueAt, lastAt));
      } else if (this.#mayContinue(parked, at)) {
        this.#continue(parked);
      } else this.#context.wakeAt(Math.min(lastAt, at + AGAIN_MS));
    }
  }

  /** The executor reports whether the continued run has begun. Returns true if it was a parked one. */
  continued(
    o: Extract<ActObservation, { kind: 'continue.done' | 'continue.failed' | 'continue.skipped' }>,
  ): boolean {
    const parked = this.#parked.get(o.sessionID);
    if (parked?.phase !== 'asked') return false;
    if (o.kind === 'continue.done') {
      this.#trying.set(o.sessionID, { parked, since: o.at });
      this.#end(parked, 'continued');
    } else if (o.kind === 'continue.skipped' && this.#context.isPaused()) {
      // Nothing was sent: it waits for the end of the pause.
      parked.phase = 'waits';
    } else if (o.kind === 'continue.failed' && o.superseded) this.#end(parked, 'superseded');
    else if (o.kind === 'continue.skipped' || parked.tries >= TRIES) this.#end(parked, 'let_go');
    else {
      parked.phase = 'waits';
      parked.until = o.at + AGAIN_MS - AFTER_ITS_TIME_MS;
      this.#context.wakeAt(o.at + AGAIN_MS);
    }
    return true;
  }

  /**
   * Somebody uses the session, deletes it or wants it aborted. A prompt or a run that comes while we have asked it to go
   * on may be our own, so it does not count.
   */
  usedBy(sessionID: string, end: Exclude<ParkedEnd, 'continued'>): void {
    const parked = this.#parked.get(sessionID);
    if (parked === undefined || (parked.phase === 'asked' && end === 'superseded')) return;
    this.#end(parked, end);
  }

  /** A step of the session has finished. If it was a trial, the provider works. */
  worked(sessionID: string): void {
    const trial = this.#trying.get(sessionID);
    if (trial === undefined) return;
    this.#trying.delete(sessionID);
    this.#works.add(providerOf(trial.parked.model));
  }

  /** Its run is over, and its trial soon will be. If the run failed again, it is parked again first. */
  ended(sessionID: string, at: number): void {
    const trial = this.#trying.get(sessionID);
    if (trial === undefined || trial.overAt !== undefined) return;
    trial.overAt = at;
    this.#context.wakeAt(at + PROOF_MS);
  }

  /** An earlier prompt to go on must have been answered first: no session is prompted twice. */
  #mayContinue(parked: Parked, at: number): boolean {
    const isUnderWay = this.#registry.find(parked.sessionID)?.continuing !== undefined;
    return this.#context.canAct() && !isUnderWay && this.#mayTry(providerOf(parked.model), at);
  }

  #mayTry(provider: string, at: number): boolean {
    const asked = [...this.#parked.values()].filter(({ phase }) => phase === 'asked');
    for (const [sessionID, { since, overAt }] of this.#trying) {
      // A trial whose beginning and end were not heard must not hold up the others for ever.
      const isLost = at - since >= AGAIN_MS && !this.#registry.find(sessionID)?.run;
      if (overAt === undefined ? isLost : at - overAt >= PROOF_MS) this.#trying.delete(sessionID);
    }
    const trying = [...this.#trying.values()];
    const trials = [...asked, ...trying.map(({ parked }) => parked)].filter(
      (each) => providerOf(each.model) === provider,
    );
    return trials.length < (this.#works.has(provider) ? MAX_AT_ONCE : FIRST);
  }

  #continue(parked: Parked): void {
    const { sessionID, directory, model, agent, lastMessageID } = parked;
    const session = this.#registry.find(sessionID);
    parked.phase = 'asked';
    if (parked.tries === 0) parked.count += 1;
    parked.tries += 1;
    if (session !== undefined) {
      session.continues = Math.max(session.continues, parked.count);
      session.lastAbort = undefined;
      session.continuing = 'told';
    }
    this.version += 1;
    this.#context.emit({
      act: 'continue',
      because: 'quota',
      sessionID,
      directory,
      ...(model === undefined ? {} : { model }),
      ...(agent === undefined ? {} : { agent }),
      ...(lastMessageID === undefined ? {} : { lastMessageID }),
      count: parked.count,
    });
  }

  #end(parked: Parked, outcome: ParkedEnd): void {
    this.#parked.delete(parked.sessionID);
    this.version += 1;
    this.#context.emit({ note: 'session.unparked', ...this.#fields(parked), outcome });
  }

  #fields({ sessionID, directory, title, parentID }: Parked): SessionFields {
    const session = this.#registry.find(sessionID);
    if (session !== undefined) return fieldsOf(session);
    return {
      sessionID,
      ...(directory === undefined ? {} : { directory }),
      ...(title === undefined ? {} : { title }),
      ...(parentID === undefined ? {} : { parentID }),
    };
  }
}
