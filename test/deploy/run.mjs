/** `npm run test:deploy [-- systemd image files]`: tries units, image and files for real; each skip names its reason. */
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { summary } from './report.mjs';

/** What takes minutes to make (a root, images) is kept here from run to run. */
const lab = process.env.OPENCODE_WATCHDOG_LAB ?? join(tmpdir(), 'opencode-watchdog-lab');

const PARTS = {
  systemd: async () => (await import('./systemd.mjs')).systemd(lab),
  image: async () => (await import('./image.mjs')).image(lab),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in PARTS));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
mkdirSync(lab, { recursive: true });
for (const name of wanted.length > 0 ? wanted : Object.keys(PARTS)) await PARTS[name]();
process.exitCode = summary();
