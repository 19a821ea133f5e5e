/**
 * Every `opencode-watchdog …` line in the documents' shell blocks is run, or listed in a table with the reason why it
 * is not.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandsWorld, openCommandsWorld } from '../support/commands-world.js';
import { CLI } from '../support/daemon.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RECORDING = join(ROOT, 'test/recordings/stuck-hang.ndjson');
const NO_JQ = spawnSync('jq', ['--version']).status === 0 ? '' : ' (skipped: jq is not installed)';
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** Lines that are not run here, by their beginning, and the reason. */
const NOT_RUN: readonly [RegExp, string][] = [
  [/^run\b/, 'runs until it is stopped: daemon-life.test.ts and the daemon of this file'],
  [/^status --watch/, 'runs until it is stopped, on a terminal: status-cli.test.ts'],
  [/^service\b/, 'changes the service manager of the machine: npm run test:deploy'],
  [/^prompt\b/, 'needs a model: driver.test.ts and e2e'],
  [/^report --incident/, 'needs the number of an incident: report-cli.test.ts'],
  [/^restart$/, 'restarts what the other lines ask: status-cli.test.ts'],
];
/** Exit codes other than 0. The fake has no providers. */
const CODES: readonly [RegExp, number][] = [[/^check\b/, 1]];

let world: CommandsWorld;
let session: string;

beforeAll(async () => {
  // Without the real opencode of node_modules/.bin, which `check` would start for its version.
  world = await openCommandsWorld({ path: '/usr/local/bin:/usr/bin:/bin' });
  const { daemon, folder } = world;
  await Promise.all([
    writeFile(join(folder, 'new.yaml'), 'retry: { maxAttempts: 3 }\n'),
    copyFile(RECORDING, join(folder, 'recording.ndjson')),
  ]);
  session = world.session('Fix the build');
  await daemon.saw('session.health', { sessionID: session });
  const log = daemon.lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  await writeFile(join(folder, 'watchdog.log'), log);
});
afterAll(() => world?.close());

/** The lines of a page's `sh` blocks. */
function shellLines(page: string): string[] {
  const blocks = readFileSync(join(ROOT, page), 'utf8').matchAll(/```sh[^\n]*\n([\s\S]*?)```/g);
  return [...blocks].flatMap(([, text = '']) => text.split('\n'));
}

/** What follows the program's name in the lines that begin with it. */
const LINES = [
  ...new Set(
    PAGES.flatMap(shellLines).flatMap((line) => {
      const [, words] =
        /^(?:sudo |source <\()?opencode-watchdog ((?:[^#|&;)>\n]|(?<=")#)+)/.exec(line) ?? [];
      return words === undefined ? [] : [words.trim()];
    }),
  ),
];

function placed(line: string): string {
  return line
    .replace('/var/tmp/oc.ndjson', 'recording.ndjson')
    .replace(/\bFILE\b/, 'recording.ndjson')
    .replace('ses_…', session);
}

describe('a command line of the documents', () => {
  it('is found on the pages', () => {
    expect(existsSync(CLI), 'the build: npm run build').toBe(true);
    expect(LINES.length).toBeGreaterThan(20);
  });

  it.each(NOT_RUN)('that matches %s is not run: %s', (start) => {
    expect(LINES.some((line) => start.test(line))).toBe(true);
  });

  const toRun = LINES.filter((line) => !NOT_RUN.some(([start]) => start.test(line)));
  it.concurrent.each(toRun)('opencode-watchdog %s', async (line) => {
    const code = CODES.find(([start]) => start.test(line))?.[1] ?? 0;
    const end = await world.program('sh', [
      '-c',
      `"$0" "$1" ${placed(line)}`,
      process.execPath,
      CLI,
    ]);
    expect(end.code, end.out + end.err).toBe(code);
    // A command that acts says on stderr what it did.
    expect(end.out + end.err).not.toBe('');
  });
});

describe.skipIf(NO_JQ !== '')(`a jq line of README.md${NO_JQ}`, () => {
  const lines = shellLines('README.md').filter((line) => /^jq .* watchdog\.log$/.test(line));
  it.each(lines)('%s', async (line) => {
    const end = await world.program('sh', ['-c', line]);
    expect({ code: end.code, err: end.err }).toEqual({ code: 0, err: '' });
  });
});
