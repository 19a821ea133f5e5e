/** What a process tree uses: memory, processes, and the largest below the server. */
import { expect, test } from 'vitest';
import { treeUsage } from '../../../../src/process/table/memory.js';
import type { ProcessStat, ProcessTable } from '../../../../src/process/table/process-table.js';

const MIB = 2 ** 20;
const entry = (pid: number, ppid: number, mib: number, name = 'x'): ProcessStat => ({
  pid,
  ppid,
  name,
  startTime: '1',
  state: 'S',
  rssBytes: mib * MIB,
});

function table(list: ProcessStat[], commands: Record<number, string[]> = {}): ProcessTable {
  return {
    kind: 'ps',
    list: async () => list,
    read: async (pid: number) => ({
      ...list.find((each) => each.pid === pid),
      command: commands[pid] ?? [],
    }),
  } as unknown as ProcessTable;
}

test('the largest children come first, each with all below it, named by what they run', async () => {
  const usage = await treeUsage(
    table(
      [
        entry(1, 0, 300),
        entry(2, 1, 10, 'node'),
        entry(3, 2, 90),
        entry(4, 1, 20, 'bash'),
        entry(9, 0, 999),
      ],
      {
        2: ['/usr/bin/node', '/opt/mcp/server.js', '--api-key=sk-1234'],
        4: ['/bin/bash', '-c', 'TOKEN=abc make'],
      },
    ),
    [1],
  );
  expect(usage).toEqual({
    bytes: 420 * MIB,
    processes: 4,
    children: [
      { name: 'node server.js', pid: 2, bytes: 100 * MIB },
      { name: 'bash', pid: 4, bytes: 20 * MIB },
    ],
  });
});

test('a wrapper above the server is none of its children', async () => {
  const usage = await treeUsage(
    table([entry(1, 0, 40), entry(2, 1, 300), entry(3, 2, 50, 'git')]),
    [2, 1],
  );
  expect(usage?.children).toEqual([{ name: 'git', pid: 3, bytes: 50 * MIB }]);
  expect(usage?.processes).toBe(3);
});

test('nothing is told of a server that is gone', async () => {
  expect(await treeUsage(table([]), [1])).toBeUndefined();
});
