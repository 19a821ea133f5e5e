import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { DockerControl, type DockerOptions } from '../../src/process/control/docker.js';
import { waitFor } from '../support/wait.js';

/**
 * Answers with the shapes of the Docker Engine API reference (v1.50), reduced to what is read here. It was not checked
 * against a real engine.
 */
class FakeEngine {
  readonly requests: string[] = [];
  readonly waiting: ServerResponse[] = [];
  startedAt = '2026-01-01T10:00:00.123456789Z';
  pid = 4711;
  running = true;
  exitCode = 0;
  /** The engine says that it is done, and does nothing. */
  lies = false;
  server: Server;

  constructor(readonly socketPath: string) {
    this.server = createServer((req, res) => {
      this.requests.push(`${req.method} ${req.url}`);
      const url = new URL(req.url ?? '', 'http://docker');
      const [, , name, what] = url.pathname.split('/');
      const json = (status: number, body: unknown) =>
        res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      if (name === 'forbidden') return json(403, { message: 'denied by the socket proxy' });
      if (name !== 'opencode') return json(404, { message: `No such container: ${name}` });
      switch (what) {
        case 'json':
          return json(200, this.inspect());
        case 'start':
        case 'restart':
          if (!this.lies) this.restart();
          return res.writeHead(204).end();
        case 'wait':
          // The engine sends the headers at once, and the body when the container ends.
          res.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
          return this.waiting.push(res);
        case 'stats':
          return json(200, {
            memory_stats: { usage: 500_000_000, stats: { inactive_file: 100_000_000 }, limit: 8e9 },
          });
        default:
          return json(404, { message: 'page not found' });
      }
    });
  }

  inspect() {
    return {
      Id: '9f2b…',
      Created: '2026-01-01T09:59:59Z',
      Path: 'opencode',
      Args: ['serve', '--hostname', '0.0.0.0'],
      State: {
        Status: this.running ? 'running' : 'exited',
        Running: this.running,
        Paused: false,
        Pid: this.running ? this.pid : 0,
        ExitCode: this.exitCode,
        Error: '',
        StartedAt: this.startedAt,
        FinishedAt: '0001-01-01T00:00:00Z',
      },
      Name: '/opencode',
      RestartCount: 0,
    };
  }

  restart() {
    this.end(137);
    this.running = true;
    this.pid += 1;
    this.startedAt = new Date().toISOString();
  }

  end(code: number) {
    this.running = false;
    this.exitCode = code;
    for (const res of this.waiting.splice(0))
      res.end(JSON.stringify({ StatusCode: code, Error: null }));
  }
}

let dir: string;
let engine: FakeEngine;
let control: DockerControl | undefined;
let healthy: boolean;
const exits: unknown[] = [];
const notices: string[] = [];
const { signal } = new AbortController();

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'watchdog-docker-'));
  engine = new FakeEngine(join(dir, 'docker.sock'));
  engine.server.listen(engine.socketPath);
  await once(engine.server, 'listening');
  healthy = true;
  exits.length = 0;
  notices.length = 0;
});
afterEach(async () => {
  await control?.dispose();
  engine.server.closeAllConnections();
  engine.server.close();
  rmSync(dir, { recursive: true });
});

function make(more: Partial<DockerOptions> = {}): DockerControl {
  control = new DockerControl({
    container: 'opencode',
    socketPath: engine.socketPath,
    clock: new SystemClock(),
    startTimeoutMs: 1_000,
    stopGraceMs: 1_500,
    deps: {
      isHealthy: async () => (healthy ? { version: '1.18.33' } : null),
      onExit: (exit) => exits.push(exit),
      onSuspended: () => {},
      onOutput: () => undefined,
      onNotice: (_, message) => notices.push(message),
    },
    ...more,
  });
  return control;
}

test('restart asks the engine, waits for health, and names both pids', async () => {
  const docker = make();
  expect(await docker.attach(signal)).toEqual({
    pid: 4711,
    startTime: engine.startedAt,
    command: ['opencode', 'serve', '--hostname', '0.0.0.0'],
  });
  expect(await docker.restart(signal)).toMatchObject({
    oldPid: 4711,
    pid: 4712,
    version: '1.18.33',
  });
  expect(engine.requests).toContain('POST /containers/opencode/restart?t=2');
  expect(exits).toEqual([]);
  expect(await docker.memory()).toBe(400_000_000);
});

test('the end of the container is told with its exit code', async () => {
  await make().attach(signal);
  await waitFor(() => engine.waiting.length === 1);
  engine.end(137);
  await waitFor(() => exits.length === 1);
  expect(exits).toEqual([{ pid: 4711, code: 137, signal: null }]);
});

test('a stopped container is none to attach to, and start starts it', async () => {
  engine.running = false;
  const docker = make();
  expect(await docker.attach(signal)).toBeNull();
  expect(await docker.start(signal)).toMatchObject({ pid: 4712 });
});

test('an engine that did not restart is found out by the start time', async () => {
  engine.lies = true;
  await expect(make().restart(signal)).rejects.toMatchObject({
    message: expect.stringContaining('runs since 2026-01-01'),
    serverAlive: true,
  });
});

test('an engine that cannot be asked says nothing of the server', async () => {
  const socketPath = join(dir, 'none.sock');
  await expect(make({ socketPath }).restart(signal)).rejects.toMatchObject({
    message: expect.stringContaining('there is no Docker socket'),
    serverAlive: 'unknown',
  });
});

test('a container that never gets healthy is an error that says where to look', async () => {
  healthy = false;
  await expect(make({ startTimeoutMs: 200 }).restart(signal)).rejects.toThrow(
    'no healthy server was seen within 200 ms (server.startTimeout): look at `docker logs opencode`',
  );
});

test('no such container', async () => {
  await expect(make({ container: 'typo' }).restart(signal)).rejects.toThrow(
    'knows no container "typo"',
  );
});

test('no socket, also at attach', async () => {
  const docker = make({ socketPath: join(dir, 'none.sock') });
  await expect(docker.restart(signal)).rejects.toThrow(
    `no Docker socket at ${join(dir, 'none.sock')}`,
  );
  expect(await docker.attach(signal)).toBeNull();
  // An attach that failed is tried again and again.
  expect(await docker.attach(signal)).toBeNull();
  expect(notices).toEqual([expect.stringContaining('no Docker socket')]);
});

test('no permission: by the file system, and by a proxy before the engine', async () => {
  await expect(make({ container: 'forbidden' }).restart(signal)).rejects.toThrow(
    'answered 403 for container "forbidden": denied by the socket proxy',
  );
  // Root may open any socket, so the kernel's refusal is simulated.
  const { Agent } = await import('undici');
  const request = vi
    .spyOn(Agent.prototype, 'request')
    .mockRejectedValue(Object.assign(new Error('connect EACCES'), { code: 'EACCES' }));
  try {
    await expect(make().restart(signal)).rejects.toThrow("add the user to the socket's group");
  } finally {
    request.mockRestore();
  }
});

test('a socket file that nobody listens on any more', async () => {
  const server = createServer().listen(join(dir, 'old.sock'));
  await once(server, 'listening');
  const { renameSync } = await import('node:fs');
  renameSync(join(dir, 'old.sock'), join(dir, 'dead.sock'));
  server.close();
  await once(server, 'close');
  await expect(make({ socketPath: join(dir, 'dead.sock') }).restart(signal)).rejects.toThrow(
    'the engine is stopped',
  );
});
