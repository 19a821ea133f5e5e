/**
 * Puts the command and all that it imports into few files, in the place of the one that tsc made: what is loaded in a
 * hundred small files weighs 15 MB more in a running daemon. The library (`dist/index.js`) is left as tsc made it.
 */
import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');

rmSync(join(dist, 'bundle'), { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['src/cli.ts'],
  outdir: dist,
  chunkNames: 'bundle/[name]-[hash]',
  bundle: true,
  // Commands stay apart, each with what it alone needs.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.18',
  // Names stay, for the stack traces of reports.
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: true,
  sourcesContent: false,
  legalComments: 'none',
  metafile: true,
  // CommonJS packages ask for Node's own modules so.
  banner: {
    js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);",
  },
});

// `npx opencode-watchdog` in a clone runs the file itself.
chmodSync(join(dist, 'cli.js'), 0o755);

// Files of the status page, where the bundle looks for them: `./page/`.
cpSync(join(root, 'src/status/page'), join(dist, 'bundle/page'), { recursive: true });

// The licences of what is in the bundle go with it.
const packages = new Set(
  Object.keys(metafile.inputs)
    .map((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0])
    .filter((folder) => folder !== undefined),
);
const notices = [...packages].sort().map((folder) => {
  const from = join(root, folder);
  const { name, version, license } = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
  const file = readdirSync(from).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file === undefined ? `${license}\n` : readFileSync(join(from, file), 'utf8');
  return `${name} ${version}\n\n${text.trim()}\n`;
});
writeFileSync(join(dist, 'THIRD-PARTY-LICENSES.txt'), notices.join(`\n${'-'.repeat(80)}\n\n`));

// What tsc made of what is in the bundle, and is no part of the library: nothing would run it.
for (const folder of ['commands', 'status', 'telemetry/notify']) {
  rmSync(join(dist, folder), { recursive: true, force: true });
}
rmSync(join(dist, 'cli.d.ts'), { force: true });
