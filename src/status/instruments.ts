/** Makes the instruments, all of one registry and one prefix. */
import { Counter, Gauge, type Metric, Registry } from 'prom-client';
import type { Count, Spread } from './counter-values.js';

export class Instruments {
  readonly registry = new Registry();

  gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    const registers = [this.registry];
    return new Gauge({ name: `opencode_watchdog_${name}`, help, labelNames, registers });
  }

  /** A gauge that is read when it is scraped. */
  read(
    name: string,
    help: string,
    read: (gauge: Gauge) => void | Promise<void>,
    labelNames: string[] = [],
  ): void {
    new Gauge({
      name: `opencode_watchdog_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        return read(this);
      },
    });
  }

  /** A counter of something that counts by itself. */
  follow(
    name: string,
    help: string,
    read: (set: (labels: Record<string, string>, value: number) => void) => void,
    labelNames: string[] = [],
  ): void {
    new Counter({
      name: `opencode_watchdog_${name}_total`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  }

  count(count: Count): void {
    this.follow(
      count.name,
      count.help,
      (set) => {
        for (const { labels, value } of count.series) set(labels, value);
      },
      [...count.labelNames],
    );
  }

  /** prom-client's own histogram takes single values only; this one has been counting before it was loaded. */
  spread(spread: Spread): void {
    const name = `opencode_watchdog_${spread.name}`;
    const { help, bounds, atMost } = spread;
    const get = async () => ({
      name,
      help,
      type: 'histogram',
      values: [
        ...bounds.map((le, index) => ({
          metricName: `${name}_bucket`,
          labels: { le },
          value: atMost[index] ?? 0,
        })),
        { metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: spread.count },
        { metricName: `${name}_sum`, labels: {}, value: spread.sum },
        { metricName: `${name}_count`, labels: {}, value: spread.count },
      ],
    });
    // What a registry asks of a metric; its type asks for the whole class.
    this.registry.registerMetric({ name, help, type: 'histogram', get } as unknown as Metric);
  }
}
