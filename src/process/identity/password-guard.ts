/**
 * Decides who may be sent the server's password. Another local user may hold the port that the server has left.
 *
 * With `spawn` and `adopt` only a proven opencode gets it. Otherwise a socket of our own user or of root may get it,
 * because both can read the password anyway (tunnels, docker-proxy and local proxies are such sockets). If the user has
 * set a control whose server cannot be proven from here, whoever answers gets the password.
 */
import type { Authorisation, Authorise } from '../../lib/authorise.js';
import type { Clock } from '../../lib/clock.js';
import { addressOf } from '../../lib/server-address.js';
import type { ControlMode, ServerControl } from '../control/control.js';
import { openProcessTable } from '../table/open-table.js';
import { addressesOf, type FindHolders, findHolders, isLocalHost } from '../table/port.js';
import { listeningSockets } from '../table/proc-net.js';
import type { ProcessInfo, ProcessRef, ProcessTable } from '../table/process-table.js';
import { describeProcess } from './describe.js';
import { type Finding, proveServer } from './identity.js';
import type { ServerUser } from './user.js';

export interface GuardOptions {
  url: string;
  /** `server.control`; absent if the driver is used as a library. */
  mode?: ControlMode | 'auto';
  /** A daemon starts servers and works for days: it requires proof until its control turns out to be `observe`. */
  caller: 'daemon' | 'command';
  command?: readonly string[];
  user?: ServerUser;
  clock: Clock;
  table?: ProcessTable;
  holders?: FindHolders;
}

type Where = Pick<Authorisation, 'hostname'>;

/** A decision and what it rests on; it holds as long as the same sockets listen. */
interface Decision {
  sockets: string;
  at: number;
  /** The proven server: its socket may stay open for a moment after it has ended. */
  server: ProcessRef | undefined;
  answer: Authorisation;
}

/**
 * How long a refusal holds, and any decision if sockets cannot be compared (no /proc), because `lsof` takes its time.
 */
const BELIEVED_MS = 1_000;
const VOUCHES: ReadonlySet<GuardOptions['mode']> = new Set([
  'external',
  'command',
  'docker',
  'observe',
]);
const ALLOWED =
  'Where the server is another user’s or in a container on purpose, set server.control to "external", "command", "docker" or "observe": whoever answers then gets it.';

