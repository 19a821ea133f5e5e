/** Starts `npm run demo` in a folder of its own, and checks what it leaves behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { waitFor } from './wait.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

let folder: string;
let demo: Demo | undefined;
/** Before each test: makes a temporary folder for the demo. */
export async function openFolder(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'demo-test-'));
}

/** After each test: ends the demo and removes the folder. */
export async function closeFolder(): Promise<void> {
  await demo?.end('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}

interface Demo {
  output(): string;
  /** Signals every process of the group, as Ctrl-C in a terminal does. Returns the exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

export function startDemo(env: NodeJS.ProcessEnv = {}): Demo {
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

/**
 * What the demo made: processes with its folder in their environment, and files in the folder. tsx keeps its cache
 * there too, which does not count.
 */
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

export const nothingLeft = () =>
  waitFor(async () => (await leftovers()).length === 0, { what: 'nothing to be left' }).catch(
    async () => expect(await leftovers()).toEqual([]),
  );

export const reached = (moment: string | RegExp) =>
  waitFor(() => demo?.output().match(moment), { what: String(moment), timeout: 150_000 });

export async function interrupted(codes = [130]) {
  expect((await leftovers()).length).toBeGreaterThan(0);
  const code = await demo?.end('SIGINT');
  expect(codes, demo?.output()).toContain(code);
  await nothingLeft();
}
