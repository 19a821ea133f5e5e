/**
 * Failover (`recover.models`): which model a continued run uses while a provider fails.
 *
 * There is one breaker for each provider, shared by all sessions: what one session has learnt, the others need not
 * learn again. A model that has failed is out. If a second model of its provider fails, all models of that provider are
 * out. When a breaker has rested, one run at a time is sent to the model that was wanted first, as a probe: a finished
 * step closes the breaker, another failure makes it rest for twice as long.
 */

import { providerOf } from '../model-name.js';

/** Providers with a breaker. At the limit: the one that failed longest ago is forgotten. */
export const MAX_BREAKERS = 100;
/** If this many models of one provider fail, the provider itself is failing. */
const IS_PROVIDER = 2;
/** How long a breaker rests before the first probe, and at most, ms. The rest doubles after each probe that fails. */
export const FIRST_REST_MS = 2 * 60_000;
export const LONGEST_REST_MS = 30 * 60_000;
/** A probe whose end is never reported delays the next one by this long at most, ms. */
const PROBE_MS = 10 * 60_000;

interface Breaker {
  /** The models that have failed, `provider/model`. */
  readonly models: Set<string>;
  restMs: number;
  /** When the next probe may be made. */
  probeAt: number;
  probe: { sessionID: string; since: number; isOver: boolean } | undefined;
}

export class Failover {
  /** By provider; the one that failed last is at the end. */
  readonly #breakers = new Map<string, Breaker>();

  /**
   * A run of this session ended because its provider fails. `backAt`: when the provider says that it will be back, if
   * it says so.
   */
  failed(model: string, sessionID: string, at: number, backAt?: number): void {
    const provider = providerOf(model);
    const known = this.#breakers.get(provider);
    // Another run may have been sent before the breaker opened: its failure says nothing about the probe.
    const wasProbe = known?.probe?.sessionID === sessionID;
    const restMs = wasProbe
      ? Math.min(LONGEST_REST_MS, known.restMs * 2)
      : (known?.restMs ?? FIRST_REST_MS);
    this.#breakers.delete(provider);
    this.#breakers.set(provider, {
      models: new Set([...(known?.models ?? []), model]),
      restMs,
      probeAt: Math.max(at + restMs, backAt ?? 0),
      probe: wasProbe ? undefined : known?.probe,
    });
    if (this.#breakers.size <= MAX_BREAKERS) return;
    const [oldest] = this.#breakers.keys();
    if (oldest !== undefined) this.#breakers.delete(oldest);
  }

  /** A step has finished on this model, so it answers. */
  worked(model: string): void {
    const breaker = this.#breakers.get(providerOf(model));
    if (breaker?.models.delete(model) !== true) return;
    breaker.probe = undefined;
    if (breaker.models.size === 0) this.#breakers.delete(providerOf(model));
  }

  /** The run is over. If it was a probe that neither worked nor failed, the next run may be a probe. */
  runOver(sessionID: string): void {
    for (const breaker of this.#breakers.values()) {
      if (breaker.probe?.sessionID === sessionID) breaker.probe.isOver = true;
    }
  }

  /** The first of the models that may be asked now; undefined if all are out. */
  choose(models: readonly string[], sessionID: string, at: number): string | undefined {
    for (const model of models) {
      const breaker = this.#breakers.get(providerOf(model));
      if (breaker === undefined || !isOut(breaker, model)) return model;
      const { probe } = breaker;
      const isProbed = probe !== undefined && !probe.isOver && at - probe.since < PROBE_MS;
      if (at < breaker.probeAt || isProbed) continue;
      breaker.probe = { sessionID, since: at, isOver: false };
      return model;
    }
    return undefined;
  }
}

function isOut({ models }: Breaker, model: string): boolean {
  return models.has(model) || models.size >= IS_PROVIDER;
}
