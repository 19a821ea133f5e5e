/** docs/limits.md is what the code says, names tests that are there, and leaves out no limit. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { NO_LIMITS, SECTIONS } from '../../scripts/limits.js';
import { limitsPage } from '../../scripts/limits-page.js';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');
const limits = SECTIONS.flatMap((section) => section.limits);

it('docs/limits.md has today’s constants (if not: npm run docs)', async () => {
  expect(read('docs/limits.md')).toBe(await limitsPage());
});

it('every limit names a test that is there, and no limit is named twice', () => {
  const names = limits.map(([, [file, name]]) => `${file} ${name}`);
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
  for (const [what, , , , test] of limits) {
    expect([what, existsSync(new URL(`test/${test}`, ROOT))]).toEqual([what, true]);
  }
});

it('every constant that is named like a limit is on the page, or on the list of those that are none', () => {
  const listed = new Set([
    ...limits.map(([, [file, name]]) => `${file} ${name.split('.')[0]}`),
    ...NO_LIMITS,
  ]);
  const files = readdirSync(new URL('src/', ROOT), { recursive: true, encoding: 'utf8' });
  const found = files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) =>
      [...read(`src/${file}`).matchAll(/^(?:export )?const (MAX_\w+|KEPT\w*|BOUNDS|\w*LIMITS)\b/gm)]
        .map(([, name = '']) => `${file} ${name}`)
        // Times are no sizes.
        .filter((name) => !name.endsWith('_MS')),
    );
  expect(found.length).toBeGreaterThan(80);
  expect(found.filter((name) => !listed.has(name))).toEqual([]);
  expect(NO_LIMITS.filter((name) => !found.includes(name))).toEqual([]);
});
