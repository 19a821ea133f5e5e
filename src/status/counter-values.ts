/** Plain numbers that metrics are made of when somebody asks for them. */

export type Labels = Readonly<Record<string, string>>;

/** What only grows, by labels. */
export class Count {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  readonly #series = new Map<string, { labels: Labels; value: number }>();

  constructor(name: string, help: string, labelNames: readonly string[] = []) {
    this.name = name;
    this.help = help;
    this.labelNames = labelNames;
  }

  add(labels: Labels = {}, by = 1): void {
    const key = this.labelNames.map((name) => labels[name]).join('\n');
    const known = this.#series.get(key);
    if (known === undefined) this.#series.set(key, { labels, value: by });
    else known.value += by;
  }

  get series(): Iterable<{ labels: Labels; value: number }> {
    return this.#series.values();
  }
}

/** How values are spread: a Prometheus histogram. */
export class Spread {
  readonly name: string;
  readonly help: string;
  /** Upper bounds, ascending. */
  readonly bounds: readonly number[];
  /** How many values are at most the bound of the same index. */
  readonly atMost: number[];
  sum = 0;
  count = 0;

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.bounds = bounds;
    this.atMost = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.count += 1;
    for (const [index, bound] of this.bounds.entries()) {
      if (value <= bound) this.atMost[index] = (this.atMost[index] ?? 0) + 1;
    }
  }
}
