/**
 * The world of a chaos run: a provider, a home on small disks, a proxy in between, and a daemon under a service
 * manager.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { withUnits } from '../test/support/durations.js';
import { type FakeProvider, startFakeProvider } from '../test/support/fake-provider.js';
import { api, type OpencodeApi } from '../test/support/opencode-api.js';
import { type Home, opencodeEnv, prepareHome } from '../test/support/opencode-home.js';
import { freePort } from '../test/support/ports.js';
import { killAll } from '../test/support/processes.js';
import { TcpProxy } from '../test/support/tcp-proxy.js';
import { Disk, type DiskMeans, hasPrlimit } from './disk.js';
import type { Emit } from './evidence.js';
import { isIsolated, redirect } from './isolate.js';
import { KILLS } from './kinds.js';
import { configOf, type Limits } from './limits.js';
import { Manager } from './manager.js';
import { ProcessProbe } from './process-probe.js';
import { RUNAWAY_MODELS } from './runaways.js';
import { PROJECTS, type Topology } from './schedule.js';

/** Connections from this address bypass the NAT rule: the proxy's own, and those of our probes. */
const BYPASS = '127.0.0.2';
/**
 * How often the proxy checks whether opencode listens, ms. A port without a server must refuse, but the kernel's
 * redirection would make it accept.
 */
const FOLLOW_MS = 15;
/**
 * opencode's disk: it must hold the growing sessions. The daemon's disk: its log, recording and history of a long run.
 */
const SERVER_DISK_MIB = 256;
const DAEMON_DISK_MIB = 64;

const PROVIDERS = ['fake', 'quota'];
/** `server.startTimeout`, the contract's default. */
export const START_TIMEOUT_MS = 60_000;

/** Each is placed where it belongs, and searched for everywhere else. */
export interface Secrets extends Record<string, string> {
  'server password': string;
  'provider key': string;
  'status token': string;
}

export function plantSecrets(): Secrets {
  // Letters only: opencode retries after an error whose text contains "429" or the like.
  const word = () =>
    [...randomBytes(24)].map((byte) => String.fromCharCode(97 + (byte % 26))).join('');
  return {
    'server password': `canary-password-${word()}`,
    'provider key': `sk-canary-${word()}`,
    'status token': `canary-token-${word()}`,
  };
}

export interface EnvironmentOptions {
  topology: Topology;
  limits: Limits;
  secrets: Secrets;
  emit: Emit;
}

export class Environment {
  readonly #cleanups: (() => unknown)[] = [];
  readonly projects: string[] = [];
  daemonDisk: Disk | undefined;
  serverDisk: Disk | undefined;

  private constructor(
    readonly topology: Topology,
    readonly provider: FakeProvider,
    readonly home: Home,
    /** The port of opencode itself. */
    readonly port: number,
    readonly statusPort: number,
    readonly disks: DiskMeans,
    /** Between the daemon and opencode. There is none with `direct`. */
    readonly proxy: TcpProxy | undefined,
    /** Our own connection to opencode, which bypasses all network faults. */
    readonly opencode: OpencodeApi,
    readonly opencodeUrl: string,
    readonly processProbe: ProcessProbe,
    readonly manager: Manager,
    readonly config: string,
    readonly env: Record<string, string>,
  ) {}

