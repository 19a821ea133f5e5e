/** What a spawned server writes is read when it is there, and costs nothing while it is not. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { MAX_LINES_PER_SECOND, OutputTail } from '../../../src/process/server/output.js';
import { FakeClock } from '../../support/fake-clock.js';
import { waitFor } from '../../support/wait.js';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0).reverse()) end();
});

/** Counts its timers. */
class CountingClock extends FakeClock {
  timers = 0;

  override after(ms: number, fn: () => void) {
    this.timers += 1;
    return super.after(ms, fn);
  }
}

function follow() {
  const dir = mkdtempSync(join(tmpdir(), 'watchdog-output-'));
  ends.push(() => rmSync(dir, { recursive: true, force: true }));
  const files = { stdout: join(dir, 'out'), stderr: join(dir, 'err') };
  writeFileSync(files.stdout, '');
  writeFileSync(files.stderr, '');
  const clock = new CountingClock();
  const lines: string[] = [];
  let dropped = 0;
  const tail = new OutputTail({
    files,
    clock,
    from: 'start',
    onLine: ({ line }) => lines.push(line),
    onDropped: (amount) => {
      dropped += amount;
    },
  });
  ends.push(() => tail.stop());
  return { files, clock, lines, dropped: () => dropped };
}

test('new output is read at once, without a look', async () => {
  const { files, lines } = follow();
  appendFileSync(files.stderr, 'one\n');
  await waitFor(() => lines.length === 1, { what: 'the line' });
});

test('a quiet server is looked at rarely', async () => {
  const { clock } = follow();
  await clock.advance(60_000);
  expect(clock.timers).toBeLessThanOrEqual(10);
});

test('lines that were left out are told within a second or so', async () => {
  const { files, clock, lines, dropped } = follow();
  appendFileSync(files.stdout, 'x\n'.repeat(MAX_LINES_PER_SECOND + 7));
  await waitFor(() => lines.length === MAX_LINES_PER_SECOND, { what: 'the lines that fit' });
  await clock.advance(1_000);
  expect(dropped()).toBe(7);
});

test('what was too much for one look is read by the next, soon', async () => {
  const { files, clock, lines, dropped } = follow();
  const count = 6_000;
  appendFileSync(files.stdout, `${'x'.repeat(999)}\n`.repeat(count));
  await waitFor(() => lines.length > 0, { what: 'the first lines' });
  await clock.advance(3_000);
  expect(lines.length + dropped()).toBeGreaterThanOrEqual(count);
});
