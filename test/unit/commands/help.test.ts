/** `--help`: every command has its group and its example. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { EXAMPLES, examplesOf, GROUPS, groupOf } from '../../../src/commands/help.js';

const commands = [
  ...readFileSync(new URL('../../../src/cli.ts', import.meta.url), 'utf8').matchAll(
    /^ {4}name: '(\w+)',$/gm,
  ),
].map(([, name]) => name!);

it('every command is in one group', () => {
  expect(commands.length).toBeGreaterThan(20);
  expect(Object.values(GROUPS).flat().sort()).toEqual([...commands].sort());
  for (const name of commands) expect(groupOf(name)).toMatch(/:$/);
});

it('examples name commands that there are, and fit a wide terminal', () => {
  for (const name of Object.keys(EXAMPLES)) {
    for (const [words] of EXAMPLES[name] ?? []) {
      expect(['', 'help', ...commands]).toContain(words.split(' ')[0]);
    }
    for (const line of examplesOf(name).split('\n')) expect(line.length).toBeLessThan(120);
  }
  expect(examplesOf('pause')).toBe('');
});
