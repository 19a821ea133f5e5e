/**
 * Bundles the command and the library, each with what it imports, into few files. Loaded as a hundred small files, they
 * would cost a running daemon 15 MB more, and what is bundled need not be installed again. tsc then adds the library's
 * types.
 */
import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/**
 * A package that few starts need is loaded by `createRequire(import.meta.url)('name')`. esbuild leaves that call alone,
 * so the package would be missing where nothing is installed. As `require('name')` the package is bundled, and still
 * loaded only by the call.
 */
const lazyPackages = {
  name: 'lazy-packages',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const contents = readFileSync(path, 'utf8').replaceAll(
        'createRequire(import.meta.url)(',
        'require(',
      );
      if (!contents.includes('createRequire(')) return { contents, loader: 'ts' };
      throw new Error("load a package in one expression: createRequire(import.meta.url)('name')");
    });
  },
};

const common = {
  absWorkingDir: root,
  outdir: dist,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.18',
  // Names are kept, for the stack traces in reports.
  minifyWhitespace: true,
  minifySyntax: true,
  sourcemap: true,
  sourcesContent: false,
  legalComments: 'none',
  metafile: true,
  plugins: [lazyPackages],
  // CommonJS packages load Node's own modules with `require`, and ask for their own place.
  banner: {
    js: "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url),__filename=import.meta.filename;",
  },
};

rmSync(dist, { recursive: true, force: true });
const command = await build({
  ...common,
  entryPoints: ['src/cli.ts'],
  chunkNames: 'bundle/[name]-[hash]',
  // Each command stays in files of its own, with what only it needs.
  splitting: true,
});
const library = await build({
  ...common,
  entryPoints: ['src/index.ts'],
  // A program that uses one of these packages itself then has it only once.
  external: Object.keys(dependencies),
});

// `npx opencode-watchdog` in a clone runs the file itself.
chmodSync(join(dist, 'cli.js'), 0o755);

// The files of the status page go where the bundle looks for them: `./page/`.
cpSync(join(root, 'src/status/page'), join(dist, 'bundle/page'), { recursive: true });

// The licences of what is in the bundle go with it.
const packages = new Set(
  [command, library]
    .flatMap(({ metafile }) => Object.keys(metafile.inputs))
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
