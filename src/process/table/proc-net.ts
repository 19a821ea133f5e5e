/** Finds the owners of listening sockets in /proc: /proc/net/tcp names the inode, /proc/PID/fd shows who holds it. */
import { isIPv4, isIPv6 } from 'node:net';
import { endianness } from 'node:os';
import type { PortHolder } from './port-holder.js';
import { procLink, procNames, procPids, procText } from './proc-files.js';

/** TCP_LISTEN in the kernel's include/net/tcp_states.h. */
const LISTEN = '0A';

export interface ListeningSocket {
  address: string;
  port: number;
  uid: number;
  inode: string;
}

export function procHolders(addresses: readonly string[], port: number): PortHolder[] {
  const wanted = listeningSockets(addresses, port);
  if (wanted.length === 0) return [];

  const owners = ownersOf(new Set(wanted.map((socket) => socket.inode)));
  return wanted.flatMap((socket): PortHolder[] => {
    const pids = owners.get(socket.inode) ?? [];
    if (pids.length === 0) return [{ uid: socket.uid }];
    return pids.map((pid) => ({ pid, uid: socket.uid }));
  });
}

/**
 * Listening sockets without their holders, because finding those means reading every process. The inode names a socket
 * as long as it is open.
 */
export function listeningSockets(addresses: readonly string[], port: number): ListeningSocket[] {
  const sockets = [
    ...parseNetTcp(procText('/proc/net/tcp') ?? ''),
    ...parseNetTcp(procText('/proc/net/tcp6') ?? ''),
  ].filter((socket) => socket.port === port);
  // For each address asked about, a socket with that exact address takes precedence over the wildcard.
  return [...new Set(addresses.flatMap((address) => accepting(address, sockets)))];
}

/** The sockets of one port that accept a connection to `address`. */
function accepting(address: string, sockets: readonly ListeningSocket[]): ListeningSocket[] {
  const canonical = canonicalAddress(address);
  if (canonical === '0.0.0.0' || isAnyV6(canonical)) return [...sockets];
  const exact = sockets.filter(
    (socket) => socket.address === canonical || mappedV4(socket.address) === canonical,
  );
  if (exact.length > 0) return exact;
  const any = isIPv4(canonical)
    ? (socket: ListeningSocket) => socket.address === '0.0.0.0'
    : (socket: ListeningSocket) => isAnyV6(socket.address);
  const wild = sockets.filter(any);
  if (wild.length > 0) return wild;
  // A socket bound to :: takes IPv4 too unless it set IPV6_V6ONLY, which /proc does not show.
  return isIPv4(canonical) ? sockets.filter((socket) => isAnyV6(socket.address)) : [];
}

/** Parses /proc/net/tcp or tcp6 and keeps the sockets that listen. */
export function parseNetTcp(text: string): ListeningSocket[] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local, , state, , , , uid, , inode] = line.trim().split(/\s+/);
      if (state !== LISTEN || local === undefined || inode === undefined) return [];
      const [address, port] = local.split(':');
      if (address === undefined || port === undefined) return [];
      return [
        {
          address: parseAddress(address),
          port: Number.parseInt(port, 16),
          uid: Number(uid),
          inode,
        },
      ];
    });
}

/** The kernel prints each 32-bit word of the address as a number in the machine's byte order. */
function parseAddress(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  if (endianness() === 'LE') bytes.swap32();
  if (bytes.length === 4) return [...bytes].join('.');
  return canonicalAddress(
    Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16)).join(':'),
  );
}

/** One spelling for each address: `[::1]`, `0:0:0:0:0:0:0:1` and `::1` are the same (RFC 5952). */
function canonicalAddress(address: string): string {
  if (!isIPv6(address)) return address;
  const withoutZone = address.split('%')[0] ?? address;
  return new URL(`http://[${withoutZone}]/`).hostname.slice(1, -1);
}

function isAnyV6(address: string): boolean {
  return address === '::';
}

/** 127.0.0.1 for ::ffff:7f00:1 (RFC 4291, section 2.5.5.2), the form in which dual-stack sockets show it. */
function mappedV4(address: string): string | undefined {
  const match = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(address);
  if (!match) return undefined;
  const high = Number.parseInt(match[1] ?? '', 16);
  const low = Number.parseInt(match[2] ?? '', 16);
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** The pids that hold each of these sockets open, as far as their descriptors can be read. */
function ownersOf(inodes: ReadonlySet<string>): Map<string, number[]> {
  const owners = new Map<string, number[]>();
  for (const pid of procPids(procNames('/proc') ?? [])) {
    const held = new Set<string>();
    for (const fd of procNames(`/proc/${pid}/fd`) ?? []) {
      const inode = /^socket:\[(\d+)\]$/.exec(procLink(`/proc/${pid}/fd/${fd}`) ?? '')?.[1];
      if (inode !== undefined && inodes.has(inode)) held.add(inode);
    }
    for (const inode of held) owners.set(inode, [...(owners.get(inode) ?? []), pid]);
  }
  return owners;
}
