/**
 * Shared by the driver's e2e tests: one real server with its fake models, the command line, and the check that nothing
 * is left.
 */
import { type ChildProcess, execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'vitest';
import { DriverError } from '../../src/opencode/driver/error.js';
import type { PromptResult } from '../../src/opencode/driver/types.js';
import { CLI } from './daemon.js';
import { type FakeProvider, startFakeProvider } from './fake-provider.js';
import { type Opencode, opencodeEnv, prepareHome, startOpencode } from './opencode.js';
import { isAlive } from './processes.js';
import { waitFor } from './wait.js';

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Started {
  child: ChildProcess;
  ended: Promise<Result>;
}

export type Bench = Awaited<ReturnType<typeof startBench>>;

/** What a command with `--json` prints when it fails. */
export interface Failed {
  ok: false;
  error: {
    kind: string;
    message: string;
    received?: string;
    aborted?: boolean;
    deleted?: boolean;
    sessionID?: string;
    tries?: { model?: string; sessionID?: string }[];
  };
}

/** What `prompt --json` prints. */
export type Answer = PromptResult & { notices: string[] };

/** The error of a driver call that must fail. */
export const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(DriverError);
      return error as DriverError;
    },
  );

/** A line of `batch`'s results. */
interface BatchLine {
  id: string;
  ok: boolean;
  text?: string;
  error?: { kind: string; aborted?: boolean; deleted?: boolean };
}

export const batchLines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as BatchLine);

/** A server whose models are `fake/m1`, `fake/m2`, `fake/deep` (with thinking variants) and `dead/m1`. */
export async function startBench() {
  const provider = await startFakeProvider();
  const spy = await startSpy(provider);
  const custom = (name: string, baseURL: string, models: Record<string, unknown>) => ({
    npm: '@ai-sdk/openai-compatible',
    name,
    options: { baseURL, apiKey: 'x' },
    models,
  });
  const thinking = (budgetTokens: number) => ({ thinking: { type: 'enabled', budgetTokens } });
  const deep = {
    name: 'deep',
    reasoning: true,
    variants: { little: thinking(1_000), much: thinking(8_000) },
  };
  const home = await prepareHome(provider, {
    config: {
      provider: {
        fake: custom('fake', spy.url, { m1: { name: 'm1' }, m2: { name: 'm2' }, deep }),
        dead: custom('dead', 'http://127.0.0.1:9/v1', { m1: { name: 'm1' } }),
      },
    },
  });
  const server = await startOpencode({ provider, home });
  const env = { ...opencodeEnv(home.path), OPENCODE_API_URL: server.url };
  const running = new Set<ChildProcess>();

  /** Starts a program. `ended` resolves with how it ended. */
  const start = (
    program: string,
    args: string[],
    { stdin = '', ...more }: { stdin?: string; env?: Record<string, string> } = {},
  ): Started => {
    let resolve: (result: Result) => void = () => {};
    const ended = new Promise<Result>((done) => {
      resolve = done;
    });
    const child = execFile(
      program,
      args,
      { cwd: server.directory, env: { ...env, ...more.env }, timeout: 150_000 },
      (error, stdout, stderr) => {
        running.delete(child);
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, stdout, stderr });
      },
    );
    running.add(child);
    child.stdin?.end(stdin);
    return { child, ended };
  };
  const cli = (args: string[], options?: { stdin?: string; env?: Record<string, string> }) =>
    start(process.execPath, [CLI, ...args], options).ended;

  return {
    provider,
    spy,
    home,
    server,
    env,
    start,
    cli,
    /** Runs a command with `--json`, and returns what it printed and its exit code. */
    async json<T = Record<string, unknown>>(...args: string[]): Promise<T & { code: number }> {
      const { code, stdout, stderr } = await cli([...args, '--json']);
      try {
        return { ...(JSON.parse(stdout) as T), code };
      } catch (cause) {
        throw new Error(`no JSON from ${args.join(' ')}: ${stdout}${stderr}`, { cause });
      }
    },
    /** Writes a file into the home, and returns its path. */
    async file(name: string, content: string): Promise<string> {
      const path = join(home.path, name);
      await writeFile(path, content);
      return path;
    },
    /** Writes a file of tasks for `batch`, and returns its path. */
    tasks(name: string, all: Record<string, unknown>[]): Promise<string> {
      return this.file(name, all.map((task) => JSON.stringify(task)).join('\n'));
    },
    /** Removes all sessions, so that one failed test does not spoil the others. */
    async clear() {
      for (const { id, directory } of await server.api.sessions()) {
        await server.api.abort(id, directory);
        await server.api.remove(id, directory);
      }
    },
    /** Checks that no session, run, provider call or process of ours is left. */
    async expectNothingLeft(directories: string[] = [server.directory]) {
      await waitFor(() => provider.open() === 0, {
        what: 'no provider call in flight',
        timeout: 5_000,
      });
      expect(await server.api.sessions()).toEqual([]);
      expect(await server.api.statusAll(directories)).toEqual({});
      expect(running.size).toBe(0);
    },
    async stop() {
      await server.stop();
      await home.remove();
      expect(home.processes().filter(isAlive)).toEqual([]);
      await spy.stop();
      await provider.stop();
    },
  };
}

/** Passes requests on to the fake provider, and keeps their bodies. */
async function startSpy(provider: FakeProvider) {
  const bodies: Record<string, unknown>[] = [];
  const server = createServer(async (req, res) => {
    const body = await text(req);
    bodies.push(JSON.parse(body) as Record<string, unknown>);
    const hangUp = new AbortController();
    res.on('close', () => hangUp.abort());
    try {
      const answer = await fetch(new URL(req.url ?? '/', provider.url), {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...Object.fromEntries(
            Object.entries(req.headers).filter(([name]) => name.startsWith('x-')),
          ),
        } as Record<string, string>,
        body,
        signal: hangUp.signal,
      });
      const type = answer.headers.get('content-type') ?? 'text/plain';
      const after = answer.headers.get('retry-after');
      res.writeHead(answer.status, {
        'content-type': type,
        ...(after && { 'retry-after': after }),
      });
      for await (const chunk of answer.body ?? []) res.write(chunk);
      res.end();
    } catch {
      res.destroy();
    }
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    bodies,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type { Opencode };
