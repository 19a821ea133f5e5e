/**
 * Runs that were to go on after an abort (`recover.afterAbort`) when a pause began: nothing was sent. They go on when
 * the pause ends, unless somebody has used the session since.
 */
import type { ContinueAct } from '../decision.js';
import { tellToGoOn } from './recovery.js';
import type { Context } from './rule-context.js';
import type { Session } from './state.js';

export class LeftContinuations {
  readonly #context: Context;
  readonly #left = new Map<string, { session: Session; act: ContinueAct }>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** What the session was told last was not sent. Outside of a pause (`dryRun`) it never will be. */
  skipped(session: Session): void {
    const act = session.told;
    // After a crash or a restart, and for a quota, the runs wait where they waited before.
    if (act?.because !== 'abort' || !this.#context.isPaused()) return;
    session.continues -= 1;
    this.#left.set(session.id, { session, act });
  }

  /** Somebody uses the session, or wants it aborted. */
  usedBy(sessionID: string): void {
    this.#left.delete(sessionID);
  }

  /** The pause is over, and the server is healthy. */
  takeUp(): void {
    const { policy, isQuarantined } = this.#context;
    for (const { session, act } of this.#left.values()) {
      const isWanted = policy.recover.afterAbort !== 'none' && !isQuarantined(session.id);
      if (!isWanted || session.deleted || session.run !== undefined) continue;
      tellToGoOn(this.#context, session, act);
    }
    this.#left.clear();
  }
}
