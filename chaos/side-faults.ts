/**
 * Faults that a process of our own causes beside the daemon: a server of the other API, a restart command that fails.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { CLI } from '../test/support/daemon.js';
import { freePort } from '../test/support/ports.js';
import { pause } from '../test/support/wait.js';
import type { Environment } from './environment.js';
import type { LogLine } from './evidence.js';

/** Answers as OpenCode 2.0.26 does at the given path, and with a web page everywhere else. */
const OTHER_SERVER = `
const { createServer } = require('node:http');
const info = JSON.stringify({ version: '2.0.26', pid: process.pid, urls: [], paths: {} });
const server = createServer((req, res) => {
  const json = req.url.split('?')[0] === process.argv[2];
  res.setHeader('content-type', json ? 'application/json' : 'text/html');
  res.end(json ? info : '<!doctype html><html></html>');
});
// The server that had the port may still be dying.
const listen = () => server.listen(Number(process.argv[1]), '127.0.0.1');
server.on('listening', () => console.log('listening')).on('error', () => setTimeout(listen, 20));
listen();
`;
const LISTENS_MS = 5_000;

export const serveOtherApi = (environment: Environment) => serveInstead(environment, '/api/info');
export const serveWebPage = (environment: Environment) => serveInstead(environment, 'nowhere');

/**
 * Listens in the server's place. Undefined if the port was taken first. Its environment has nothing of this world's.
 */
async function serveInstead(
  { port }: Environment,
  infoAt: string,
): Promise<ChildProcess | undefined> {
  const child = spawn(process.execPath, ['-e', OTHER_SERVER, String(port), infoAt], {
    env: {},
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const listening = once(child.stdout, 'data').then(() => true);
  const failed = once(child, 'exit').then(() => false);
  const late = pause(LISTENS_MS).then(() => false);
  if (await Promise.race([listening, failed, late])) return child;
  child.kill('SIGKILL');
  return undefined;
}

/** Enough for a daemon's start on a busy machine, and for the failed command. */
const FAILS_MS = 60_000;

/**
 * Starts a separate daemon for the same server on another port. It is told to restart the server by a command that
 * fails.
 * @returns its log, up to a moment after the failure; `failed` is false if it did not get that far
 */
export async function failRestart(
  environment: Environment,
): Promise<{ failed: boolean; lines: LogLine[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'chaos-restart-'));
  const statusPort = await freePort();
  const token = 'token-of-the-second-daemon';
  const config = join(folder, 'watchdog.yaml');
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, token, { mode: 0o600 });
  writeFileSync(
    config,
    stringify({
      server: {
        url: environment.opencodeUrl,
        control: 'command',
        restartCommand: ['sh', '-c', 'exit 3'],
        directory: folder,
      },
      status: { listen: `127.0.0.1:${statusPort}`, tokenFile },
    }),
    { mode: 0o600 },
  );
  const env = { ...environment.env, HOME: folder, XDG_STATE_HOME: folder, XDG_RUNTIME_DIR: folder };
  const child = spawn(process.execPath, [CLI, 'run', '--config', config], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const lines: LogLine[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
  const said = (event: string) => lines.some((line) => line.event === event);
  const deadline = Date.now() + FAILS_MS;
  const until = async (event: string) => {
    while (!said(event) && child.exitCode === null && Date.now() < deadline) await pause(50);
    return said(event);
  };
  try {
    if (!((await until('stream.connected')) && (await until('status.listening')))) {
      return { failed: false, lines };
    }
    await fetch(`http://127.0.0.1:${statusPort}/restart`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(LISTENS_MS),
    });
    const failed = await until('server.restart_failed');
    // If it took the failure for a death, it would say so in the next moments.
    if (failed) await pause(AFTERMATH_MS);
    return { failed, lines };
  } finally {
    const ended = child.exitCode === null ? once(child, 'exit') : undefined;
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

const AFTERMATH_MS = 4_000;
