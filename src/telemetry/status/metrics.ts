/** The metrics, by Prometheus' conventions: the tally's, and those that are read when they are scraped. */
import { Instruments } from './instruments.js';
import { type ReadingsOptions, readings } from './readings.js';
import type { Tally } from './tally.js';

export class Metrics {
  readonly #make = new Instruments();

  constructor(tally: Tally, options: ReadingsOptions) {
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
    readings(this.#make, options);
  }

  get contentType(): string {
    return this.#make.registry.contentType;
  }

  text(): Promise<string> {
    return this.#make.registry.metrics();
  }
}
