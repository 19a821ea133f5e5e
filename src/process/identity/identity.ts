/**
 * Proves which process serves a port, that it is opencode, and that we may signal it; otherwise says why not.
 *
 * Everything that is done to a process starts here. A pid from yesterday, from a file or from a guess is never enough:
 * the pid, its start time and its command are read in one moment from the socket's owner.
 */

import { type FindHolders, findHolders, isLocalHost } from '../table/port.js';
import type { PortHolder } from '../table/port-holder.js';
import {
  ancestors,
  type ProcessInfo,
  type ProcessRef,
  type ProcessStat,
  type ProcessTable,
  sameProcess,
  tree,
} from '../table/process-table.js';
import { describeProcess } from './describe.js';
import {
  isOpencode,
  isWrapper,
  type OpencodeRole,
  opencodeRole,
  runsCommand,
} from './opencode-command.js';
import type { ServerUser } from './user.js';

export type Refusal =
  /** The process that holds the port is not opencode. */
  | 'stranger'
  /** The process belongs to another user: we may not signal it, or may not start it again. */
  | 'other-user'
  /** Nothing about the process that holds the port can be read. */
  | 'unreadable'
  /** PID 1 of our own PID namespace: the kernel drops every signal that we could send (facts, section 1). */
  | 'pid1'
  /** This daemon runs inside the server's own process tree, so ending the server would end this daemon. */
  | 'inside';

export type Finding =
  | {
      kind: 'proven';
      server: ProcessInfo;
      /** npm's wrapper processes above the server, the closest first; they end with it. */
      wrappers: ProcessInfo[];
      role: OpencodeRole;
    }
  /** No process that we can see listens there. */
  | { kind: 'nobody' }
  | {
      kind: 'refused';
      why: Refusal;
      message: string;
      holder?: ProcessInfo;
      /** Of the process that listens only its users can be known, if anything. */
      uids?: readonly number[];
      /** So it is with this one, and our own command, which still runs, can have started it (sudo, docker-proxy). */
      isOurs?: boolean;
    };

export interface ProveOptions {
  host: string;
  port: number;
  table: ProcessTable;
  /** The configured command: what the user says opencode is, whatever its name. */
  command?: readonly string[];
  /** Processes that we started ourselves: they and their descendants are trusted by descent, whatever their names. */
  started?: readonly ProcessRef[];
  holders?: FindHolders;
  /** Whose process may be acted on. Default: `started`. */
  owner?: Owner;
  /** `server.user`: the user whose opencode counts as ours if we run as root. */
  user?: ServerUser;
}

/**
 * Whose process may be acted on. `ours`: a process of our own user or of `server.user`, because we start it again and
 * it must run as the same user as before. `started`: also a process that our own command started, whatever its user.
 * `anybody`: any process that we may signal; somebody else starts the next one.
 */
export type Owner = 'ours' | 'started' | 'anybody';

export async function proveServer(options: ProveOptions): Promise<Finding> {
  const { host, port, table } = options;
  // A listener on 0.0.0.0 of this machine has nothing to do with the same port of another machine.
  if (!(await isLocalHost(host))) return { kind: 'nobody' };
  const holders = await (options.holders ?? findHolders)(host, port);
  if (holders.length === 0) return { kind: 'nobody' };

  const known = (
    await Promise.all(holders.map(({ pid }) => (pid === undefined ? undefined : table.read(pid))))
  ).filter((holder) => holder !== undefined);
  if (known.length === 0) return unreadable(holders, port);

  const all = await table.list();
  const trusted = trustedPids(options.started ?? [], all);
  const accepted = known.filter(
    (holder) =>
      trusted.has(holder.pid) ||
      isOpencode(holder) ||
      (options.command !== undefined && runsCommand(holder, options.command)),
  );
  // A child may have inherited the socket: the server is the holder that has no other holder above it.
  const server = accepted.find(
    (holder) =>
      !ancestors(holder.pid, all).some((parent) =>
        accepted.some((other) => other.pid === parent.pid),
      ),
  );
  if (server === undefined) return stranger(known, port);
  const isForeign = foreign(server, options, trusted.has(server.pid));
  return isForeign ?? refuse(server, port, all) ?? (await proven(server, all, table));
}

