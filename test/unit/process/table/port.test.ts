import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { lsofHolders, parseLsof } from '../../../../src/process/table/lsof.js';
import {
  addressesOf,
  findHolders,
  isLocalHost,
  isPortFree,
} from '../../../../src/process/table/port.js';
import { parseNetTcp } from '../../../../src/process/table/proc-net.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listen(host: string, port = 0): Promise<number> {
  const server = createServer().listen({ host, port });
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('addresses of the kernel table are read in the byte order of the machine', () => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9FF1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 58065 1 0 100 0 0 10 0
   1: 0100007F:9FF1 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 58066 1 0 100 0 0 10 0
   2: 00000000000000000000000001000000:1000 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0`;
  expect(parseNetTcp(text)).toEqual([
    { address: '127.0.0.1', port: 40945, uid: 1000, inode: '58065' },
    { address: '::1', port: 4096, uid: 0, inode: '7' },
  ]);
  expect(parseNetTcp('')).toEqual([]);
});

test.each(['127.0.0.1', '0.0.0.0', '::'])(
  'the listener on %s is found for localhost',
  async (host) => {
    const port = await listen(host);
    expect((await findHolders('localhost', port)).map(({ pid }) => pid)).toContain(process.pid);
    expect(await isPortFree('localhost', port)).toBe(false);
  },
);

test('a listener on another address of this machine is nobody for the one asked about', async () => {
  const port = await listen('127.0.0.2');
  expect(await findHolders('127.0.0.1', port)).toEqual([]);
  expect(await findHolders('127.0.0.2', port)).toEqual([
    { pid: process.pid, uid: process.getuid!() },
  ]);
  expect(await isPortFree('127.0.0.1', port)).toBe(true);
});

test('a port that was just given up is free', async () => {
  const port = await listen('127.0.0.1');
  const server = servers.pop()!.close();
  await once(server, 'close');
  expect(await isPortFree('127.0.0.1', port)).toBe(true);
  expect(await findHolders('127.0.0.1', port)).toEqual([]);
});

test('loopback and wildcard are local, a public address and an unknown name are not', async () => {
  for (const host of ['localhost', '127.0.0.1', '::1', '[::1]', '0.0.0.0']) {
    expect(await isLocalHost(host), host).toBe(true);
  }
  expect(await isLocalHost('192.0.2.1')).toBe(false);
  expect(await isLocalHost('no-such-host.invalid')).toBe(false);
  expect(await addressesOf('no-such-host.invalid')).toEqual([]);
});

test('lsof output is read, and its absence is named', async () => {
  expect(parseLsof('p12\nu501\nf8\np13\nu0\n')).toEqual([
    { pid: 12, uid: 501 },
    { pid: 13, uid: 0 },
  ]);
  await expect(lsofHolders(4096, 'no-such-lsof')).rejects.toThrow('`lsof` is not installed');
});

test('lsof finds this process too, where it is installed', async ({ skip }) => {
  const port = await listen('127.0.0.1');
  const holders = await lsofHolders(port).catch((error: Error) => skip(error.message));
  expect(holders).toEqual([{ pid: process.pid, uid: process.getuid!() }]);
});
