/** What a process does, thread by thread: read of this very process. */
import { expect, it } from 'vitest';
import { examineTree } from '../../../../src/process/table/examine.js';
import { openProcessTable } from '../../../../src/process/table/open-table.js';

const LINUX = process.platform === 'linux';

it('names the threads of a process, with their states where /proc shows them', async () => {
  const found = await examineTree(openProcessTable(), [process.pid]);
  const [own] = found ?? [];
  expect(own).toMatchObject({ pid: process.pid, ppid: process.ppid });
  expect(own?.bytes).toBeGreaterThan(0);
  if (!LINUX) {
    expect(own?.threads).toEqual([]);
    return;
  }
  const main = own?.threads.find(({ tid }) => tid === process.pid);
  expect(main?.state).toMatch(/^[RSD]$/);
  // V8's workers rest in a futex.
  expect(own?.threads.length).toBeGreaterThan(1);
});

it('of a tree that is gone there is nothing', async () => {
  expect(await examineTree(openProcessTable(), [2 ** 22 + 1])).toBeUndefined();
});
