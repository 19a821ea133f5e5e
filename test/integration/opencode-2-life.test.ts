import { spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCli } from '../support/command.js';
import { startDaemon, type TestDaemon } from '../support/daemon.js';
import { askOpencode2, Opencode2Home } from '../support/opencode-2-home.js';
import { freePort } from '../support/ports.js';
import { isAlive } from '../support/processes.js';
import { stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';

let home: Opencode2Home;
let daemon: TestDaemon | undefined;
beforeEach(async () => {
  home = await Opencode2Home.make();
});
afterEach(async () => {
  await daemon?.stop();
  daemon = undefined;
  await home.clear();
});

const LIMITS = {
  probe: { interval: 200, timeout: stretched(2_000) },
  watch: { pollInterval: 300 },
  restart: { backoff: { initial: 100, max: 400 } },
  log: { level: 'debug' },
  status: { listen: 'off' },
};

async function run(server: Record<string, unknown>, more: Record<string, unknown> = {}) {
  daemon = await startDaemon({
    config: {
      ...LIMITS,
      ...more,
      server: {
        url: home.url,
        directory: home.directory,
        command: [home.program, 'serve'],
        ...server,
      },
    },
    env: home.env(),
  });
  return daemon;
}

const cli = (...args: string[]) => runCli(args, { env: home.env() });

/** The password that the daemon has generated. */
const made = () =>
  waitFor(() => {
    const folder = join(home.dir, 'state/opencode-watchdog');
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const name = names.find((each) => each.endsWith('server-password'));
    if (name === undefined) return undefined;
    const file = join(folder, name);
    return { file, text: readFileSync(file, 'utf8').trim() };
  });

async function begin(password: string, text: string) {
  const ask = askOpencode2(home.url, password);
  const session = await ask('/api/session', { location: { directory: home.directory } });
  const { id } = (session.json as { data: { id: string } }).data;
  await ask(`/api/session/${id}/prompt`, { text });
  return id;
}

it('is spawned with a password that is made and kept, and its boot is waited for', async () => {
  const watchdog = await run({ control: 'spawn' });
  const healthy = await watchdog.saw('server.healthy');
  expect(healthy).toMatchObject({ version: '2.0.26', api: 2 });
  await watchdog.saw('stream.connected', { path: '/api/event' });
  const password = await made();
  expect(statSync(password.file).mode & 0o777).toBe(0o600);
  expect(watchdog.output()).not.toContain(password.text);
  expect(watchdog.events('server.unsupported')).toEqual([]);
  const stuck = await begin(password.text, `[[retry-after ${15 * 60_000}]]`);
  await watchdog.saw('session.aborted', { sessionID: stuck, reason: 'wait' });

  // After a crash it is started again with the same password.
  process.kill(Number(healthy.pid), 'SIGKILL');
  const restarted = await watchdog.saw('server.restarted', { reason: 'exited' });
  expect((await askOpencode2(home.url, password.text)('/api/info')).json).toMatchObject({
    pid: restarted.pid,
  });
  expect(await watchdog.stop()).toBe(0);
  expect(home.processes()).toEqual([]);
});

it('is started and checked by `check --start --unattended`, and driven with the password that this made', async () => {
  const file = join(home.dir, 'config.yaml');
  writeFileSync(file, `server: { url: "${home.url}", directory: "${home.directory}" }\n`);
  const check = await cli('check', '--start', '--unattended', '--json', '--config', file);
  expect(JSON.parse(check.out), check.err).toMatchObject({
    steps: [
      { step: 'binary', ok: true, version: '2.0.26' },
      { step: 'server', ok: true, api: 2, version: '2.0.26' },
      { step: 'providers', ok: true, connected: ['fake'] },
      { step: 'model', ok: true, model: 'fake/m' },
      { step: 'unattended', ok: false, asking: [{ permission: 'read', pattern: '*.env' }] },
      { agent: 'build', permission: 'read' },
    ],
  });
  expect(check.code).toBe(1);
  const text = await cli('check', '--unattended', '--config', file);
  expect(text.out).toContain('"permissions": [{ "action": "read", "resource": "*.env", "effect":');
  const prompt = await cli('prompt', '[[many-steps]]', '--config', file);
  expect([prompt.code, prompt.out]).toEqual([0, expect.stringContaining('All done.')]);
});

it('is started by `restart` with a password that the next command knows', async () => {
  const file = join(home.dir, 'config.yaml');
  writeFileSync(file, `server: { url: "${home.url}", directory: "${home.directory}" }\n`);
  const restart = await cli('restart', '--config', file);
  expect(restart.code, restart.err).toBe(0);
  const sessions = await cli('sessions', '--json', '--config', file);
  expect(sessions).toMatchObject({ code: 0, out: '[]\n' });
});

it('goes on with its runs itself where it is the background service: nobody prompts them again', async () => {
  const watchdog = await run(
    { control: 'service' },
    { recover: { afterRestart: 'continue' }, log: { level: 'debug', healthInterval: 1_000 } },
  );
  const { pid } = await watchdog.saw('server.healthy', { api: 2 });
  await watchdog.saw('stream.connected');
  const { password } = home.registration();
  const id = await begin(password, '[[text 600000]]');
  await watchdog.saw('session.health', { sessionID: id, health: 'busy' });
  process.kill(Number(pid), 'SIGKILL');
  // For its exit, or because nothing listens any more: a busy machine may show either first.
  const restarted = await watchdog.saw('server.restarted');
  expect(home.registration().pid).toBe(restarted.pid);
  const messages = async () => {
    const { json } = await askOpencode2(home.url, password)(`/api/session/${id}/message`);
    return (json as { data: { type: string }[] }).data.map(({ type }) => type);
  };
  await waitFor(async () => (await messages()).includes('synthetic'), { what: 'its own way back' });
  const from = watchdog.lines.length;
  await waitFor(
    () => watchdog.lines.slice(from).some(({ sessionID, health }) => sessionID === id && health),
    { what: 'the run that goes on' },
  );
  expect((await messages()).filter((type) => type === 'user')).toHaveLength(1);
  expect(watchdog.events('session.continued')).toEqual([]);
  await watchdog.stop();
  // It belongs to its clients.
  expect(isAlive(Number(restarted.pid))).toBe(true);
});

/** The service of a program, as a client of it starts it. */
async function serviceOf(program: string, channel = '') {
  spawn(program, ['service', 'start'], { env: home.env(), stdio: 'ignore' });
  const what = `the service of ${program}`;
  return waitFor(
    () =>
      Promise.resolve()
        .then(() => home.registration(channel))
        .catch(() => undefined),
    { what },
  );
}

it('is restarted alone where it is the service of another build than the configured one', async () => {
  const beta = join(home.dir, 'beta/opencode');
  const port = await freePort();
  mkdirSync(join(home.dir, 'beta'));
  const [shebang, ...code] = readFileSync(home.program, 'utf8').split('\n');
  const build = `process.env.FAKE2_CHANNEL = 'beta'; process.env.FAKE2_SERVICE_PORT = '${port}';`;
  writeFileSync(beta, [shebang, build, ...code].join('\n'), { mode: 0o755 });
  const release = await serviceOf(home.program);
  const before = await serviceOf(beta, '-beta');
  const file = join(home.dir, 'config.yaml');
  writeFileSync(file, `server: { url: "${before.url}", directory: "${home.directory}" }\n`);
  const restart = await cli('restart', '--config', file);
  expect(restart.code, restart.err).toBe(0);
  expect(home.registration('-beta').pid).not.toBe(before.pid);
  expect(home.registration()).toEqual(release);
  expect(isAlive(release.pid)).toBe(true);
});

it('comes back with the password that it had printed, where the watchdog was given that', async () => {
  const words = ['serve', '--port', String(home.port)];
  const server = spawn(home.program, words, { env: home.env(), cwd: home.directory });
  let printed = '';
  server.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const password = await waitFor(() => /^server password (.+)\n/m.exec(printed)?.[1], {
    what: 'the password',
  });
  const file = join(home.dir, 'config.yaml');
  writeFileSync(file, `server: { url: "${home.url}", directory: "${home.directory}" }\n`);
  const env = home.env({ OPENCODE_PASSWORD: password });
  const restart = await runCli(['restart', '--config', file], { env });
  expect(restart.code, restart.err).toBe(0);
  const info = await askOpencode2(home.url, password)('/api/info');
  expect(info).toMatchObject({ status: 200, json: { pid: expect.any(Number) } });
  expect(info.json).not.toMatchObject({ pid: server.pid });
});

/** A 1.x server with only the routes that are used before it is replaced. */
const ONE = `#!/usr/bin/env node
const { createServer } = require('node:http');
const JSON_OF = { '/global/health': { healthy: true, version: '1.18.34' }, '/path': { directory: process.cwd() }, '/session/status': {} };
createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/global/event') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: {"payload":{"type":"server.connected","properties":{}}}\\n\\n');
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(JSON_OF[path] ?? []));
}).listen(Number(process.argv[process.argv.indexOf('--port') + 1]), '127.0.0.1');
`;

it('is recognised where its installer has replaced a 1.x, with the next start of the server', async () => {
  const two = `${home.program}-2`;
  renameSync(home.program, two);
  writeFileSync(home.program, ONE);
  chmodSync(home.program, 0o755);
  const watchdog = await run({ control: 'spawn' });
  const { pid } = await watchdog.saw('server.healthy', { api: 1 });
  await watchdog.saw('stream.connected', { path: '/global/event' });
  renameSync(two, home.program);
  process.kill(Number(pid), 'SIGKILL');
  await watchdog.saw('server.restarted', { reason: 'exited' });
  const healthy = await watchdog.saw('server.healthy', { api: 2 });
  expect(healthy).toMatchObject({ version: '2.0.26', previousVersion: '1.18.34' });
  await watchdog.saw('stream.connected', { path: '/api/event' });
  const id = await begin((await made()).text, '[[text 600000]]');
  await watchdog.saw('session.health', { sessionID: id, health: 'busy' });
});
