/**
 * Provider outages: sessions end badly one after the other on the same model, whatever is done about them.
 *
 * A first pile-up may be the server's fault, and a restart is the answer to it. If `pileup.minSessions` sessions have
 * ended badly within `pileup.rest`, and a session that began to retry *after that* does no better, neither aborts nor a
 * restart have helped: the fault is the provider's. That is reported once, and no pile-up restarts are made for it
 * until a step finishes on the model.
 */
import type { Decision } from '../decision.js';
import { splitModelName } from '../model-name.js';
import type { Policy } from '../policy.js';
import type { Run } from '../session/state.js';

/**
 * Models remembered with their failures. At the limit: the model known longest that is not reported as out is
 * forgotten; if all are out, the model known longest.
 */
export const MAX_MODELS = 200;
/**
 * Sessions remembered that ended badly on one model. A handful is enough to decide. At the limit: the oldest is
 * forgotten.
 */
export const MAX_ENDED = 1_000;

interface FailingModel {
  /** When each session last ended badly on it, oldest first. */
  readonly ended: Map<string, number>;
  /** Since when the model is reported as out. */
  outSince: number | undefined;
}

export class ProviderOutages {
  readonly #policy: Policy['pileup'];
  readonly #emit: (decision: Decision) => void;
  readonly #models = new Map<string, FailingModel>();

  constructor(policy: Policy['pileup'], emit: (decision: Decision) => void) {
    this.#policy = policy;
    this.#emit = emit;
  }

  /** Whether the run's model is reported as out. */
  isOut(run: Run): boolean {
    return run.model !== undefined && this.#models.get(run.model)?.outSince !== undefined;
  }

  /** A run was aborted for a failing provider, gave up, or was cut by a pile-up restart while it was retrying. */
  endedBadly(sessionID: string, run: Run, at: number): void {
    if (run.model === undefined) return;
    const model = this.#models.get(run.model) ?? this.#enter(run.model);
    // Entered again at the end, so that the oldest stay first.
    model.ended.delete(sessionID);
    model.ended.set(sessionID, at);
    if (model.ended.size > MAX_ENDED) forgetFirst(model.ended);
    this.#prune(model, at);
  }

  /** A session is in retry: another one, or the same one in another run. */
  retrying(sessionID: string, run: Run, at: number): void {
    const { model: name, episode } = run;
    const model = name === undefined ? undefined : this.#models.get(name);
    if (name === undefined || model === undefined || episode === undefined) return;
    if (model.outSince !== undefined) return;
    this.#prune(model, at);
    const before = [...model.ended.values()].filter((ended) => ended <= episode.startedAt);
    if (before.length < this.#policy.minSessions) return;
    model.outSince = at;
    this.#emit({
      note: 'provider.outage',
      ...splitModelName(name),
      sessions: new Set([...model.ended.keys(), sessionID]).size,
      message: episode.message,
    });
  }

  /** The provider answers, so the model's failures are forgotten. */
  stepFinished(run: Run, at: number): void {
    const model = run.model === undefined ? undefined : this.#models.get(run.model);
    if (run.model === undefined || model === undefined) return;
    this.#models.delete(run.model);
    if (model.outSince === undefined) return;
    this.#emit({
      note: 'provider.back',
      ...splitModelName(run.model),
      outageMs: at - model.outSince,
    });
  }

  #enter(name: string): FailingModel {
    if (this.#models.size >= MAX_MODELS) this.#makeRoom();
    const model: FailingModel = { ended: new Map(), outSince: undefined };
    this.#models.set(name, model);
    return model;
  }

  #makeRoom(): void {
    for (const [known, { outSince }] of this.#models) {
      if (outSince !== undefined) continue;
      this.#models.delete(known);
      return;
    }
    forgetFirst(this.#models);
  }

  #prune(model: FailingModel, at: number): void {
    for (const [sessionID, ended] of model.ended) {
      if (at - ended < this.#policy.rest) break;
      model.ended.delete(sessionID);
    }
  }
}

function forgetFirst<T>(map: Map<string, T>): void {
  const [first] = map.keys();
  if (first !== undefined) map.delete(first);
}
