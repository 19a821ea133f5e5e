import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { updateConfigurationPage } from '../../../src/config/docs.js';

it('docs/configuration.md has the keys of today’s schema (if not: npm run docs)', () => {
  const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
  expect(updateConfigurationPage(page)).toBe(page);
});
