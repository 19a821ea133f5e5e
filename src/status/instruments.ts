/** Makes the metrics (prom-client's instruments), all in one registry and with one prefix. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

const PREFIX = 'opencode_watchdog_';

export class Instruments {
  readonly registry = new Registry();

  counter(name: string, help: string, labelNames: string[] = []): Counter {
    const registers = [this.registry];
    return new Counter({ name: `${PREFIX}${name}_total`, help, labelNames, registers });
  }

  /** @param buckets upper bounds, ascending */
  histogram(name: string, help: string, buckets: number[]): Histogram {
    const registers = [this.registry];
    return new Histogram({ name: `${PREFIX}${name}`, help, buckets, registers });
  }

  gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    const registers = [this.registry];
    return new Gauge({ name: `${PREFIX}${name}`, help, labelNames, registers });
  }

  /** A gauge that is read when it is scraped. */
  read(
    name: string,
    help: string,
    read: (gauge: Gauge) => void | Promise<void>,
    labelNames: string[] = [],
  ): void {
    new Gauge({
      name: `${PREFIX}${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        return read(this);
      },
    });
  }

  /** A counter whose value is kept elsewhere and read when it is scraped. */
  follow(
    name: string,
    help: string,
    read: (set: (labels: Record<string, string>, value: number) => void) => void,
    labelNames: string[] = [],
  ): void {
    new Counter({
      name: `${PREFIX}${name}_total`,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        // prom-client refuses to count down, and one refusal fails the whole scrape.
        read((labels, value) => this.inc(labels, Math.max(0, value)));
      },
    });
  }
}
