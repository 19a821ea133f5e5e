/** `batch` on a real opencode: interrupted, and resumed. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { CLI } from '../support/daemon.js';
import { type Bench, batchLines, startBench } from '../support/driver-bench.js';
import { waitFor } from '../support/wait.js';

let bench: Bench;
beforeAll(async () => {
  bench = await startBench();
});
afterEach(async () => {
  try {
    await bench.expectNothingLeft();
  } finally {
    await bench.clear();
  }
});
afterAll(() => bench.stop());

test('that is interrupted aborts and deletes what runs, and is taken up where it was', async () => {
  const file = await bench.tasks('resumed.ndjson', [
    { prompt: '[[ok]] one' },
    { id: 'two', prompt: 'two, by default' },
    { prompt: '[[ok]] three' },
  ]);
  const output = join(bench.home.path, 'results.ndjson');
  const args = ['batch', file, '--output', output, '--concurrency', '1'];
  bench.provider.setDefault('[[hang]]');
  const first = bench.start(process.execPath, [CLI, ...args]);
  await waitFor(() => bench.provider.open('two, by default') === 1, { what: 'the second task' });
  first.child.kill('SIGINT');
  const interrupted = await first.ended;
  expect(interrupted.code).toBe(130);
  expect(interrupted.stderr).toContain('1 of 3 tasks ok, 1 failed, 1 not begun');
  const before = await readFile(output, 'utf8');
  expect(batchLines(before)).toMatchObject([
    { id: '1', ok: true },
    { id: 'two', ok: false, error: { kind: 'aborted', aborted: true, deleted: true } },
  ]);
  await bench.expectNothingLeft();

  bench.provider.setDefault('[[ok]]');
  expect((await bench.cli(args)).code).toBe(2);
  // As a kill in the middle of a line would leave it.
  await writeFile(output, `${before}{"id":"3","ok":tr`);
  const resumed = await bench.cli([...args, '--resume']);
  expect(resumed.stderr).toContain('2 of 2 tasks ok, 1 finished earlier');
  expect(resumed.code).toBe(0);
  expect(bench.provider.count('[[ok]] one')).toBe(1);
  const nothing = await bench.cli([...args, '--resume']);
  expect(nothing.stderr).toContain('0 of 0 tasks ok, 3 finished earlier');
});
