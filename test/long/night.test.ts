/**
 * A night on a real opencode with one fault of each kind, and a restart of the daemon in the middle. In the morning
 * `report` must say what happened.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { CLI, type TestDaemon } from '../support/daemon.js';
import { ASK_BASH } from '../support/judged-world.js';
import { api } from '../support/opencode.js';
import type { NewSession } from '../support/opencode-api.js';
import { waitFor } from '../support/wait.js';
import { createWorld } from '../support/world.js';

const CONFIG = {
  server: { onExit: 'leave' },
  stall: { maxSilence: '15s' },
  retry: { maxAttempts: 3 },
};
const PATIENCE_MS = 180_000;

interface Reported {
  starts: number;
  runs: { outcome: string; time: string; session: { title?: string; project?: string } }[];
  incidents: { kind: string; reason?: string; outcome?: string; session?: { title?: string } }[];
  restarts: { reason: string; cut: { title?: string }[]; tookMs?: number }[];
  waiting: { what: string; session?: { title?: string } }[];
}

test('the report of a night with one of each trouble is what happened', async ({
  onTestFinished,
}) => {
  const world = await createWorld();
  onTestFinished(() => world.end());
  const { directory, url, env } = world;
  const opencode = api(url);

  const begin = async (title: string, prompt: string, permission?: NewSession['permission']) => {
    const session = await opencode.createSession({
      directory,
      title,
      ...(permission && { permission }),
    });
    await opencode.promptAsync(session.id, directory, prompt);
    return session.id;
  };
  const ends = (daemon: TestDaemon, sessionID: string, outcome: string) =>
    daemon.saw('session.ended', { sessionID, outcome }, PATIENCE_MS);

  const evening = await world.daemon({ ...CONFIG, server: { ...CONFIG.server, control: 'spawn' } });
  await evening.saw('server.healthy', {}, PATIENCE_MS);
  const hangs = await begin('hangs', '[[hang]]');
  const retries = await begin('retries', '[[429]]');
  const loops = await begin('loops', '[[nothing-forever]]');
  await Promise.all([
    ends(evening, hangs, 'aborted'),
    ends(evening, retries, 'aborted'),
    ends(evening, loops, 'aborted'),
  ]);
  for (const [title, prompt, outcome] of [
    ['finishes', '[[ok]]', 'completed'],
    ['bad key', '[[401]]', 'failed'],
    ['says nothing', '[[empty]]', 'empty'],
    ['is cut short', '[[length]]', 'truncated'],
  ] as const) {
    await ends(evening, await begin(title, prompt), outcome);
  }
  const esc = await begin('is left by a person', '[[stream 3000 100]]');
  // Before the run's first message an abort leaves no trace.
  await waitFor(() => world.provider.count('[[stream 3000 100]]') > 0, {
    what: 'the run that a person leaves',
    timeout: PATIENCE_MS,
  });
  await opencode.abort(esc, directory);
  await ends(evening, esc, 'aborted_elsewhere');
  expect(await evening.stop()).toBe(0);

  // The same server, with a new daemon.
  const morning = await world.daemon(CONFIG);
  const { pid } = await morning.saw('server.healthy', {}, PATIENCE_MS);
  const cut = await begin('was at work', '[[stream 3000 100]]');
  await morning.saw('session.health', { sessionID: cut, health: 'busy' }, PATIENCE_MS);
  process.kill(pid!, 'SIGKILL');
  await ends(morning, cut, 'interrupted');
  await morning.saw('server.restarted', { reason: 'exited' }, PATIENCE_MS);
  await ends(morning, await begin('goes on after it', '[[ok]]'), 'completed');
  await ends(morning, await begin('delegates', '[[task {{ok}}]]'), 'completed');
  const asks = await begin('asks', '[[bash ls]]', ASK_BASH);
  await morning.saw('session.waiting', { sessionID: asks }, PATIENCE_MS);

  const args = [CLI, 'report', '--since', '1h', '--url', url];
  const run = promisify(execFile);
  const json = await run(process.execPath, [...args, '--format', 'json'], { env });
  const report = JSON.parse(json.stdout) as Reported;
  const outcomes = Object.fromEntries(
    report.runs.map(({ session, outcome }) => [session.title ?? '', outcome]),
  );
  expect(outcomes).toMatchObject({
    hangs: 'aborted',
    retries: 'aborted',
    loops: 'aborted',
    finishes: 'completed',
    'bad key': 'failed',
    'says nothing': 'empty',
    'is cut short': 'truncated',
    'is left by a person': 'aborted_elsewhere',
    'was at work': 'interrupted',
    'goes on after it': 'completed',
    delegates: 'completed',
  });
  // The subagent's own run too, and each run once.
  expect(report.runs).toHaveLength(12);
  expect(report.starts).toBe(2);
  expect(
    report.incidents
      .filter(({ kind }) => kind === 'stuck')
      .map(({ session, reason, outcome }) => `${session?.title}: ${reason}, ${outcome}`)
      .sort(),
  ).toEqual(['hangs: silence, aborted', 'loops: loop, aborted', 'retries: attempts, aborted']);
  expect(report.restarts).toMatchObject([
    { reason: 'exited', cut: [{ title: 'was at work' }], tookMs: expect.any(Number) },
  ]);
  expect(report.waiting).toMatchObject([
    { what: 'a permission is unanswered', session: { title: 'asks' } },
  ]);
  const { stdout: text } = await run(process.execPath, args, { env });
  expect(text.split('\n').length).toBeLessThanOrEqual(40);
  expect(text).toMatch(/Waiting for a person now: 1\n.*asks: a permission is unanswered/);
  expect(text).toMatch(/hangs: stuck \(silence\) → aborted after /);
  // The report is still there when the daemon has ended.
  await morning.stop();
  const { stdout: after } = await run(process.execPath, args, { env });
  expect(after).toContain('Restarts: 1');
});
