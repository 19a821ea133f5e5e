/**
 * `npm run bench`: runs every measurement and prints one table. Names as arguments run only those. `npm run bench --
 * scale --minutes 2` shortens the longest one, `--api 2` plays it as OpenCode 2 does.
 */
import { parseArgs } from 'node:util';
import { abortReaction } from './abort-reaction.js';
import { driver } from './driver.js';
import { events } from './events.js';
import { type Row, table } from './figures.js';
import { freeze } from './freeze.js';
import { idle } from './idle.js';
import { ladder } from './ladder.js';
import { recovery } from './recovery.js';
import { scale } from './scale.js';

const { values, positionals: wanted } = parseArgs({
  options: { minutes: { type: 'string' }, api: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const minutes = Number(values.minutes ?? 10);
const api = values.api === '2' ? 2 : 1;

const MEASURES: Record<string, () => Row | Promise<Row | Row[]>> = {
  'abort-reaction': () => abortReaction(),
  recovery: async () => [await recovery(), ...(await ladder())],
  freeze: () => freeze(),
  driver: () => driver(),
  idle,
  events: () => events(),
  scale: () => scale({ minutes, api }),
};

const unknown = wanted.filter((name) => !(name in MEASURES));
const wrong =
  unknown.length > 0
    ? `no such measure: ${unknown.join(', ')} (there are ${Object.keys(MEASURES).join(', ')})`
    : !(minutes > 0)
      ? `--minutes must be a number above 0, not ${values.minutes}`
      : values.api !== String(api)
        ? `--api must be 1 or 2, not ${values.api}`
        : undefined;
if (wrong !== undefined) {
  console.error(wrong);
  process.exit(2);
}
const rows: Row[] = [];
for (const [name, measure] of Object.entries(MEASURES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.error(`measuring ${name} …`);
  rows.push(...[await measure()].flat());
}
console.log(table(rows));
