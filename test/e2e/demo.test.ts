/** `npm run demo` tells the truth to its end, and leaves nothing behind wherever it is interrupted. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitFor } from '../support/wait.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

let folder: string;
let demo: Demo | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'demo-test-'));
});
afterEach(async () => {
  await demo?.end('SIGTERM');
  await rm(folder, { recursive: true, force: true });
});

interface Demo {
  output(): string;
  /** As Ctrl-C does it: to every process of the terminal's group. Gives the exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

function startDemo(env: NodeJS.ProcessEnv = {}): Demo {
  const child: ChildProcess = spawn(join(root, 'node_modules/.bin/tsx'), ['demo/demo.ts'], {
    cwd: root,
    env: { ...process.env, TMPDIR: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const exited = once(child, 'exit');
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  demo = {
    output: () => output,
    async end(signal) {
      if (signal && child.exitCode === null && child.signalCode === null) {
        process.kill(-child.pid!, signal);
      }
      await exited;
      return child.exitCode;
    },
  };
  return demo;
}

/** What the demo made: processes that know its folder, and files in it. tsx keeps a cache there, run by run. */
async function leftovers(): Promise<string[]> {
  const files = (await readdir(folder)).filter((name) => !name.startsWith('tsx-'));
  const processes: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.includes(folder)) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (command) processes.push(`${pid} ${command.replaceAll('\0', ' ')}`);
    }
  }
  return [...files, ...processes];
}

const nothingLeft = () =>
  waitFor(async () => (await leftovers()).length === 0, { what: 'nothing to be left' }).catch(
    async () => expect(await leftovers()).toEqual([]),
  );

test('it plays all four acts, sums them up from what was seen, and ends with 0', async () => {
  const { output, end } = startDemo();
  const code = await end();
  expect(code, output()).toBe(0);
  // Not a terminal: no colours.
  expect(stripVTControlCharacters(output())).toBe(output());
  expect(output()).not.toContain('✗');
  const [, summary = ''] = output().split('== Summary');
  const words = summary.replace(/\s+/g, ' ');
  expect(words).toContain('what happened what the watchdog did evidence');
  expect(summary).toMatch(/left\s+alone/);
  expect(summary).toMatch(/pid \d+ → \d+/);
  expect(summary).toContain('All four went as told.');
  await nothingLeft();
});

const reached = (moment: string | RegExp) =>
  waitFor(() => demo?.output().match(moment), { what: String(moment), timeout: 150_000 });

async function interrupted(codes = [130]) {
  expect((await leftovers()).length).toBeGreaterThan(0);
  const code = await demo?.end('SIGINT');
  expect(codes, demo?.output()).toContain(code);
  await nothingLeft();
}

test('interrupted while opencode starts, it leaves no process and no folder behind', async () => {
  startDemo();
  await reached('server.starting');
  await interrupted();
});

test('interrupted with a tool running, it leaves no process and no folder behind', async () => {
  startDemo();
  await reached('Both are under way');
  await interrupted();
});

test('interrupted during a restart, it leaves no process and no folder behind', async () => {
  startDemo();
  const [, pid] = await reached(/is healthy after .*, pid (\d+)/);
  // From here on the demo only listens: the kill cuts no request of its own.
  await reached('Both are under way');
  process.kill(Number(pid), 'SIGKILL');
  await reached('server.restarting');
  // It may see that its tool is gone before it hears of the interrupt, and end by itself in the same restart.
  await interrupted([130, 1]);
});
