/** `npm run demo` tells the truth to its end, and leaves nothing behind wherever it is interrupted. */
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  closeFolder,
  interrupted,
  nothingLeft,
  openFolder,
  reached,
  startDemo,
} from '../support/demo.js';

beforeEach(openFolder);
afterEach(closeFolder);

test('it plays all four acts, sums them up from what was seen, and ends with 0', async () => {
  const { output, end } = startDemo();
  const code = await end();
  expect(code, output()).toBe(0);
  // Without a terminal there are no colours.
  expect(stripVTControlCharacters(output())).toBe(output());
  expect(output()).not.toContain('✗');
  const [, summary = ''] = output().split('== Summary');
  const words = summary.replace(/\s+/g, ' ');
  expect(words).toContain('what happened what the watchdog did evidence');
  // Cells wrap, so a cell's lines are mixed with those of its neighbours.
  expect(words).toContain('aborted the first, and left');
  expect(words).toMatch(/pid (\d+) → \1/);
  expect(output()).toMatch(/Runs: 4; 2 (aborted|completed), 2 (aborted|completed)/);
  expect(summary).toContain('All four went as told.');
  await nothingLeft();
});

test('interrupted while opencode starts, it leaves no process and no folder behind', async () => {
  startDemo();
  await reached('server.starting');
  await interrupted();
});

test('interrupted during a restart, it leaves no process and no folder behind', async () => {
  startDemo();
  const [, pid] = await reached(/is healthy after .*, pid (\d+)/);
  // From now on the demo only listens, so the kill cuts no request of its own.
  await reached('All are under way');
  process.kill(Number(pid), 'SIGKILL');
  await reached('server.restarting');
  // It may see that its tool is gone before the interrupt arrives, and then ends by itself in the same restart.
  await interrupted([130, 1]);
});
