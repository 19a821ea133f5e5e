import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { openProcessTable } from '../../../../src/process/table/open-table.js';
import { ProcTable, parseStat } from '../../../../src/process/table/proc-table.js';
import { ancestors, type ProcessStat, tree } from '../../../../src/process/table/process-table.js';
import { PsTable } from '../../../../src/process/table/ps-table.js';
import { waitFor } from '../../../support/wait.js';

const children: Array<ReturnType<typeof spawn>> = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

const stat = (pid: number, ppid: number, state = 'S'): ProcessStat => ({
  pid,
  ppid,
  state,
  startTime: `${pid}00`,
  name: `p${pid}`,
  rssBytes: 0,
});

test('a name with spaces and parentheses does not shift the fields of stat', () => {
  const text =
    '4711 (a) b (c d) S 17 4711 4711 0 -1 4194304 98 0 0 0 1 2 3 4 20 0 1 0 119613 3133440 380 18446744073709551615 1 2';
  expect(parseStat(text, 4096)).toEqual({
    pid: 4711,
    ppid: 17,
    pgid: 4711,
    sid: 4711,
    startTime: '119613',
    state: 'S',
    name: 'a) b (c d',
    rssBytes: 380 * 4096,
  });
});

test('a stat that was cut short because its process ended is no process', () => {
  expect(parseStat('')).toBeUndefined();
  expect(parseStat('17 (x')).toBeUndefined();
  expect(parseStat('17 (x) S 1 2')).toBeUndefined();
});

test('a tree has all descendants, leaves zombies out, and survives a circle', () => {
  const table = [
    stat(1, 0),
    stat(10, 1),
    stat(11, 10),
    stat(12, 11),
    stat(13, 10, 'Z'),
    stat(20, 1),
  ];
  expect(tree([10], table).map(({ pid }) => pid)).toEqual([10, 11, 12]);
  expect(tree([10, 11, 99], table).map(({ pid }) => pid)).toEqual([10, 11, 12]);
  expect(tree([30], [stat(30, 31), stat(31, 30)]).map(({ pid }) => pid)).toEqual([30, 31]);
});

test('ancestors are listed nearest first and end at a circle', () => {
  const table = [stat(1, 0), stat(10, 1), stat(11, 10), stat(12, 11)];
  expect(ancestors(12, table).map(({ pid }) => pid)).toEqual([11, 10, 1]);
  expect(ancestors(30, [stat(30, 31), stat(31, 30)]).map(({ pid }) => pid)).toEqual([31, 30]);
});

test('this machine has a table that knows this very process', async () => {
  const table = openProcessTable();
  const self = await table.read(process.pid);
  expect(self).toMatchObject({ pid: process.pid, ppid: process.ppid });
  expect(self!.rssBytes).toBeGreaterThan(10 * 2 ** 20);
  expect(await table.isAlive(self!)).toBe(true);
  expect(await table.isAlive({ pid: process.pid, startTime: '1' })).toBe(false);
  expect((await table.list()).map(({ pid }) => pid)).toContain(process.pid);
});

test('argv keeps empty arguments and spaces, as the kernel has them', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)', 'a b', '', 'c'], {
    stdio: 'ignore',
  });
  children.push(child);
  await once(child, 'spawn');
  const info = await new ProcTable().read(child.pid!);
  expect(info!.command.slice(1)).toEqual(['-e', 'setInterval(() => {}, 1e6)', 'a b', '', 'c']);
  expect(info).toMatchObject({ uid: process.geteuid!(), exeDeleted: false });
});

test('a zombie is listed but not alive', async () => {
  // The shell starts a child and becomes a sleep, which never asks how the child ended.
  const shell = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 100'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(shell);
  const pid = Number(String((await once(shell.stdout!, 'data'))[0]));
  const table = new ProcTable();
  await waitFor(async () => (await table.read(pid))?.state === 'Z', { what: 'a zombie' });
  expect(await table.isAlive((await table.read(pid))!)).toBe(false);
});

