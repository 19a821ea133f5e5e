/**
 * What must always hold of the ways back, by the simulation's own truth. No run is continued that ended by itself or
 * that a person ended, and no quarantined session is continued. A parked run has one end, for a reason.
 */
import type { Note } from '../../../src/watchdog/decision.js';
import type { SimSession, Simulation } from './simulation.js';

/** How many prompts for one parked run may start no run. */
const TRIES = 3;
const UNDONE: ReadonlySet<string> = new Set(['abort.failed', 'abort.withdrawn', 'abort.skipped']);

export class WaysBackTruth {
  readonly #sim: Simulation;
  /** Since when each is parked, and how often it was continued. `isSaid`: the present daemon has reported it. */
  readonly #parked = new Map<string, { since: number; tries: number; isSaid: boolean }>();
  readonly #quarantinedAt = new Map<string, number>();
  /** Counts of what happened, so that a test can check that its histories contain it. */
  readonly seen: Record<string, number> = {};

  constructor(sim: Simulation) {
    this.#sim = sim;
    sim.onNote = (note) => this.#noted(note);
    sim.onContinued = (session) => this.#continued(session);
  }

  nextDaemon(): void {
    this.#count('daemon');
    for (const parked of this.#parked.values()) parked.isSaid = false;
    // Whoever had asked the old daemon for an abort was told that it went away, and sees the run go on.
    for (const session of this.#sim.sessions.values()) {
      if (session.status.type !== 'idle') session.unwantedSince = undefined;
    }
  }

  /**
   * A parked run is continued. If the watchdog had heard of the person's new prompt before, it must have left the run
   * alone.
   */
  told(sessionID: string): void {
    const parked = this.#parked.get(sessionID);
    const { now, observed } = this.#sim;
    if (parked === undefined) throw new Error(`${sessionID} is not parked, at ${now}`);
    const isHeard = observed.some(
      (o) => o.kind === 'session.prompted' && o.sessionID === sessionID && o.at > parked.since,
    );
    if (parked.tries === 0 && isHeard) {
      throw new Error(`${sessionID} is told to go on at ${now}, and its person was heard`);
    }
    parked.tries += 1;
  }

  /** The watchdog's parked runs must be exactly those that were reported. */
  finish(): void {
    const known = this.#sim.watchdog.parked(this.#sim.now).map(({ sessionID }) => sessionID);
    const said = [...this.#parked.keys()];
    if (known.sort().join() === said.sort().join()) return;
    throw new Error(`parked are said to be ${said.join()}, and there are ${known.join()}`);
  }

  #noted(note: Note): void {
    const { now } = this.#sim;
    switch (note.note) {
      case 'session.parked': {
        const parked = this.#parked.get(note.sessionID);
        if (parked?.isSaid) throw new Error(`${note.sessionID} is parked twice, at ${now}`);
        if (parked) parked.isSaid = true;
        else this.#parked.set(note.sessionID, { since: now, tries: 0, isSaid: true });
        this.#count('parked');
        return;
      }
      case 'session.unparked':
        this.#unparked(note);
        return;
      case 'act.done': {
        const session = this.#sim.sessions.get(note.sessionID);
        // The person was told at once that it did not work: the server was down or being restarted.
        if (session && note.outcome === 'failed') session.unwantedSince = undefined;
        return;
      }
      case 'session.quarantined': {
        const { diedUnder = 0 } = this.#sim.sessions.get(note.sessionID) ?? {};
        const { quarantineAfter } = this.#sim.history.policy.recover;
        if (diedUnder < quarantineAfter) {
          throw new Error(`${note.sessionID} is quarantined after ${diedUnder} ends, at ${now}`);
        }
        this.#quarantinedAt.set(note.sessionID, now);
        this.#count('quarantined');
      }
    }
  }

  #unparked({ sessionID, outcome }: Extract<Note, { note: 'session.unparked' }>): void {
    const { now, sessions, observed, history } = this.#sim;
    const parked = this.#parked.get(sessionID);
    const session = sessions.get(sessionID);
    if (parked === undefined || session === undefined) {
      throw new Error(`${sessionID} waits no more and was not parked, at ${now}`);
    }
    this.#parked.delete(sessionID);
    this.#count(outcome);
    const { since, tries } = parked;
    const wasObserved = (kind: 'abort.requested' | 'continue.skipped') =>
      observed.some((o) => o.kind === kind && o.sessionID === sessionID && o.at >= since);
    const isRight = {
      continued: session.continuedAt >= since,
      // The person may have been quicker than the note, and their prompt was heard after it. The run may have been
      // quicker than its abort, too.
      superseded:
        session.endedBy === 'itself' ||
        Math.max(session.continuedAt, session.personAt, this.#newsAt(sessionID)) >= since,
      let_go:
        session.deleted ||
        tries >= TRIES ||
        now - since >= history.policy.recover.maxPark ||
        wasObserved('abort.requested') ||
        wasObserved('continue.skipped'),
    };
    if (!isRight[outcome]) throw new Error(`${sessionID} is said to be ${outcome}, at ${now}`);
  }

  /** When the last new prompt of the session was heard. A known one that comes again is no news. */
  #newsAt(sessionID: string): number {
    const known = new Set<string>();
    let newsAt = Number.NEGATIVE_INFINITY;
    for (const o of this.#sim.observed) {
      if (o.kind !== 'session.prompted' || o.sessionID !== sessionID) continue;
      if (!known.has(o.messageID)) newsAt = o.at;
      known.add(o.messageID);
    }
    return newsAt;
  }

  #continued({ id, endedBy, parentID, personAt, unwantedSince }: SimSession): void {
    const { now, observed } = this.#sim;
    // The person was told if their abort did not work, so it no longer counts.
    const isUnwanted =
      unwantedSince !== undefined &&
      !observed.some(
        (o) =>
          o.at >= unwantedSince && UNDONE.has(o.kind) && 'sessionID' in o && o.sessionID === id,
      );
    const quarantinedAt = this.#quarantinedAt.get(id) ?? Number.NEGATIVE_INFINITY;
    const why =
      endedBy === undefined
        ? 'it runs'
        : endedBy === 'itself' || endedBy === 'person'
          ? `its last run was ended by ${endedBy}`
          : parentID !== undefined
            ? 'it is a subagent'
            : personAt < quarantinedAt
              ? 'it is quarantined'
              : isUnwanted
                ? 'a person wanted it aborted'
                : undefined;
    if (why !== undefined) throw new Error(`${id} is continued at ${now}, and ${why}`);
    this.#count(`continued after ${endedBy}`);
  }

  #count(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1;
  }
}