async function proven(
  server: ProcessInfo,
  all: readonly ProcessStat[],
  table: ProcessTable,
): Promise<Finding> {
  const wrappers: ProcessInfo[] = [];
  for (const parent of ancestors(server.pid, all)) {
    const info = await table.read(parent.pid);
    // A process of another user is not the server's wrapper. It would be started again in the server's place.
    if (info === undefined || !isWrapper(info) || info.uid !== server.uid) break;
    // A wrapper that is PID 1 ignores signals, but it ends by itself when its server does.
    if (info.pid > 1) wrappers.push(info);
  }
  return { kind: 'proven', server, wrappers, role: opencodeRole(server) };
}

/** Refuses another user's opencode: only root may signal it, and root must not run that user's program as root. */
function foreign(
  server: ProcessInfo,
  { port, owner = 'started', user }: ProveOptions,
  isStarted: boolean,
): Finding | undefined {
  const self = process.geteuid?.();
  if (self === undefined || server.uid === undefined || server.uid === self) return undefined;
  const served = `port ${port} is served by opencode, ${describeProcess(server)}, but this daemon runs as`;
  const refused = { kind: 'refused', why: 'other-user', holder: server } as const;
  if (self !== 0) {
    return {
      ...refused,
      message: `${served} uid ${self} and may not signal it: run the daemon as that user, or use server.control "command" or "external"`,
    };
  }
  if (owner === 'anybody' || (owner === 'started' && isStarted)) return undefined;
  if (server.uid === user?.uid) return undefined;
  return {
    ...refused,
    message: `${served} root and starts no other user's program again${user ? ` than that of ${user.name} (server.user)` : ''}: name that user as server.user, run the daemon as that user, or use server.control "external", "command" or "docker", where something else starts it`,
  };
}

/** Reasons not to signal a process, although it is opencode. */
function refuse(
  server: ProcessInfo,
  port: number,
  all: readonly ProcessStat[],
): Finding | undefined {
  if (server.pid <= 1) {
    return { kind: 'refused', why: 'pid1', message: pid1Message(port), holder: server };
  }
  const inside =
    server.pid === process.pid || ancestors(process.pid, all).some(({ pid }) => pid === server.pid);
  if (inside) {
    return {
      kind: 'refused',
      why: 'inside',
      message: `this daemon was started by the opencode that it shall watch (${describeProcess(server)}) and would end with it: start the daemon from a shell or a service manager`,
      holder: server,
    };
  }
  return undefined;
}

function pid1Message(port: number): string {
  return (
    `the opencode that listens on port ${port} is PID 1 of this PID namespace: the kernel drops every signal sent to it from inside, SIGKILL too, so it cannot be restarted from here. ` +
    'Give its container an init (Docker or Compose `init: true`, `docker run --init`), in Kubernetes set `shareProcessNamespace: true` on the pod, or use server.control "docker"'
  );
}

function stranger(known: readonly ProcessInfo[], port: number): Finding {
  const names = known.map(describeProcess).join(', ');
  const proxy = known.some((holder) => holder.name === 'docker-proxy');
  const hint = proxy
    ? ': it forwards to a container; use server.control "docker"'
    : '; it is left alone. Stop it, or set server.url to another port';
  return {
    kind: 'refused',
    why: 'stranger',
    message: `port ${port} is held by ${names}, which is not opencode${hint}`,
    ...(known[0] && { holder: known[0] }),
  };
}

/**
 * For a root whose capabilities a container or unit took away (capabilities(7); only its owner may read /proc/PID/fd).
 */
const ROOT_ADVICE =
  'run the daemon as that user, or give it the capabilities DAC_READ_SEARCH, SYS_PTRACE and KILL';

function unreadable(holders: readonly PortHolder[], port: number): Finding {
  const uids = [...new Set(holders.map(({ uid }) => uid))].filter((uid) => uid !== undefined);
  const self = process.geteuid?.();
  const other = uids.some((uid) => uid !== self);
  return {
    kind: 'refused',
    uids,
    why: other ? 'other-user' : 'unreadable',
    message: other
      ? `port ${port} is held by a process of another user (uid ${uids.join(', ')}), which this daemon (uid ${self}) may neither read nor signal: ${self === 0 ? ROOT_ADVICE : 'run the daemon as that user, or use server.control "command" or "external"'}`
      : `port ${port} is held by a process whose descriptors may not be read (uid ${uids.join(', ')}), perhaps in another PID namespace: use server.control "command", "docker" or "external"`,
  };
}

function trustedPids(started: readonly ProcessRef[], all: readonly ProcessStat[]): Set<number> {
  const roots = all.filter((entry) => started.some((ref) => sameProcess(ref, entry)));
  return new Set(
    tree(
      roots.map(({ pid }) => pid),
      all,
    ).map(({ pid }) => pid),
  );
}
