/** Every `--json`: ISO times, whole numbers, and no top-level field that docs/json.md does not have. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { CLI, startDaemon, type TestDaemon } from '../support/daemon.js';
import { withUnits } from '../support/durations.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';

const RECORDING = fileURLToPath(new URL('../recordings/stuck-hang.ndjson', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/json.md', import.meta.url));

let folder: string;
let file: string;
let server: FakeOpencode;
let daemon: TestDaemon;
let documented: string;
let busy: string;
const env = () => ({ PATH: process.env.PATH, HOME: folder, TZ: 'UTC' });

beforeAll(async () => {
  documented = await readFile(PAGE, 'utf8');
  folder = await mkdtemp(join(tmpdir(), 'watchdog-json-'));
  server = await startFakeOpencode();
  const config = {
    server: { url: server.url, control: 'external' },
    watch: { pollInterval: 200 },
    probe: { interval: 200 },
    status: { listen: `unix:${join(folder, 'status.sock')}` },
  };
  file = join(folder, 'config.yaml');
  await writeFile(file, stringify(withUnits(config)));
  daemon = await startDaemon({ config, env: env() });
  await Promise.all([daemon.saw('status.listening'), daemon.saw('stream.connected')]);
  busy = server.addSession({ title: 'Fix the build', directory: '/home/ada/shop' }).id;
  server.setStatus(busy, {
    type: 'retry',
    attempt: 2,
    message: 'Rate limit reached',
    next: Date.now() + 120_000,
  });
  await daemon.saw('session.health', { sessionID: busy });
});
afterAll(async () => {
  await daemon?.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

function run(args: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const options = { env: env(), cwd: folder };
    const child = execFile(process.execPath, [CLI, ...args], options, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
    );
    child.stdin?.end();
  });
}

/** What is neither a whole number nor an ISO time where one stands, by its place. */
function faults(value: unknown, path = ''): string[] {
  const key = path.split('.').at(-1) ?? '';
  if (typeof value === 'number') {
    const looksLikeEpoch = value > 1_000_000_000_000 && value < 4_000_000_000_000;
    const mustBeWhole = /(Ms|Bytes)$|^tokens$/.test(key);
    return looksLikeEpoch || (mustBeWhole && !Number.isInteger(value))
      ? [`${path} is ${value}`]
      : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, child]) =>
    faults(child, Array.isArray(value) ? path : `${path}.${name}`),
  );
}

it('has ISO times, whole numbers, and only fields that the page documents', async () => {
  const here = ['--config', file, '--json'];
  const idle = server.addSession({ title: 'Done', directory: '/home/ada/shop' }).id;
  // One after the other: some of them change what others say.
  const commands: [string[], number][] = [
    // The fake has no configuration, and so no providers and no models.
    [['check', ...here], 1],
    [['config', ...here], 0],
    [['config', '--check', ...here], 0],
    [['sessions', ...here], 0],
    [['sessions', busy, ...here], 0],
    [['models', ...here], 1],
    [['messages', idle, ...here], 0],
    [['status', ...here], 0],
    [['create', '--title', 'New', ...here], 0],
    [['prompt', 'Hello', '--timeout', '1s', ...here], 1],
    [['sweep', '--dry-run', ...here], 0],
    [['abort', busy, ...here], 0],
    [['delete', idle, ...here], 0],
    [['pause', ...here], 0],
    [['resume', ...here], 0],
    [['report', '--format', 'json', '--config', file], 0],
    [['replay', RECORDING, '--json'], 0],
  ];
  for (const [args, code] of commands) {
    const end = await run(args);
    expect([args, end.code], end.out + end.err).toEqual([args, code]);
    const documents = args[0] === 'replay' ? end.out.trim().split('\n') : [end.out];
    for (const text of documents) {
      const value = JSON.parse(text) as unknown;
      expect(faults(value), args.join(' ')).toEqual([]);
      if (args[0] === 'replay') continue;
      const [first] = Array.isArray(value) ? value : [value];
      for (const field of Object.keys(first ?? {})) {
        expect(documented, `${args[0]} has ${field}`).toContain(`\`${field}\``);
      }
    }
  }
});

it('the rows of status and their times are ISO, as the page says', async () => {
  server.setStatus(busy, {
    type: 'retry',
    attempt: 3,
    message: 'Rate limit reached',
    next: Date.now() + 120_000,
  });
  await daemon.saw('session.health', { sessionID: busy, attempt: 3 });
  const status = JSON.parse((await run(['status', '--json', '--config', file])).out);
  expect(status.sessions[0]).toMatchObject({
    since: expect.stringMatching(/^\d{4}-.*Z$/),
    nextAt: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  for (const field of Object.keys(status.sessions[0])) expect(documented).toContain(`\`${field}\``);
});