  static async make({ topology, limits, secrets, emit }: EnvironmentOptions): Promise<Environment> {
    const cleanups: (() => unknown)[] = [];
    const provider = await startFakeProvider();
    provider.setDefault(KILLS, '(killer-');
    cleanups.push(() => provider.stop());
    const home = await prepareHome(provider, {
      config: {
        provider: Object.fromEntries(
          PROVIDERS.map((name) => [name, providerConfig(provider.url, secrets['provider key'])]),
        ),
      },
    });
    cleanups.push(() => home.remove());
    const disks = mountDisks(home.path);
    cleanups.push(() => {
      for (const disk of [disks.daemon, disks.server]) disk?.unmount();
    });
    const port = await freePort();
    const statusPort = await freePort();
    const onRequest = (method: string, path: string) => {
      const session = /^\/session\/([^/?]+)\/abort\b/.exec(path)?.[1];
      if (method === 'POST' && session) emit({ kind: 'wire.abort', sessionID: session });
      const prompted = /^\/session\/([^/?]+)\/prompt_async\b/.exec(path)?.[1];
      if (method === 'POST' && prompted) emit({ kind: 'wire.prompt', sessionID: prompted });
    };
    const nat = topology === 'nat';
    const around = nat ? { localAddress: BYPASS } : {};
    const proxy =
      topology === 'direct'
        ? undefined
        : await TcpProxy.start({ target: port, onRequest, ...around });
    const ours = nat ? await TcpProxy.start({ target: port, ...around }) : undefined;
    for (const each of [proxy, ours]) if (each) cleanups.push(() => each.stop());
    if (nat && proxy) redirect(port, proxy.port, BYPASS);

    const password = secrets['server password'];
    const opencodeUrl = `http://127.0.0.1:${ours?.port ?? port}`;
    const opencode = api(opencodeUrl, { password });
    const env = { ...opencodeEnv(home.path), OPENCODE_SERVER_PASSWORD: password };
    const config = join(home.path, 'watchdog.yaml');
    const tokenFile = join(home.path, 'status-token');
    await writeFile(tokenFile, secrets['status token'], { mode: 0o600 });
    const observed = topology === 'observed';
    const settings = {
      ...configOf(limits),
      server: {
        url: `http://127.0.0.1:${observed ? proxy?.port : port}`,
        directory: home.directory,
        startTimeout: `${START_TIMEOUT_MS}ms`,
        ...(observed && { control: 'observe' }),
      },
      status: { listen: `127.0.0.1:${statusPort}`, tokenFile },
    };
    await writeFile(config, stringify(withUnits(settings)));
    const disk = join(home.path, 'state');
    const manager = new Manager({ config, env, disk, emit });
    cleanups.push(() => manager.stop());
    const processProbe = new ProcessProbe(`HOME=${home.path}`, port);
    const environment = new Environment(
      topology,
      provider,
      home,
      port,
      statusPort,
      disks.means,
      proxy,
      opencode,
      opencodeUrl,
      processProbe,
      manager,
      config,
      env,
    );
    environment.daemonDisk = disks.daemon;
    environment.serverDisk = disks.server;
    for (let i = 0; i < PROJECTS; i++)
      environment.projects.push(await home.project(`project-${i}`));
    environment.#cleanups.push(...cleanups);
    if (nat && proxy) {
      await proxy.follow(false);
      const timer = setInterval(() => void proxy.follow(isListening(port)), FOLLOW_MS);
      environment.#cleanups.push(() => clearInterval(timer));
    }
    if (observed) environment.#serve();
    return environment;
  }

  /**
   * Starts a second daemon for the same server. Returns its exit code, or undefined if it had to be killed after `ms`.
   */
  async secondDaemon(cli: string, ms: number): Promise<number | null | undefined> {
    const env = { ...this.env, OPENCODE_WATCHDOG_STATUS_LISTEN: 'off' };
    const args = [cli, 'run', '--config', this.config];
    const child = spawn(process.execPath, args, { env, stdio: 'ignore' });
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        resolve(undefined);
      }, ms);
      child.once('exit', (code) => {
        clearTimeout(timer);
        resolve(code);
      });
    });
  }

  /** Kills what is left and removes everything. */
  async end(): Promise<void> {
    await killAll(
      () => this.processProbe.look(Date.now()).family.map(({ pid }) => pid),
      'this world',
    );
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }

  /** If the daemon only observes, we start the server. */
  #serve(): void {
    const { home, env, port } = this;
    const args = ['serve', '--hostname', '127.0.0.1', '--port', String(port)];
    const child = spawn(home.command, args, { cwd: home.directory, env, stdio: 'ignore' });
    this.#cleanups.push(() => child.kill('SIGKILL'));
  }
}

/** Whether something listens on this port of 127.0.0.1 (proc(5), /proc/net/tcp; state 0A is LISTEN). */
function isListening(port: number): boolean {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A`;
  return readFileSync('/proc/net/tcp', 'latin1').includes(local);
}

function providerConfig(baseURL: string, apiKey: string) {
  return {
    npm: '@ai-sdk/openai-compatible',
    name: 'fake',
    options: { baseURL, apiKey },
    models: { m1: { name: 'm1' }, ...RUNAWAY_MODELS },
  };
}

function mountDisks(home: string): { means: DiskMeans; daemon?: Disk; server?: Disk } {
  // Without a mount table of our own, a mount would outlive a run that is killed.
  if (!isIsolated()) return { means: hasPrlimit() ? 'rlimit' : 'none' };
  const daemon = Disk.mount(join(home, 'state'), DAEMON_DISK_MIB);
  return { means: 'tmpfs', daemon, server: Disk.mount(join(home, 'data'), SERVER_DISK_MIB) };
}
