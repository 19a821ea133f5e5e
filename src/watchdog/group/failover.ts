/**
 * Failover (`recover.models`): which model a continued run goes on with, while a provider fails.
 *
 * One breaker a provider, for all sessions: what one has learnt, the others need not learn again. A model that failed is
 * out; where a second one of its provider fails, all of them are. When a breaker has rested, one run at a time is sent
 * to the model that was wanted first, as a probe: a finished step closes it, another failure has it rest for twice as
 * long.
 */

import { splitModelName } from '../model-name.js';

/** Providers with a breaker. At the limit: the one that failed longest ago is forgotten. */
export const MAX_BREAKERS = 100;
/** From this many failing models of one provider on, it is the provider. */
const IS_PROVIDER = 2;
/** How long a breaker rests before the first probe, and at most, ms; doubling from one to the other. */
export const FIRST_REST_MS = 2 * 60_000;
export const LONGEST_REST_MS = 30 * 60_000;
/** A probe whose end is not told does not hold up the next for longer than this, ms. */
const PROBE_MS = 10 * 60_000;

interface Breaker {
  /** Those that have failed, `provider/model`. */
  readonly models: Set<string>;
  restMs: number;
  /** A probe may be made from then on. */
  probeAt: number;
  probe: { sessionID: string; since: number; isOver: boolean } | undefined;
}

export class Failover {
  /** By provider; the one that failed last is at the end. */
  readonly #breakers = new Map<string, Breaker>();

  /** A run ended because its provider fails. `backAt`: when it says that it is back, where it does. */
  failed(model: string, at: number, backAt?: number): void {
    const provider = providerOf(model);
    const known = this.#breakers.get(provider);
    const wasProbe = known?.probe !== undefined;
    const restMs = wasProbe
      ? Math.min(LONGEST_REST_MS, known.restMs * 2)
      : (known?.restMs ?? FIRST_REST_MS);
    this.#breakers.delete(provider);
    this.#breakers.set(provider, {
      models: new Set([...(known?.models ?? []), model]),
      restMs,
      probeAt: Math.max(at + restMs, backAt ?? 0),
      probe: undefined,
    });
    if (this.#breakers.size <= MAX_BREAKERS) return;
    const [oldest] = this.#breakers.keys();
    if (oldest !== undefined) this.#breakers.delete(oldest);
  }

  /** A step has finished on it: the model answers. */
  worked(model: string): void {
    const breaker = this.#breakers.get(providerOf(model));
    if (breaker?.models.delete(model) !== true) return;
    breaker.probe = undefined;
    if (breaker.models.size === 0) this.#breakers.delete(providerOf(model));
  }

  /** The run is over; where it was a probe that neither worked nor failed, the next may be one. */
  runOver(sessionID: string): void {
    for (const breaker of this.#breakers.values()) {
      if (breaker.probe?.sessionID === sessionID) breaker.probe.isOver = true;
    }
  }

  /** The first of them that may be asked now; undefined where all are out. */
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

const providerOf = (model: string) => splitModelName(model).provider;

function isOut({ models }: Breaker, model: string): boolean {
  return models.has(model) || models.size >= IS_PROVIDER;
}
