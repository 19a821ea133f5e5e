/** `npm run bench`: every measure in one run, one table at the end. Names as arguments run only those. */
import { abortReaction } from './abort-reaction.js';
import { busy } from './busy.js';
import { type Row, table } from './figures.js';
import { freeze } from './freeze.js';
import { idle } from './idle.js';
import { recovery } from './recovery.js';

const MEASURES: Record<string, () => Promise<Row>> = {
  'abort-reaction': () => abortReaction(),
  recovery: () => recovery(),
  freeze: () => freeze(),
  busy: () => busy(),
  idle,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in MEASURES));
if (unknown.length > 0) {
  console.error(
    `no such measure: ${unknown.join(', ')} (there are ${Object.keys(MEASURES).join(', ')})`,
  );
  process.exit(2);
}
const rows: Row[] = [];
for (const [name, measure] of Object.entries(MEASURES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.error(`measuring ${name} …`);
  rows.push(await measure());
}
console.log(table(rows));
