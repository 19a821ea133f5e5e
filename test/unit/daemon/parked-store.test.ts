/** Parked runs wait on through a restart of the daemon: by the wall clock, and without a wrong file's harm. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ParkedStore } from '../../../src/daemon/parked-store.js';
import type { Observation, ParkedRun } from '../../../src/watchdog/observation.js';
import { FakeClock } from '../../support/fake-clock.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'parked-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const RUN: ParkedRun = {
  sessionID: 'ses_1',
  directory: '/p',
  model: 'fake/m1',
  lastMessageID: 'msg_1',
  count: 1,
  inMs: 3_600_000,
  forMs: 60_000,
};

function store(clock: FakeClock, runs: ParkedRun[] = []) {
  const seen: Observation[] = [];
  const problems: string[] = [];
  const watchdog = { parkedVersion: 0, parked: () => runs };
  const made = new ParkedStore({
    directory,
    clock,
    watchdog,
    observe: (o) => seen.push(o),
    onProblem: (why) => problems.push(why),
  });
  return { made, watchdog, seen, problems };
}

test('what one daemon has parked, the next one is told of, with the time that is left', async () => {
  const clock = new FakeClock(1_000);
  const first = store(clock, [RUN]);
  first.made.start();
  first.watchdog.parkedVersion = 1;
  first.made.keep();
  await clock.advance(600_000);
  const next = store(clock);
  next.made.start();
  expect(next.seen).toEqual([
    {
      kind: 'parked.restored',
      at: expect.any(Number),
      runs: [{ ...RUN, inMs: 3_000_000, forMs: 660_000 }],
    },
  ]);
});

test('nothing is told where nothing was parked', () => {
  const { made, seen, problems } = store(new FakeClock(1_000));
  made.start();
  expect([seen, problems]).toEqual([[], []]);
});

test('a broken file is said once, and parks nobody', () => {
  writeFileSync(join(directory, 'parked.json'), '{"runs":[{"sessionID":7}]}', { mode: 0o600 });
  const { made, seen, problems } = store(new FakeClock(1_000));
  made.start();
  expect(seen).toEqual([]);
  expect(problems).toMatchObject([expect.stringContaining('parked.json is not read')]);
});

test.each(['a turn of the loop some seconds later', 'the stop'])(
  'what could not be written is written by %s',
  async (when) => {
    const clock = new FakeClock(1_000);
    const { made, watchdog, problems } = store(clock, [RUN]);
    made.start();
    // A folder in its place refuses the file as a full disk does.
    mkdirSync(join(directory, 'parked.json'));
    watchdog.parkedVersion = 1;
    made.keep();
    made.keep();
    expect(problems).toHaveLength(1);
    rmSync(join(directory, 'parked.json'), { recursive: true });
    if (when === 'the stop') made.stop();
    else {
      await clock.advance(5_000);
      made.keep();
    }
    const next = store(clock);
    next.made.start();
    expect(next.seen).toMatchObject([{ runs: [{ sessionID: 'ses_1' }] }]);
  },
);
