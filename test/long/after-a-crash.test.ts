/**
 * A server that dies or hangs while runs are at work, on a real opencode: which runs continue, which do not, and what
 * evidence is kept.
 */
import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { CLI } from '../support/daemon.js';
import { type Judged, JudgedWorld, lines } from '../support/judged-world.js';
import { opencodeEnv } from '../support/opencode.js';
import { measureSlowness } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';

let world: JudgedWorld;
afterEach(() => world?.end());

test('of eight runs one kills the server each time: seven are finished, and the killer is quarantined', async () => {
  world = await JudgedWorld.make();
  const { directory, home, opencode, provider } = world;
  const watchdog = await world.daemon({
    recover: { afterRestart: 'continue', prompt: 'Please continue.', quarantineAfter: 2 },
  });
  await world.warmUp(directory);
  // The killer waits for a file, so that all eight are seen at work before.
  const gate = join(home.path, 'tmp', 'kill');
  const kills = `[[bash until test -e ${gate}; do sleep 0.1; done; kill -9 $PPID]]`;
  provider.setDefault(kills, '(killer)');
  const titles = ['one', 'two', 'three', 'killer', 'four', 'five', 'six', 'seven'];
  const sessions: Judged[] = [];
  for (const title of titles) {
    const text = title === 'killer' ? kills : '[[stream 6000 100]]';
    sessions.push(await world.begin({ title, text }));
  }
  for (const { id } of sessions) {
    await watchdog.saw('session.health', { sessionID: id, health: 'busy' });
  }
  for (const each of sessions) await world.asked(each);
  const killer = sessions.find(({ title }) => title === 'killer')!;
  const others = sessions.filter((each) => each !== killer);

  writeFileSync(gate, '');
  await watchdog.saw('server.exited', {}, 120_000);
  rmSync(gate);
  await watchdog.saw('session.continued', { sessionID: killer.id }, 300_000);
  writeFileSync(gate, '');
  const quarantined = await watchdog.saw('session.quarantined', {}, 120_000);
  for (const each of others) {
    await watchdog.saw('session.continued', { sessionID: each.id }, 300_000);
    await world.finished(each);
  }

  expect(quarantined).toMatchObject({ sessionID: killer.id, crashes: 2 });
  expect(watchdog.events('session.quarantined')).toHaveLength(1);
  expect(watchdog.events('server.restarted', { reason: 'exited' })).toHaveLength(2);
  expect(watchdog.events('session.continue_failed')).toEqual([]);
  for (const each of sessions) {
    expect(lines(watchdog, 'session.continued', each), each.title).toHaveLength(1);
    const messages = await opencode.messages(each.id, directory);
    const prompts = messages.filter(({ info }) => info.role === 'user');
    expect(prompts, each.title).toHaveLength(2);
    expect(prompts[1]?.parts[0]?.text, each.title).toMatch(
      /^Your last run was cut when the opencode server ended unexpectedly\. .*Please continue\.$/s,
    );
  }
  expect(await opencode.status(directory)).toEqual({});
});

test('before a frozen server is restarted, what it was doing is kept, and report prints it', async () => {
  world = await JudgedWorld.make();
  await measureSlowness();
  const watchdog = await world.daemon({
    probe: { interval: '1s', timeout: world.time(1.5), maxFailures: 3 },
  });
  await world.warmUp(world.directory);
  const { pid } = await watchdog.saw('server.healthy');
  const open = await world.begin({ title: 'open', text: '[[hang]]' });
  await watchdog.saw('session.health', { sessionID: open.id, health: 'busy' });
  // The watchdog continues it each time, until it sees that this is of no use.
  const settled = () =>
    watchdog.events('server.continued').length + watchdog.events('server.evidence').length;
  while (watchdog.events('server.evidence').length === 0) {
    const before = settled();
    process.kill(Number(pid), 'SIGSTOP');
    await waitFor(() => settled() > before, {
      what: 'the server to run on, or to be given up',
      timeout: 60_000,
    });
  }
  const { folder } = await watchdog.saw('server.evidence', { reason: 'unresponsive' });
  await watchdog.saw('server.restarted', { reason: 'unresponsive' }, 120_000);

  const seen = JSON.parse(readFileSync(join(String(folder), 'evidence.json'), 'utf8'));
  expect(seen.sessions).toMatchObject([{ id: open.id, health: 'busy' }]);
  const server = seen.processes.find((each: { pid: number }) => each.pid === pid);
  expect(server).toMatchObject({ state: 'T' });
  expect(server.threads.length).toBeGreaterThan(1);
  for (const { state } of server.threads) expect(state).toBe('T');
  expect(readFileSync(join(String(folder), 'output.log'), 'utf8')).toContain('listening');

  const found = JSON.parse(await report('--format', 'json'));
  // It was stopped by a signal first, which is an incident of its own.
  const incident = found.incidents.find(
    ({ evidence }: { evidence?: string }) => evidence === folder,
  );
  expect(incident).toMatchObject({ outcome: 'restarted' });
  const words = await report('--incident', String(incident.id), '--format', 'markdown');
  for (const part of [`${incident.id}`, `${pid} opencode`, 'main thread T', `${open.id} busy`]) {
    expect(words).toContain(part);
  }
  expect(words).toContain('opencode server listening');
});

/** Returns what `report` prints about this world's server. */
async function report(...args: string[]): Promise<string> {
  const url = `http://127.0.0.1:${world.port}`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [CLI, 'report', '--url', url, ...args],
    { env: opencodeEnv(world.home.path) },
  );
  return stdout;
}
