/**
 * The password through programs that forward a port, as docker-proxy and `ssh -L` do, with real sockets of root and of
 * another user.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { OpencodeClient } from '../../src/opencode/v1/client.js';
import { ObserveControl } from '../../src/process/control/observe.js';
import { PasswordGuard } from '../../src/process/identity/password-guard.js';
import { CLI } from '../support/daemon.js';
import { isRoot, needsRoot, OTHER_UID } from '../support/other-user.js';
import { Habitat } from '../unit/process/support.js';

const clock = new SystemClock();
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server with a password whose process we cannot see. It records the Authorization headers that arrive. */
async function distantServer() {
  const shown: (string | undefined)[] = [];
  const http = createServer((request, response) => {
    shown.push(request.headers.authorization);
    response.statusCode = request.headers.authorization === undefined ? 401 : 200;
    response.setHeader('content-type', 'application/json');
    response.end('{"healthy":true,"version":"1.18.33"}');
  }).listen(0, '127.0.0.1');
  await once(http, 'listening');
  cleanups.push(
    () => new Promise((resolve) => http.close(resolve)),
    () => http.closeAllConnections(),
  );
  return { shown, port: (http.address() as AddressInfo).port };
}

const FORWARD = `
const { connect, createServer } = require('node:net');
const server = createServer((near) => {
  const far = connect(Number(process.argv[1]), '127.0.0.1');
  near.pipe(far).pipe(near);
  for (const socket of [near, far]) socket.on('error', () => { near.destroy(); far.destroy(); });
}).listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

/** Starts a process that listens and forwards. Returns the URL of its port. */
async function tunnel(to: number, uid?: number): Promise<string> {
  const child: ChildProcess = spawn(process.execPath, ['-e', FORWARD, String(to)], {
    cwd: '/',
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  cleanups.push(() => child.kill('SIGKILL'));
  const [port] = (await once(child.stdout!, 'data')) as [Buffer];
  return `http://127.0.0.1:${String(port).trim()}`;
}

async function clientOf(url: string, caller: 'daemon' | 'command') {
  const guard = new PasswordGuard({ url, mode: 'auto', caller, clock });
  if (caller === 'daemon') {
    const habitat = await Habitat.make();
    cleanups.push(() => habitat.clear());
    // What `auto` falls back to if what answers is no opencode of ours.
    guard.follow(new ObserveControl({ ...habitat.options(), url }, 'for the test'));
  }
  const { authorise } = guard;
  const client = new OpencodeClient({ url, password: 'hunter2', clock, authorise });
  cleanups.push(() => client.close());
  return client;
}

test.each(['daemon', 'command'] as const)(
  'a tunnel of our own user or of root carries the password of a %s to the server behind it',
  async (caller) => {
    const { shown, port } = await distantServer();
    const client = await clientOf(await tunnel(port), caller);
    expect(await client.probe()).toMatchObject({ kind: 'ok', version: '1.18.33' });
    expect(shown.at(-1)).toBe(`Basic ${Buffer.from('opencode:hunter2').toString('base64')}`);
  },
);

test.skipIf(!isRoot).each(['daemon', 'command'] as const)(
  `a tunnel of another user carries none of a %s, and the error says whose it is${needsRoot}`,
  async (caller) => {
    const { shown, port } = await distantServer();
    const client = await clientOf(await tunnel(port, OTHER_UID), caller);
    const probe = await client.probe();
    expect(probe).toMatchObject({ kind: 'unauthorized', status: 401 });
    const error = probe.kind === 'unauthorized' ? probe.error : '';
    expect(error).toContain('The password was withheld');
    expect(error).toContain(`uid ${OTHER_UID}`);
    expect(new Set(shown)).toEqual(new Set([undefined]));
  },
);

const UNSHARE = ['--pid', '--fork', '--mount-proc'];
const lacksUnshare =
  spawnSync('unshare', [...UNSHARE, 'true']).status === 0
    ? ''
    : ' (skipped: unshare(1) may make no PID namespace here)';

test.skipIf(lacksUnshare !== '')(
  `a command in another PID namespace, which sees nobody’s process, sends it to our own user’s socket${lacksUnshare}`,
  async () => {
    const { shown, port } = await distantServer();
    const args = [process.execPath, CLI, 'sessions', '--url', `http://127.0.0.1:${port}`];
    const child = spawn('unshare', [...UNSHARE, ...args], {
      cwd: '/',
      env: { PATH: process.env.PATH, HOME: '/nonexistent', OPENCODE_SERVER_PASSWORD: 'hunter2' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    cleanups.push(() => child.kill('SIGKILL'));
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      said += String(chunk);
    });
    await once(child, 'close');
    expect(said).not.toContain('withheld');
    expect(new Set(shown.filter((header) => header !== undefined)).size).toBe(1);
  },
);
