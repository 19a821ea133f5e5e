/** Every `--json`: ISO times, whole numbers, and no top-level field that is missing in docs/json.md. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/command.js';
import { type CommandsWorld, openCommandsWorld } from '../support/commands-world.js';

const RECORDING = fileURLToPath(new URL('../recordings/stuck-hang.ndjson', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/json.md', import.meta.url));

let world: CommandsWorld;
let documented: string;
let busy: string;
let idle: string;

beforeAll(async () => {
  documented = await readFile(PAGE, 'utf8');
  world = await openCommandsWorld();
  busy = world.session('Fix the build', 'retry');
  idle = world.server.addSession({ title: 'Done', directory: '/home/ada/shop' }).id;
  await world.daemon.saw('session.health', { sessionID: busy });
});
afterAll(() => world?.close());

/** Values that should be whole numbers or ISO times and are not, with their paths. */
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

// One after the other, because some commands change what others print.
describe('has ISO times, whole numbers, and only fields that the page documents:', () => {
  it.each<[code: number, command: string]>([
    // The fake has no configuration, and therefore no providers and no models.
    [1, 'check'],
    [0, 'config'],
    [0, 'config --check'],
    [0, 'sessions'],
    [0, 'sessions BUSY'],
    [1, 'models'],
    [0, 'messages IDLE'],
    [0, 'status'],
    [0, 'create --title New'],
    [1, 'prompt Hello --timeout 1s'],
    [0, 'sweep --dry-run'],
    [0, 'abort BUSY'],
    [0, 'delete IDLE'],
    [0, 'pause'],
    [0, 'resume'],
    [0, 'report --format json'],
  ])('exit code %i of %s', async (code, command) => {
    const words = command.replace('BUSY', busy).replace('IDLE', idle).split(' ');
    const json = command.startsWith('report') ? [] : ['--json'];
    const end = await world.run(...words, '--config', world.file, ...json);
    expect(end.code, end.out + end.err).toBe(code);
    const value = JSON.parse(end.out) as unknown;
    expect(faults(value)).toEqual([]);
    const [first] = Array.isArray(value) ? value : [value];
    for (const field of Object.keys(first ?? {})) {
      expect(documented, field).toContain(`\`${field}\``);
    }
  });

  it('each line of replay', async () => {
    const end = await world.run('replay', RECORDING, '--json');
    expect(end.code, end.err).toBe(0);
    for (const line of end.out.trim().split('\n')) expect(faults(JSON.parse(line))).toEqual([]);
  });
});

it.each<[code: number, command: string]>([
  [3, 'pause'],
  [3, 'resume'],
  [3, 'status'],
  [3, 'status --watch'],
  [2, 'abort no/id'],
  [2, 'check --url nowhere'],
])(
  'a failure is one JSON object on stdout, with the words of stderr: exit code %i of %s',
  async (code, command) => {
    // Nobody listens at this port.
    const env = { ...world.env(), OPENCODE_WATCHDOG_STATUS_LISTEN: '127.0.0.1:9' };
    const end = await runCli([...command.split(' '), '--json'], { env });
    expect(end.code, end.out + end.err).toBe(code);
    const value = JSON.parse(end.out) as { ok: boolean; error: string };
    expect(value).toEqual({ ok: false, error: expect.any(String) });
    expect(end.err).toContain(value.error.split('\n', 1)[0]);
  },
);

it('the rows of status and their times are ISO, as the page says', async () => {
  world.setStatus(busy, 'retry', 3);
  await world.daemon.saw('session.health', { sessionID: busy, attempt: 3 });
  const status = JSON.parse((await world.run('status', '--json', '--config', world.file)).out);
  expect(status.sessions[0]).toMatchObject({
    since: expect.stringMatching(/^\d{4}-.*Z$/),
    nextAt: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  for (const field of Object.keys(status.sessions[0])) expect(documented).toContain(`\`${field}\``);
});
