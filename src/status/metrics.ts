/** The metrics, by Prometheus' conventions: the tally's, and those that are read when they are scraped. */

import { type CollectorOptions, collectors } from './collectors.js';
import type { EventCounters } from './counters.js';
import { Instruments } from './instruments.js';

export class Metrics {
  readonly #make = new Instruments();

  constructor(tally: EventCounters, options: CollectorOptions) {
    for (const count of tally.counts) this.#make.count(count);
    this.#make.read(
      'provider_outage',
      'Whether a provider is failing now.',
      (gauge) => {
        for (const [provider, fails] of tally.outage) gauge.set({ provider }, fails ? 1 : 0);
      },
      ['provider'],
    );
    for (const spread of tally.spreads) this.#make.spread(spread);
    collectors(this.#make, options);
  }

  get contentType(): string {
    return this.#make.registry.contentType;
  }

  text(): Promise<string> {
    return this.#make.registry.metrics();
  }
}
