/** `batch` on a real opencode: stuck tasks among good ones, YAML, a terminal, and a reader that stops. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { OpencodeDriver } from '../../src/index.js';
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

test('of 20 with three stuck at concurrency 4: the stuck are aborted and reported, the others go on', async () => {
  const stuck: Record<number, string> = {
    3: '[[hang]]',
    8: '[[stall 2]]',
    15: '[[bash sleep 600]]',
  };
  const file = await bench.tasks(
    'twenty.ndjson',
    Array.from({ length: 20 }, (_, index) => ({
      id: `t${index}`,
      prompt: `${stuck[index] ?? '[[stream 3 10]]'} task ${index}.`,
      ...(stuck[index] && { timeout: '12s' }),
    })),
  );
  const { child, ended } = bench.start(process.execPath, [
    CLI,
    'batch',
    file,
    '--concurrency',
    '4',
  ]);
  let most = 0;
  const looking = waitFor(
    () => {
      most = Math.max(most, bench.provider.open());
      return child.exitCode !== null;
    },
    { what: 'the batch to end', timeout: 200_000, interval: 10 },
  );
  const { code, stdout, stderr } = await ended;
  await looking;
  expect(code).toBe(1);
  const results = batchLines(stdout);
  expect(results.map(({ id }) => id).sort()).toHaveLength(20);
  const failed = results.filter(({ ok }) => !ok);
  // Compared as a list, so that an unexpected failure shows with its error.
  expect(failed.filter(({ id }) => !['t15', 't3', 't8'].includes(id))).toEqual([]);
  expect(failed).toHaveLength(3);
  for (const { error } of failed) {
    expect(error).toMatchObject({ kind: 'timeout', aborted: true, deleted: true });
  }
  expect(most).toBeLessThanOrEqual(4);
  expect(stderr).toContain('17 of 20 tasks ok, 3 failed');
});

test('reads YAML, refuses what it does not know, and shows its progress on a terminal', async () => {
  const file = join(bench.home.path, 'tasks.yaml');
  await writeFile(file, '- prompt: "[[ok]] a"\n  directory: project\n- prompt: "[[ok]] b"\n');
  const command = `${process.execPath} ${CLI} batch ${file} --model fake/m2 > /dev/null`;
  const shown = await bench.start('script', ['-qec', command, '/dev/null'], {
    env: { PWD: bench.home.path },
  }).ended;
  expect(shown.stdout).toMatch(/█+ 2\/2 {2}ok \d {2}failed \d {2}running 0/);

  await writeFile(file, '- promt: hello\n');
  const wrong = await bench.cli(['batch', file]);
  expect(wrong).toMatchObject({ code: 2, stdout: '' });
  expect(wrong.stderr).toMatch(/line 1 \(task 1\): .*unknown key "promt", did you mean "prompt"\?/);
});

test('of the library ends what runs when its reader stops reading', async () => {
  const driver = new OpencodeDriver({ url: bench.server.url });
  const all = ['[[ok]]', '[[hang]]', '[[hang]]', '[[ok]]'].map((prompt) => ({ prompt }));
  for await (const result of driver.batch(all, { concurrency: 3 })) {
    expect(result).toMatchObject({ id: '1', ok: true, reply: { text: 'All done.' } });
    break;
  }
  await bench.expectNothingLeft();
  await driver.close();
});
