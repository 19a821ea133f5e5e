/** Imports run one way: no file leads back to itself, type-only imports included, and each room has its rule. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const SRC = join(ROOT, 'src');
const IMPORT = /\b(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)\.js'/g;
/** The top of the house: it may import every room, and no room may import it. */
const TOP: readonly string[] = ['commands'];

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join(SRC, file));
const imports = new Map(files.map((file) => [file, importsOf(file)]));

function importsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)]
    .map(([, path = '']) => join(dirname(file), `${path}.ts`))
    .filter((path) => existsSync(path));
}

/** The first circle that a walk along the imports finds, as the files on it. */
function circle(): string[] {
  const finished = new Set<string>();
  const walk = (file: string, above: readonly string[]): string[] => {
    if (above.includes(file)) return [...above.slice(above.indexOf(file)), file];
    if (finished.has(file)) return [];
    for (const next of imports.get(file) ?? []) {
      const found = walk(next, [...above, file]);
      if (found.length > 0) return found;
    }
    finished.add(file);
    return [];
  };
  for (const file of files) {
    const found = walk(file, []);
    if (found.length > 0) return found.map((path) => path.slice(SRC.length + 1));
  }
  return [];
}

it('no source file imports itself by way of others, for a type neither', () => {
  expect([...imports.values()].flat().length).toBeGreaterThan(files.length);
  expect(circle()).toEqual([]);
});

it('nothing outside of its folder knows the API of one version, but where it is chosen', () => {
  const CHOOSE = ['opencode/recognising-api.ts', 'opencode/recognising-driver-api.ts'];
  const VERSION = /^opencode\/v[12]\//;
  const short = (path: string) => path.slice(SRC.length + 1);
  const outside = files.filter((file) => !VERSION.test(short(file)));
  const knowing = outside.filter((file) =>
    imports.get(file)?.some((imported) => VERSION.test(short(imported))),
  );
  expect(knowing.map(short).sort()).toEqual(CHOOSE);
});

it('every folder of src has its import rule in biome.json, and none may import the top', () => {
  const { overrides } = JSON.parse(readFileSync(join(ROOT, 'biome.json'), 'utf8')) as {
    overrides: { includes: string[]; linter: { rules: unknown } }[];
  };
  const rules = new Map(overrides.map(({ includes, linter }) => [includes[0], linter.rules]));
  for (const room of readdirSync(SRC, { withFileTypes: true })) {
    if (!room.isDirectory() || TOP.includes(room.name)) continue;
    const rule = JSON.stringify(rules.get(`src/${room.name}/**`) ?? 'no rule');
    expect([room.name, rule]).toEqual([room.name, expect.stringContaining('**/commands/**')]);
  }
});

it('the library loads what it needs for the driver, and no web server and no metrics', () => {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const walk = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    // What is imported as a type alone is gone when it runs.
    const source = readFileSync(file, 'utf8').replaceAll(/^import type [^;]+;$/gm, '');
    for (const [, name = ''] of source.matchAll(/\bfrom '([@\w][^':]*)'/g)) packages.add(name);
    for (const next of importsOf(file)) walk(next);
  };
  walk(join(SRC, 'index.ts'));
  expect([...packages].sort()).toEqual(
    ['eventsource', 'fastest-levenshtein', 'ps-list', 'tree-kill', 'undici', 'zod'].sort(),
  );
});
