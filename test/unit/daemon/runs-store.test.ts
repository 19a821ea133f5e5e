/** The runs at work are known to the next daemon, also where this one had no time to say good-bye. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RunsStore } from '../../../src/daemon/runs-store.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { FakeClock } from '../../support/fake-clock.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'runs-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const RUN = { sessionID: 'ses_1', directory: '/p', model: 'fake/m1', count: 0 };

/** With `known: false`, the watchdog of the store has seen no session yet. */
function store(clock: FakeClock, { wanted = true, known = true } = {}) {
  const seen: Observation[] = [];
  const problems: string[] = [];
  const watchdog = {
    server: { pid: 7 },
    crashes: {
      version: 0,
      atWork: () => (known ? [RUN] : []),
      inARow: new Map(known ? [['ses_1', 1]] : []),
      quarantined: new Map(known ? [['ses_q', { sessionID: 'ses_q' }]] : []),
    },
  };
  const made = new RunsStore({
    directory,
    clock,
    watchdog,
    serverStart: () => '100',
    wanted: () => wanted,
    observe: (o) => seen.push(o),
    onProblem: (why) => problems.push(why),
  });
  return { made, seen, problems, watchdog };
}

function startAndStop(clock: FakeClock, options = {}) {
  const { made } = store(clock, options);
  made.start();
  made.stop();
}

const RESTORED = {
  kind: 'runs.restored',
  at: expect.any(Number),
  serverPid: 7,
  serverStart: '100',
  runs: [RUN],
  inARow: new Map([['ses_1', 1]]),
  quarantined: [{ sessionID: 'ses_q' }],
};

test('what was at work is written within a second, and told to the next daemon', async () => {
  const clock = new FakeClock(1_000);
  const { made } = store(clock);
  made.start();
  made.keep();
  await clock.advance(1_000);
  const next = store(clock);
  next.made.start();
  expect(next.seen).toEqual([RESTORED]);
});

test('the process of a server that came back by itself is written as soon as it is found', async () => {
  const clock = new FakeClock(1_000);
  const { made, watchdog } = store(clock);
  made.start();
  made.keep();
  await clock.advance(1_000);
  watchdog.server.pid = 8;
  made.keep();
  await clock.advance(1_000);
  const next = store(clock);
  next.made.start();
  expect(next.seen).toEqual([{ ...RESTORED, serverPid: 8 }]);
});

test('a stop says that it was one', () => {
  const clock = new FakeClock(1_000);
  startAndStop(clock);
  const next = store(clock);
  next.made.start();
  expect(next.seen).toEqual([{ ...RESTORED, wasStopped: true }]);
});

test('a stop during the first probe leaves what the earlier daemon kept', () => {
  const clock = new FakeClock(1_000);
  startAndStop(clock);
  store(clock, { known: false }).made.stop();
  const next = store(clock, { known: false });
  next.made.start();
  expect(next.seen).toEqual([{ ...RESTORED, wasStopped: true }]);
});

test('a turn of the loop during the first probe overwrites nothing', async () => {
  const clock = new FakeClock(1_000);
  startAndStop(clock);
  const next = store(clock, { known: false });
  next.made.keep();
  await clock.advance(1_500);
  next.made.start();
  expect(next.seen).toEqual([{ ...RESTORED, wasStopped: true }]);
});

test('what could not be written is written some seconds later', async () => {
  const clock = new FakeClock(1_000);
  const { made, problems } = store(clock);
  made.start();
  // A folder in its place refuses the file as a full disk does.
  mkdirSync(join(directory, 'runs.json'));
  made.keep();
  await clock.advance(1_000);
  expect(problems).toHaveLength(1);
  rmSync(join(directory, 'runs.json'), { recursive: true });
  await clock.advance(5_000);
  const next = store(clock);
  next.made.start();
  expect(next.seen).toEqual([RESTORED]);
});

test('nothing is written or told where nobody asks for it', async () => {
  const clock = new FakeClock(1_000);
  const { made, seen } = store(clock, { wanted: false });
  made.start();
  made.keep();
  await clock.advance(5_000);
  made.stop();
  expect(readdirSync(directory)).toEqual([]);
  expect(seen).toEqual([]);
});

test('what was kept is dropped by a daemon that is not asked for it', () => {
  const clock = new FakeClock(1_000);
  startAndStop(clock);
  expect(readdirSync(directory)).toEqual(['runs.json']);
  store(clock, { wanted: false }).made.start();
  expect(readdirSync(directory)).toEqual([]);
  startAndStop(clock);
  startAndStop(clock, { wanted: false });
  const next = store(clock);
  next.made.start();
  expect(next.seen).toEqual([]);
  expect(next.problems).toEqual([]);
});

test('a broken file is said once, and continues nobody', () => {
  writeFileSync(join(directory, 'runs.json'), '{"runs":7}', { mode: 0o600 });
  const { made, seen, problems } = store(new FakeClock(1_000));
  made.start();
  expect(seen).toEqual([]);
  expect(problems).toMatchObject([expect.stringContaining('runs.json is not read')]);
});
