/** What was built needs nothing but Node: the Debian package and the image hold no node_modules. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { runProgram } from '../support/command.js';
import { freePort } from '../support/ports.js';

let folder: string;
let cli: string;
let config: string;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  folder = mkdtempSync(join(tmpdir(), 'watchdog-alone-'));
  for (const part of ['dist', 'package.json']) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  cli = join(folder, 'dist/cli.js');
  config = join(folder, 'config.yaml');
  const url = `http://127.0.0.1:${await freePort()}`;
  writeFileSync(
    config,
    `server: { url: "${url}", control: observe }\nstatus: { listen: off }\nrecycle: { schedule: "0 4 * * *" }\n`,
  );
  env = { PATH: process.env.PATH, HOME: folder };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('loads every file of the bundle', async () => {
  const files = readdirSync(join(folder, 'dist/bundle')).filter((name) => name.endsWith('.js'));
  const program = `for (const name of ${JSON.stringify(files)}) await import('./dist/bundle/' + name);`;
  const args = ['--input-type=module', '--eval', program];
  const { code, err } = await runProgram(process.execPath, args, { cwd: folder, env });
  expect({ code, err }).toEqual({ code: 0, err: '' });
});

it('reads a schedule', async () => {
  const args = [cli, 'config', '--check', '--config', config];
  const { code, err } = await runProgram(process.execPath, args, { cwd: folder, env });
  expect({ code, err }).toMatchObject({ code: 0, err: expect.stringContaining('is good') });
});

it('runs with a schedule and writes the readable log', async () => {
  const args = [cli, 'run', '--dry-run', '--log-format', 'pretty', '--config', config];
  const child = spawn(process.execPath, args, { cwd: folder, env });
  onTestFinished(() => void child.kill('SIGKILL'));
  let said = '';
  const read = (text: string) => {
    said += text;
    // Only now does it listen to signals.
    if (said.includes('Control is ')) child.kill('SIGTERM');
  };
  child.stdout.setEncoding('utf8').on('data', read);
  child.stderr.setEncoding('utf8').on('data', read);
  const [code] = await once(child, 'close');
  expect(code, said).toBe(0);
  expect(said).toMatch(/INFO +daemon\.stopped/);
});
