/** Medians and their like, and how results are printed. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export const worst = (values: readonly number[]): number => Math.max(...values);

export const ms = (value: number): string =>
  value < 100 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;

export interface Row {
  measure: string;
  result: string;
  against: string;
  ratio: string;
  goal: string;
}

export function table(rows: readonly Row[]): string {
  const head: Row = {
    measure: 'measure',
    result: 'watchdog',
    against: 'against',
    ratio: 'ratio',
    goal: 'to reach',
  };
  const line = (row: Row) =>
    `| ${row.measure} | ${row.result} | ${row.against} | ${row.ratio} | ${row.goal} |`;
  return [line(head), '| --- | --- | --- | --- | --- |', ...rows.map(line)].join('\n');
}
