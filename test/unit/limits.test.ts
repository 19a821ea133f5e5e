/** docs/limits.md is what the code says; a constant named like a limit says what happens at it, or the page cannot be made. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { limitsPage } from '../../scripts/limits.js';

it('docs/limits.md has today’s constants (if not: npm run docs)', () => {
  const page = readFileSync(new URL('../../docs/limits.md', import.meta.url), 'utf8');
  expect(page).toBe(limitsPage());
});
