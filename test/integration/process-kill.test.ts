import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SystemClock } from '../../src/lib/clock.js';
import { proveServer } from '../../src/process/identity/identity.js';
import { killTree } from '../../src/process/signal/kill-tree.js';
import { Signaller } from '../../src/process/signal/signal.js';
import { ProcTable } from '../../src/process/table/proc-table.js';
import type { ProcessInfo, ProcessTable } from '../../src/process/table/process-table.js';
import { PsTable } from '../../src/process/table/ps-table.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';

const table = new ProcTable();
const clock = new SystemClock();
const children: ChildProcess[] = [];
const strays: number[] = [];
afterEach(() => {
  vi.restoreAllMocks();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const pid of strays.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
});

/** Starts a process that prints the pids of its family once all of them run. */
async function family(code: string): Promise<{ root: ProcessInfo; pids: number[] }> {
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [line] = await once(child.stdout!, 'data');
  const pids = String(line).trim().split(' ').map(Number);
  strays.push(...pids);
  return { root: (await table.read(child.pid!))!, pids };
}

const IDLE = 'setInterval(() => {}, 1e6)';
const STUBBORN = `process.on("SIGTERM", () => {}); ${IDLE}; console.log(process.pid)`;
/** A child, and below it a stubborn grandchild in a session of its own. */
const FAMILY = `
  const { spawn } = require('node:child_process');
  const child = spawn(process.execPath, ['-e', ${JSON.stringify(`
    const { spawn } = require('node:child_process');
    const c = spawn(process.execPath, ['-e', ${JSON.stringify(STUBBORN)}], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    c.stdout.once('data', () => console.log(process.pid + ' ' + c.pid));
    ${IDLE};
  `)}], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.once('data', (d) => console.log(process.pid + ' ' + String(d).trim()));
  ${IDLE};`;

const tables: Array<[string, ProcessTable]> = [
  ['/proc', table],
  ['ps', new PsTable()],
];
describe.each(tables)('with the table from %s', (_, byTable) => {
  test('children in sessions of their own die with the server, also those that ignore SIGTERM', async () => {
    const { root, pids } = await family(FAMILY);
    expect(pids).toHaveLength(3);
    const ref = (await byTable.read(root.pid))!;
    const report = await killTree({ table: byTable, clock, roots: [ref], stopGraceMs: 400 });
    expect(pids.filter(isAlive)).toEqual([]);
    expect(report).toMatchObject({ survivors: [], denied: [], forced: true, portFree: true });
    expect(report.killed).toEqual(expect.arrayContaining(pids));
  });

  test('a pid that was recycled gets no signal', async () => {
    const { root } = await family(`console.log(process.pid); ${IDLE}`);
    const stale = { pid: root.pid, startTime: 'before' };
    const report = await killTree({ table: byTable, clock, roots: [stale], stopGraceMs: 200 });
    expect(report).toMatchObject({ killed: [], survivors: [] });
    expect(isAlive(root.pid)).toBe(true);
    const signaller = await Signaller.open(byTable);
    expect(await signaller.send(stale, 'SIGKILL')).toMatchObject({ sent: false, why: 'gone' });
  });
});

test('a family that ends by itself on SIGTERM is not forced', async () => {
  const { root, pids } = await family(`console.log(process.pid); ${IDLE}`);
  const report = await killTree({ table, clock, roots: [root], stopGraceMs: 5_000 });
  expect(report).toMatchObject({ killed: pids, forced: false });
  expect(report.tookMs).toBeLessThan(5_000);
});

test('a server that forks while it is ended takes the newcomers along', async () => {
  const { root } = await family(`
    const { spawn } = require('node:child_process');
    process.on('SIGTERM', () => {
      for (let i = 0; i < 3; i++) spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
    });
    console.log(process.pid); ${IDLE}`);
  const report = await killTree({ table, clock, roots: [root], stopGraceMs: 500 });
  strays.push(...report.killed);
  expect(report.killed.length).toBe(4);
  expect(report.killed.filter(isAlive)).toEqual([]);
});

test('a zombie is dead: nobody waits for it', async () => {
  const shell = spawn('sh', ['-c', 'sleep 1000 & echo $!; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(shell);
  const pid = Number(String((await once(shell.stdout!, 'data'))[0]));
  const report = await killTree({
    table,
    clock,
    roots: [(await table.read(pid))!],
    stopGraceMs: 5_000,
  });
  expect(report).toMatchObject({ killed: [pid], survivors: [], forced: false });
  expect((await table.read(pid))?.state).toBe('Z');
});

test('a kill that the kernel refuses is never reported as done', async () => {
  const { root, pids } = await family(`console.log(process.pid); ${IDLE}`);
  const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
    throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
  });
  const began = Date.now();
  const report = await killTree({ table, clock, roots: [root], stopGraceMs: 100 });
  kill.mockRestore();
  expect(report.killed).toEqual([]);
  expect(report.survivors.join()).toContain(`pid ${pids[0]}`);
  expect(report.denied.join()).toContain('EPERM');
  expect(Date.now() - began).toBeLessThan(20_000);
});

test('init, ourselves, our parents, groups and everyone at once are never signalled', async () => {
  const kill = vi.spyOn(process, 'kill').mockImplementation(() => expect.fail('a signal was sent'));
  const signaller = await Signaller.open(table);
  for (const pid of [-1, 0, 1, 1.5, Number.NaN, -process.pid, process.pid, process.ppid]) {
    const startTime = (await table.read(pid))?.startTime ?? '';
    const outcome = await signaller.send({ pid, startTime }, 'SIGTERM');
    expect(outcome, String(pid)).toMatchObject({ sent: false, why: 'protected' });
  }
  expect(kill).not.toHaveBeenCalled();
});

describe('proof', () => {
  const entry = (pid: number, ppid: number, more: Partial<ProcessInfo> = {}): ProcessInfo => ({
    pid,
    ppid,
    startTime: `${pid}`,
    name: 'x',
    state: 'S',
    rssBytes: 0,
    uid: process.geteuid!(),
    command: ['opencode', 'serve'],
    exe: '/usr/bin/opencode',
    ...more,
  });
  const fake = (entries: ProcessInfo[]): ProcessTable => ({
    kind: 'proc',
    list: async () => entries,
    read: async (pid) => entries.find((one) => one.pid === pid),
    stateOf: async (ref) => entries.find((one) => one.pid === ref.pid)?.state,
    isAlive: async () => true,
  });
  const prove = (
    entries: ProcessInfo[],
    holders: Array<{ pid?: number; uid?: number }>,
    more = {},
  ) =>
    proveServer({
      host: '127.0.0.1',
      port: 4096,
      table: fake(entries),
      holders: async () => holders,
      ...more,
    });

  test('the wrappers above a server belong to it, a shell and a service manager do not', async () => {
    const wrapper = { command: ['node', '/usr/bin/opencode', 'serve'], exe: '/usr/bin/node' };
    const found = await prove(
      [
        entry(1, 0, { command: ['systemd'], exe: '/sbin/init' }),
        entry(10, 1, { command: ['bash'], exe: '/bin/bash' }),
        entry(11, 10, wrapper),
        entry(12, 11),
      ],
      [{ pid: 12 }],
    );
    expect(found).toMatchObject({ kind: 'proven', role: 'server', server: { pid: 12 } });
    expect(found.kind === 'proven' && found.wrappers.map(({ pid }) => pid)).toEqual([11]);
  });

  test('a wrapper that is PID 1 is left to end by itself', async () => {
    const wrapper = { command: ['node', '/usr/bin/opencode', 'serve'], exe: '/usr/bin/node' };
    expect(await prove([entry(1, 0, wrapper), entry(12, 1)], [{ pid: 12 }])).toMatchObject({
      kind: 'proven',
      wrappers: [],
    });
  });

  test('of several holders of the socket the server is the one above the others', async () => {
    const found = await prove([entry(12, 1), entry(13, 12)], [{ pid: 13 }, { pid: 12 }]);
    expect(found).toMatchObject({ kind: 'proven', server: { pid: 12 } });
  });

  test('PID 1 of our namespace is diagnosed with what to change', async () => {
    const found = await prove([entry(1, 0)], [{ pid: 1 }]);
    expect(found).toMatchObject({ kind: 'refused', why: 'pid1' });
    const message = found.kind === 'refused' ? found.message : '';
    for (const word of ['PID 1', 'init: true', 'shareProcessNamespace', '"docker"'])
      expect(message).toContain(word);
  });

  test('another user’s server is refused, to root too, unless the user vouches for it', async () => {
    const others = entry(12, 1, { uid: 4242 });
    vi.spyOn(process as { geteuid: () => number }, 'geteuid').mockReturnValue(1000);
    expect(await prove([others], [{ pid: 12 }])).toMatchObject({
      why: 'other-user',
      message: expect.stringContaining('uid 4242'),
    });
    vi.spyOn(process as { geteuid: () => number }, 'geteuid').mockReturnValue(0);
    expect(await prove([others], [{ pid: 12 }])).toMatchObject({ why: 'other-user' });
    expect(await prove([others], [{ pid: 12 }], { owner: 'anybody' })).toMatchObject({
      kind: 'proven',
    });
  });

  test('a holder that may not be read is named by its user', async () => {
    expect(await prove([], [{ uid: 4242 }])).toMatchObject({
      kind: 'refused',
      why: 'other-user',
      message: expect.stringContaining('another user (uid 4242)'),
    });
    expect(await prove([], [{ uid: process.geteuid!() }])).toMatchObject({
      kind: 'refused',
      why: 'unreadable',
    });
  });

  test('a root without its capabilities is told which it needs', async () => {
    vi.spyOn(process as { geteuid: () => number }, 'geteuid').mockReturnValue(0);
    expect(await prove([], [{ uid: 4242 }])).toMatchObject({
      why: 'other-user',
      message: expect.stringContaining('DAC_READ_SEARCH, SYS_PTRACE and KILL'),
    });
  });

  test('a daemon inside the server’s own tree does not act on it', async () => {
    const self = entry(process.pid, 12, { command: ['node'], exe: '/usr/bin/node' });
    expect(await prove([entry(12, 1), self], [{ pid: 12 }])).toMatchObject({
      kind: 'refused',
      why: 'inside',
    });
  });

  test('what we started is trusted by descent, whatever it is called', async () => {
    const odd = { command: ['my-server'], exe: '/opt/my-server' };
    const entries = [entry(20, 1, odd), entry(21, 20, odd)];
    expect(await prove(entries, [{ pid: 21 }])).toMatchObject({ kind: 'refused', why: 'stranger' });
    expect(
      await prove(entries, [{ pid: 21 }], { started: [{ pid: 20, startTime: '20' }] }),
    ).toMatchObject({ kind: 'proven' });
    expect(
      await prove(entries, [{ pid: 21 }], { started: [{ pid: 20, startTime: 'old' }] }),
    ).toMatchObject({ kind: 'refused' });
    expect(await prove(entries, [{ pid: 21 }], { command: ['my-server'] })).toMatchObject({
      kind: 'proven',
    });
  });

  test('a stranger on the port is named, without its secrets', async () => {
    const stranger = entry(30, 1, {
      command: ['python3', 'app.py', '--token', 'hunter2'],
      exe: '/usr/bin/python3',
    });
    expect(await prove([stranger], [{ pid: 30 }])).toMatchObject({
      why: 'stranger',
      message: expect.stringContaining('pid 30 (python3 app.py --token [secret])'),
    });
    const proxy = entry(31, 1, {
      name: 'docker-proxy',
      command: ['/usr/bin/docker-proxy'],
      exe: '/usr/bin/docker-proxy',
    });
    expect(await prove([proxy], [{ pid: 31 }])).toMatchObject({
      message: expect.stringContaining('"docker"'),
    });
  });

  test('a listener here is nobody for the same port of another machine', async () => {
    expect(await prove([entry(12, 1)], [{ pid: 12 }], { host: '192.0.2.1' })).toEqual({
      kind: 'nobody',
    });
  });

  test('a real stranger on a real port is found and named', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const found = await waitFor(() => proveServer({ host: '127.0.0.1', port, table }));
      expect(found).toMatchObject({
        kind: 'refused',
        why: 'stranger',
        holder: { pid: process.pid },
      });
    } finally {
      server.close();
    }
  });
});
