/** What a spawned server writes is read when it is there, and costs nothing while it is not. */
import {
  appendFileSync,
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import {
  MAX_FILE_BYTES,
  MAX_LINE_BYTES,
  MAX_LINES_PER_SECOND,
  OutputTail,
} from '../../../../src/process/server/output.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { waitFor } from '../../../support/wait.js';

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

function follow(stdout?: string) {
  const dir = mkdtempSync(join(tmpdir(), 'watchdog-output-'));
  ends.push(() => rmSync(dir, { recursive: true, force: true }));
  const files = { stdout: stdout ?? join(dir, 'out'), stderr: join(dir, 'err') };
  if (stdout === undefined) writeFileSync(files.stdout, '');
  writeFileSync(files.stderr, '');
  const clock = new CountingClock();
  const lines: string[] = [];
  const lost: string[] = [];
  let dropped = 0;
  const tail = new OutputTail({
    files,
    clock,
    from: 'start',
    onLine: ({ line }) => lines.push(line),
    onDropped: (amount) => {
      dropped += amount;
    },
    onLost: (stream, error) => lost.push(`${stream}: ${String(error)}`),
  });
  ends.push(() => tail.stop());
  return { files, clock, lines, lost, tail, dropped: () => dropped };
}

test('new output is read at once, before any poll', async () => {
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

test('what was too much for one poll is read by the next, soon', async () => {
  const { files, clock, lines, dropped } = follow();
  const count = 6_000;
  appendFileSync(files.stdout, `${'x'.repeat(999)}\n`.repeat(count));
  await waitFor(() => lines.length > 0, { what: 'the first lines' });
  await clock.advance(3_000);
  expect(lines.length + dropped()).toBeGreaterThanOrEqual(count);
});

test('of a line that is too long the beginning is shown, and nothing of the rest is looked at', async () => {
  const { files, clock, lines } = follow();
  const colours = '\u001b[31m'.repeat(4_000);
  appendFileSync(files.stdout, `a${colours}b\n${colours}c\n${'x'.repeat(30_000)}\nshort\r\n`);
  await clock.advance(10_000);
  expect(lines).toEqual([
    expect.stringMatching(/^a.{0,9}…$/),
    expect.stringMatching(/^.{0,9}…$/),
    `${'x'.repeat(MAX_LINE_BYTES - 1)}…`,
    'short',
  ]);
});

test('a file that was removed is read on, and emptied by its descriptor when it is large', async () => {
  const { files, clock, lines, lost } = follow();
  const server = openSync(files.stdout, 'a');
  ends.push(() => closeSync(server));
  rmSync(files.stdout);
  const line = `${'x'.repeat(4_095)}\n`;
  writeSync(server, line.repeat(MAX_FILE_BYTES / line.length + 1));
  for (let poll = 0; poll < 5; poll += 1) await clock.advance(10_000);
  expect(fstatSync(server).size).toBe(0);
  writeSync(server, 'after it was emptied\n');
  await clock.advance(10_000);
  expect(lines.at(-1)).toBe('after it was emptied');
  expect(lost).toEqual([]);
});

// The one file that opens and cannot be read (EIO at address 0): proc(5).
test.skipIf(process.platform !== 'linux')(
  'a file that cannot be read is said once, and the other is read on (needs Linux: /proc/self/mem)',
  async () => {
    const { files, clock, lines, lost } = follow('/proc/self/mem');
    appendFileSync(files.stderr, 'one\n');
    await clock.advance(30_000);
    expect(lines).toEqual(['one']);
    expect(lost).toEqual([expect.stringMatching(/^stdout: .*EIO/)]);
  },
);