test('a process that is followed is known by its descriptor until it has ended', async () => {
  const shell = spawn('sh', ['-c', 'sleep 100 & echo $!; exec sleep 100'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(shell);
  const pid = Number(String((await once(shell.stdout!, 'data'))[0]));
  const table = new ProcTable();
  const ref = (await table.read(pid))!;
  const followed = table.follow(ref);
  // Two reads of one moment: whether it runs or sleeps may change between them.
  const same = () =>
    waitFor(async () => followed.state() === (await table.stateOf(ref)), {
      what: 'the same state',
    });
  await same();
  process.kill(pid, 'SIGSTOP');
  await waitFor(() => followed.state() === 'T', { what: 'its stop' });
  await same();
  process.kill(pid, 'SIGKILL');
  // Its parent never asks: it stays a zombie, which is not alive.
  await waitFor(() => followed.state() === undefined, { what: 'its end' });
  expect(followed.state()).toBeUndefined();
  followed.close();

  const parent = table.follow((await table.read(shell.pid!))!);
  await waitFor(() => parent.state() === 'S', { what: 'a shell that waits' });
  shell.kill('SIGKILL');
  await once(shell, 'exit');
  expect(parent.state()).toBeUndefined();
  expect(table.follow({ pid: process.pid, startTime: '1' }).state()).toBeUndefined();
  expect(table.follow({ pid: 2 ** 22 + 1, startTime: '1' }).state()).toBeUndefined();
});

test('a process does not seem to be gone where it only cannot be looked at', async () => {
  const root = await mkdtemp(join(tmpdir(), 'proc-'));
  try {
    await mkdir(join(root, '17'));
    await writeFile(join(root, '17/stat'), await readFile('/proc/self/stat'));
    const self = { ...(await new ProcTable().read(process.pid))!, pid: 17 };
    expect(new ProcTable(root).follow(self).state()).toMatch(/[RS]/);
    // No such directory (ENOTDIR): that is no word about the process.
    expect(() => new ProcTable(join(root, '17/stat')).follow(self)).toThrow();
  } finally {
    await rm(root, { recursive: true });
  }
});

test('a process that does not exist is undefined, not an error', async () => {
  expect(await new ProcTable().read(2 ** 22 + 1)).toBeUndefined();
});

test('ps gives the same family where there is no /proc', async () => {
  const table = new PsTable();
  const self = await table.read(process.pid);
  expect(self).toMatchObject({ pid: process.pid, ppid: process.ppid });
  expect(self!.startTime).toMatch(/^\d{4}-/);
  expect(await table.isAlive(self!)).toBe(true);
});

test('what ps shows of a zombie, of memory and of a path is understood', async () => {
  const table = new PsTable(async () => [
    { pid: 1, ppid: 0, name: 'launchd', cmd: '/sbin/launchd', path: '/sbin/launchd', uid: 0 },
    { pid: 2, ppid: 1, name: 'x', cmd: '(node)', memory: 50 },
    { pid: 3, ppid: 1, name: 'y', cmd: '[sh] <defunct>' },
  ]);
  const [init, gone, defunct] = await table.list();
  expect(init).toMatchObject({ exe: '/sbin/launchd', command: ['/sbin/launchd'], state: '?' });
  expect(gone).toMatchObject({ state: 'Z', rssBytes: Math.round(totalmem() / 2) });
  expect(defunct!.state).toBe('Z');
});

test('the family of a process is what the whole table says, zombies left out', async () => {
  const script = 'sleep 0 & sleep 100 & echo $!; exec sh -c "sleep 100 & exec sleep 100"';
  const shell = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(shell);
  await once(shell.stdout!, 'data');
  const table = new ProcTable();
  const pids = (family: readonly ProcessStat[]) => family.map(({ pid }) => pid).sort();
  const whole = async () => tree([shell.pid!], await table.list());
  // Neither with the first `sleep`, nor with a shell that is about to start the last.
  const settled = async () => {
    const all = await Promise.all((await whole()).map(({ pid }) => table.read(pid)));
    return all.length === 3 && all.every((each) => each?.command.join(' ') === 'sleep 100');
  };
  await waitFor(settled, { what: 'the family of three' });
  expect(pids(table.family([shell.pid!])!)).toEqual(pids(await whole()));
  expect(table.family([2 ** 22 + 1])).toEqual([]);
  for (const { pid } of await whole()) process.kill(pid, 'SIGKILL');
});

test('the family is unknown where the kernel does not say who is whose child', async () => {
  const root = await mkdtemp(join(tmpdir(), 'proc-'));
  try {
    await mkdir(join(root, '17/task/17'), { recursive: true });
    await writeFile(join(root, '17/stat'), await readFile('/proc/self/stat'));
    expect(new ProcTable(root).family([17])).toBeUndefined();
    await writeFile(join(root, '17/task/17/children'), '');
    expect(new ProcTable(root).family([17])).toHaveLength(1);
  } finally {
    await rm(root, { recursive: true });
  }
});
