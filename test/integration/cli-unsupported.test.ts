/**
 * The commands at a server that answers in a way that is not understood: `check` and a `run` on a terminal exit with 1.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runProgram } from '../support/command.js';
import { CLI } from '../support/daemon.js';

const NO_SCRIPT = spawnSync('script', ['--version']).error?.message;

let dir: string;
let page: Server;
let url: string;
beforeAll(async () => {
  dir = mkdtempSync(`${tmpdir()}/watchdog-cli-`);
  page = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>a web page</html>');
  });
  await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(page.address() as AddressInfo).port}`;
});
afterAll(() => {
  page.close();
  rmSync(dir, { recursive: true, force: true });
});

async function ended(command: string, args: string[]) {
  const env = { PATH: process.env.PATH, HOME: dir };
  const { code, out, err } = await runProgram(command, args, { cwd: dir, env });
  return { code, said: out + err };
}

const words = (command: string) => [CLI, command, '--url', url];

test('check ends with 1 and says what was answered', async () => {
  const { code, said } = await ended(process.execPath, words('check'));
  expect(code, said).toBe(1);
  expect(said).toContain('FAIL  server');
  expect(said).toContain('text/html');
  expect(page.listening).toBe(true);
});

test('run ends with 1 on a terminal, and says what was answered', async (context) => {
  if (NO_SCRIPT) context.skip(`script (util-linux) is missing: ${NO_SCRIPT}`);
  const options = ['--url', url, '--control', 'observe'];
  const line = [process.execPath, CLI, 'run', ...options].map((word) => `'${word}'`).join(' ');
  const { code, said } = await ended('script', ['-qec', line, '/dev/null']);
  expect(code, said).toBe(1);
  expect(said).toContain('text/html');
});