export class PasswordGuard {
  readonly #options: GuardOptions;
  readonly #table: ProcessTable;
  readonly #host: string;
  readonly #port: number;
  #control: Pick<ServerControl, 'mode' | 'findNow'> | undefined;
  #decision: Decision | undefined;
  /**
   * The decision that is being made now: requests of the same moment wait for the same check of the system's sockets.
   */
  #asking: Promise<Authorisation> | undefined;
  #isGuarded: boolean | undefined;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#table = options.table ?? openProcessTable();
    const { host, port } = addressOf(options.url);
    this.#host = host;
    this.#port = port;
  }

  /** From now on the control says who serves, because it knows what it has started. */
  follow(control: Pick<ServerControl, 'mode' | 'findNow'>): void {
    this.#control = control;
    this.#decision = undefined;
  }

  readonly authorise: Authorise = () => {
    this.#asking ??= this.#authorise()
      .catch((error) =>
        withheld(`who listens on port ${this.#port} cannot be found out (${String(error)})`),
      )
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  };

  async #authorise(): Promise<Authorisation> {
    this.#isGuarded ??= !this.#isVouchedFor() && (await this.#leadsHere());
    if (!this.#isGuarded) return { kind: 'granted' };
    const sockets = await this.#sockets();
    const now = this.#options.clock.now();
    const known = this.#decision;
    const isFresh = known !== undefined && now - known.at < BELIEVED_MS;
    // A refusal is never trusted for long: a process that is just starting or ending shows less than it will later.
    const stands = sockets === undefined || known?.answer.kind === 'withheld' ? isFresh : true;
    if (known && stands && known.sockets === (sockets ?? '') && (await this.#lives(known))) {
      return known.answer;
    }
    const decided = await this.#decide();
    this.#decision = { ...decided, sockets: sockets ?? '', at: now };
    return decided.answer;
  }

  /**
   * True if whoever answers gets the password without a further check. `localhost` may be one of two addresses, so for
   * it the right one is looked for first.
   */
  #isVouchedFor(): boolean {
    return VOUCHES.has(this.#options.mode) && this.#host !== 'localhost';
  }

  async #lives({ server }: Decision): Promise<boolean> {
    return server === undefined || this.#table.kind !== 'proc' || this.#table.isAlive(server);
  }

  async #decide(): Promise<Pick<Decision, 'answer' | 'server'>> {
    const { mode } = this.#options;
    const { found, where } = await this.#find();
    if (found.kind === 'proven' && (VOUCHES.has(mode) || this.#isTrusted(found.server))) {
      return { answer: { kind: 'granted', ...where }, server: found.server };
    }
    const granted = { answer: { kind: 'granted' }, server: undefined } as const;
    if (VOUCHES.has(mode)) return granted;
    // Root, or a user to whom `server.command` has given the server: both know the password.
    const isOurs = found.kind === 'refused' && found.isOurs === true;
    if (isOurs && this.#control?.mode === 'spawn') return granted;
    const needsProof = this.#options.caller === 'daemon' && this.#control?.mode !== 'observe';
    if (!needsProof && (await this.#isOwnOrRoots())) return granted;
    return { answer: withheld(describe(found, this.#port)), server: undefined };
  }

  /**
   * Whether a proven opencode is of a user who may know the password. Some controls also find another user's, to watch
   * it; with `spawn` that one is our own (`server.command` may use sudo).
   */
  #isTrusted({ uid }: ProcessInfo): boolean {
    const trusted = [undefined, 0, process.geteuid?.(), this.#options.user?.uid];
    return this.#control?.mode === 'spawn' || trusted.includes(uid);
  }

  async #find(): Promise<{ found: Finding; where: Where }> {
    const found = (await this.#control?.findNow?.()) ?? (await this.#prove(this.#host));
    if (this.#host !== 'localhost' || found.kind === 'refused') return { found, where: {} };
    const anywhere = found.kind === 'proven' ? found : await this.#prove('::1');
    if (anywhere.kind !== 'proven') return { found, where: {} };
    const isHere = (await this.#holders('127.0.0.1')).length > 0;
    return { found: anywhere, where: isHere ? {} : { hostname: '::1' } };
  }

  #prove(host: string): Promise<Finding> {
    const { command, user, holders } = this.#options;
    return proveServer({
      host,
      port: this.#port,
      table: this.#table,
      ...(command && { command }),
      ...(user && { user }),
      ...(holders && { holders }),
    });
  }

  #holders(host: string) {
    return (this.#options.holders ?? findHolders)(host, this.#port);
  }

  async #isOwnOrRoots(): Promise<boolean> {
    const self = process.geteuid?.();
    const holders = await this.#holders(this.#host);
    return holders.length > 0 && holders.every(({ uid }) => uid === 0 || uid === self);
  }

  /** The inodes of the sockets that a connection may reach; undefined if the system does not name them. */
  async #sockets(): Promise<string | undefined> {
    if (this.#table.kind !== 'proc' || this.#options.holders) return undefined;
    const hosts = this.#host === 'localhost' ? ['127.0.0.1', '::1'] : await addressesOf(this.#host);
    const inodes = listeningSockets(hosts, this.#port).map(({ inode }) => inode);
    return inodes.sort().join();
  }

  /** True if the host is this machine. The server of another machine is known by its address alone. */
  async #leadsHere(): Promise<boolean> {
    const addresses = await addressesOf(this.#host);
    const isLoopback = addresses.some(
      (address) =>
        address.startsWith('127.') || address === '::1' || /^(0\.0\.0\.0|::)$/.test(address),
    );
    return isLoopback || (await isLocalHost(this.#host));
  }
}

function withheld(from: string): Authorisation {
  return { kind: 'withheld', why: `The password was withheld: ${from}. ${ALLOWED}` };
}

function describe(found: Finding, port: number): string {
  switch (found.kind) {
    case 'proven':
      return `port ${port} is served by ${describeProcess(found.server)}`;
    case 'refused':
      return found.message;
    case 'nobody':
      return `nobody that can be seen from here listens on port ${port}`;
  }
}
