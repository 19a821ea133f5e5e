/** The documents name only commands and options that there are, and link only to pages and pictures that there are. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'skills/opencode-driver/SKILL.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

const cli = read('src/cli.ts');
const COMMANDS = new Set([
  ...[...cli.matchAll(/^ {4}name: '(\w+)',$/gm)].map(([, name]) => name),
  'help',
]);
const FLAGS = new Set([
  ...[...cli.matchAll(/'(?:-\w, )?(--[\w-]+)/g)].map(([, flag]) => flag),
  '--help',
  '--version',
]);

/** What follows the program's name, up to a pipe, a comment or the line's end. */
function callsIn(page: string): string[][] {
  const blocks = [...read(page).matchAll(/```(?:sh|bash|console)?\n([\s\S]*?)```/g)].map(
    ([, text]) => text,
  );
  return blocks.flatMap((text = '') =>
    [...text.matchAll(/^(?:[^#\n]*?[\s(])?opencode-watchdog ([^#|&;)>\n\\]+)/gm)].map(
      ([, words = '']) => words.trim().split(/\s+/),
    ),
  );
}

it.each(PAGES)('%s', (page) => {
  for (const words of callsIn(page)) {
    const [command = ''] = words;
    // `journalctl -u opencode-watchdog -o cat`, `docker logs opencode-watchdog 2`: its name alone.
    if (command.startsWith('-') || !/^[a-z]+$/.test(command)) continue;
    if (!COMMANDS.has(command)) continue;
    for (const word of words.filter((each) => each.startsWith('--'))) {
      expect([...FLAGS], `${page}: opencode-watchdog ${words.join(' ')}`).toContain(
        word.split('=')[0],
      );
    }
  }
  for (const [, target = ''] of read(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    expect(existsSync(join(ROOT, dirname(page), target)), `${page} links to ${target}`).toBe(true);
  }
});

it('a command that a document names in words is one', () => {
  for (const page of PAGES) {
    for (const [all, command = ''] of read(page).matchAll(/`opencode-watchdog ([a-z]+)[^`\n]*`/g)) {
      expect([...COMMANDS], `${page}: ${all}`).toContain(command);
    }
  }
});
