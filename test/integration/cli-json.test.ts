/** Every `--json`: ISO times, whole numbers, and no top-level field that is missing in docs/json.md. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CommandsWorld, openCommandsWorld } from '../support/commands-world.js';

const RECORDING = fileURLToPath(new URL('../recordings/stuck-hang.ndjson', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/json.md', import.meta.url));

let world: CommandsWorld;
let documented: string;
let busy: string;

beforeAll(async () => {
  documented = await readFile(PAGE, 'utf8');
  world = await openCommandsWorld();
  busy = world.session('Fix the build', 'retry');
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

it('has ISO times, whole numbers, and only fields that the page documents', async () => {
  const here = ['--config', world.file, '--json'];
  const idle = world.server.addSession({ title: 'Done', directory: '/home/ada/shop' }).id;
  // One after the other, because some commands change what others print.
  const commands: [string[], number][] = [
    // The fake has no configuration, and therefore no providers and no models.
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
    [['report', '--format', 'json', '--config', world.file], 0],
    [['replay', RECORDING, '--json'], 0],
  ];
  for (const [args, code] of commands) {
    const end = await world.run(...args);
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
  world.setStatus(busy, 'retry', 3);
  await world.daemon.saw('session.health', { sessionID: busy, attempt: 3 });
  const status = JSON.parse((await world.run('status', '--json', '--config', world.file)).out);
  expect(status.sessions[0]).toMatchObject({
    since: expect.stringMatching(/^\d{4}-.*Z$/),
    nextAt: expect.stringMatching(/^\d{4}-.*Z$/),
  });
  for (const field of Object.keys(status.sessions[0])) expect(documented).toContain(`\`${field}\``);
});
