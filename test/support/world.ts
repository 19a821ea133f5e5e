/**
 * Everything an e2e test needs: a fake model provider, a home for the real opencode, a free port, and daemons on it.
 */
import { onTestFinished } from 'vitest';
import { type DaemonOptions, startDaemon, type TestDaemon } from './daemon.js';
import { type FakeProvider, startFakeProvider } from './fake-provider.js';
import type { HomeOptions } from './opencode-home.js';
import { type Home, opencodeEnv, prepareHome } from './opencode-home.js';
import { freePort } from './ports.js';
import { commandLine, isAlive } from './processes.js';
import { measureSlowness, patientProbes } from './slowness.js';

export interface World {
  provider: FakeProvider;
  home: Home;
  port: number;
  url: string;
  /** The server's working directory, where most sessions work too. */
  directory: string;
  env: Record<string, string>;
  /** Starts a daemon on this world's server. `config` is merged over a sensible minimum. */
  daemon(config?: Record<string, unknown>, args?: DaemonOptions['args']): Promise<TestDaemon>;
  /** Registers a cleanup for the end of the world. The last one added runs first. */
  defer(cleanup: () => Promise<unknown> | unknown): void;
  end(): Promise<void>;
}

export async function createWorld(options: HomeOptions = {}): Promise<World> {
  const cleanups: (() => Promise<unknown> | unknown)[] = [];
  const defer = (cleanup: () => Promise<unknown> | unknown) => void cleanups.push(cleanup);
  const provider = await startFakeProvider();
  defer(() => provider.stop());
  const home = await prepareHome(provider, options);
  defer(() => home.remove());
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = opencodeEnv(home.path);
  return {
    provider,
    home,
    port,
    url,
    directory: home.directory,
    env,
    defer,
    async daemon(config = {}, args = []) {
      const server = {
        url,
        directory: home.directory,
        startTimeout: '120s',
        ...(config.server as object | undefined),
      };
      await measureSlowness();
      const full = { status: { listen: 'off' }, probe: patientProbes(), ...config, server };
      const started = await startDaemon({ config: full, env, args });
      defer(() => started.stop());
      return started;
    },
    async end() {
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    },
  };
}

/** A world that ends together with the test that makes it. */
export async function testWorld(options?: HomeOptions): Promise<World> {
  const world = await createWorld(options);
  onTestFinished(() => world.end());
  return world;
}

/** The living `opencode serve` processes of a world. */
export const serversOf = ({ home }: World): number[] =>
  home.processes().filter((pid) => isAlive(pid) && commandLine(pid).includes('serve'));
