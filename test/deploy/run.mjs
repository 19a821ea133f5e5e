/** `npm run test:deploy [-- systemd image]`, or some groups as `systemd:pair,docs`: tries units and image for real, and says why where it cannot. */
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { summary } from './report.mjs';

/** What takes minutes to make (a root, images) is kept here from run to run. */
const lab = process.env.OPENCODE_WATCHDOG_LAB ?? join(tmpdir(), 'opencode-watchdog-lab');

const PARTS = {
  package: async () => (await import('./package.mjs')).packageOf(lab),
  systemd: async (only) => (await import('./systemd.mjs')).systemd(lab, only),
  image: async () => (await import('./image.mjs')).image(lab),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((word) => !(word.split(':')[0] in PARTS));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
mkdirSync(lab, { recursive: true });
for (const word of wanted.length > 0 ? wanted : Object.keys(PARTS)) {
  const [name, only] = word.split(':');
  await PARTS[name](only);
}
process.exitCode = summary();
