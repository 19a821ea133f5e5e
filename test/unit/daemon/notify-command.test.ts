/** `notify.command`: a program is run for each event that is news. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { MAX_QUEUED, NotifyCommand } from '../../../src/daemon/notify-command.js';
import { SystemClock } from '../../../src/lib/clock.js';
import type { TelemetryRecord } from '../../../src/telemetry/logger.js';

let folder: string;
let failed: Array<{ host: string; events: number; error: string }>;
const ends: Array<() => unknown> = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'notify-command-'));
  failed = [];
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  rmSync(folder, { recursive: true, force: true });
});

function notifier(script: string, timeoutMs = 20_000): NotifyCommand {
  const clock = new SystemClock();
  const command = new NotifyCommand({
    command: ['/bin/sh', '-c', script],
    server: 'http://opencode.test:4096',
    page: 'http://127.0.0.1:4097/',
    telemetry: { emit: (_event, fields) => failed.push(fields as never) },
    clock,
    timeoutMs,
    env: { PATH: process.env.PATH, OPENCODE_SERVER_PASSWORD: 'secret', FOLDER: folder },
  });
  ends.push(() => command.stop());
  ends.push(() => clock.stop());
  return command;
}

const told = () =>
  readFileSync(join(folder, 'told'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const stuck = (title: string) =>
  ({
    event: 'session.stuck',
    level: 'warn',
    time: Date.UTC(2026, 10, 29),
    msg: `${title} is stuck.`,
    fields: { sessionID: 'ses_1', title, reason: 'silence', limit: 1, value: 2 },
  }) as TelemetryRecord;

it('runs for each event in its order, with it as one line of JSON, and is not told the password', async () => {
  const command = notifier(
    'cat >> "$FOLDER/told"; echo "$OPENCODE_SERVER_PASSWORD" > "$FOLDER/env"',
  );
  command.take(stuck('First'));
  command.take(stuck('Second'));
  await command.stop();
  expect(failed).toEqual([]);
  expect(told()).toMatchObject([
    {
      event: 'session.stuck',
      level: 'warn',
      time: '2026-11-29T00:00:00.000Z',
      title: 'First',
      server: 'http://opencode.test:4096',
      page: 'http://127.0.0.1:4097/',
      host: expect.stringMatching(/./),
    },
    { title: 'Second' },
  ]);
  expect(readFileSync(join(folder, 'env'), 'utf8')).toBe('\n');
});

it('is not run for what comes all the time, and not for what it brings about itself', async () => {
  const command = notifier('cat >> "$FOLDER/told"');
  const quiet = ['session.health', 'server.output', 'health.summary', 'notify.failed', 'error'];
  for (const event of quiet) command.take({ ...stuck('x'), event, level: 'info' } as never);
  command.take({ ...stuck('x'), event: 'session.continued', level: 'debug' } as never);
  command.take(stuck('Told'));
  await command.stop();
  expect(told()).toMatchObject([{ title: 'Told' }]);
});

it('says how it failed, and goes on with the next', async () => {
  const command = notifier(
    'read line; case "$line" in *Bad*) echo no such chat >&2; exit 7;; esac',
  );
  command.take(stuck('Bad'));
  command.take(stuck('Good'));
  await command.stop();
  expect(failed).toMatchObject([
    { host: 'sh', events: 1, error: 'it ended with exit code 7: no such chat' },
  ]);
});

it('a program that hangs is ended, one that is not there is named, and neither holds anything up', async () => {
  const hangs = notifier('sleep 60', 100);
  expect(await hangs.test(stuck('x'))).toMatch(/^it was not done after 0.1 s, and was ended/);
  const missing = new NotifyCommand({
    command: ['/no/such/program'],
    server: 'x',
    page: undefined,
    telemetry: { emit: () => {} },
    clock: new SystemClock(),
  });
  expect(await missing.test(stuck('x'))).toMatch(/^it cannot be started: .*ENOENT/);
});

it('more events than it can be told of are counted', async () => {
  const command = notifier('cat > /dev/null');
  // The first is under way, and no event waits for it.
  for (let i = 0; i < MAX_QUEUED + 6; i += 1) command.take(stuck(`Session ${i}`));
  await command.stop();
  expect(failed).toContainEqual({
    host: 'sh',
    events: 5,
    tries: 0,
    error: `more than ${MAX_QUEUED} events waited`,
  });
});

it('says what to do where the directory of the daemon was removed', async () => {
  const gone = join(folder, 'gone');
  const cwd = vi.spyOn(process, 'cwd').mockReturnValue(gone);
  ends.push(() => cwd.mockRestore());
  expect(await notifier('true').test(stuck('First'))).toBe(
    `it cannot be started: its working directory ${gone} cannot be used (it does not exist): start the watchdog in one that can`,
  );
});
