/** Everything that the demo needs: a fake model provider, a home for a real opencode, and the real daemon over it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FakeProvider, startFakeProvider } from '../test/support/fake-provider.js';
import { api, type OpencodeApi } from '../test/support/opencode-api.js';
import { opencodeEnv, prepareHome } from '../test/support/opencode-home.js';
import { freePort } from '../test/support/ports.js';
import { type Daemon, type LogLine, startDaemon } from './daemon.js';

/** A first start of opencode on a busy machine has taken a minute. */
const BOOT_TIMEOUT_MS = 90_000;

/** The defaults are in minutes; a demo has seconds. */
export const LIMITS = {
  stall: { maxSilence: '18s' },
} as const;

export interface Stage {
  provider: FakeProvider;
  opencode: OpencodeApi;
  daemon: Daemon;
  /** Two projects, since a server works in many. */
  directories: readonly [string, string];
  /** The line that said the server is up for the first time. */
  firstHealthy: LogLine;
}

/** What must be undone, newest first, whatever happens. A step that fails does not stop the others. */
export class Cleanups {
  readonly #steps: (() => unknown)[] = [];

  add(step: () => unknown): void {
    this.#steps.push(step);
  }

  /** @returns the errors of the steps that failed */
  async run(): Promise<unknown[]> {
    const problems: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (problem) {
        problems.push(problem);
      }
    }
    return problems;
  }
}

export async function setStage(
  cleanups: Cleanups,
  onLine: (line: LogLine) => void,
  signal: AbortSignal,
): Promise<Stage> {
  // One folder for everything, registered for removal as soon as it is made, so that nothing can be left behind.
  const root = mkdtempSync(join(tmpdir(), 'opencode-watchdog-demo-'));
  cleanups.add(() => rmSync(root, { recursive: true, force: true, maxRetries: 5 }));
  process.env.TMPDIR = root;

  const provider = await startFakeProvider();
  cleanups.add(() => provider.stop());
  // Registered before it is awaited: an end that comes in between waits for the home, and then removes it.
  const preparing = prepareHome(provider);
  cleanups.add(async () => (await preparing).remove());
  const home = await preparing;
  const directories = [home.directory, await home.project('second-project')] as const;
  const url = `http://127.0.0.1:${await freePort()}`;

  signal.throwIfAborted();
  const starting = startDaemon({
    folder: home.path,
    env: opencodeEnv(home.path),
    onLine,
    config: {
      ...LIMITS,
      server: { url, directory: home.directory, startTimeout: `${BOOT_TIMEOUT_MS}ms` },
      status: { listen: 'off' },
      log: { format: 'json' },
    },
  });
  cleanups.add(async () => (await starting).stop());
  const daemon = await starting;
  const firstHealthy = await daemon.saw('server.healthy', {}, BOOT_TIMEOUT_MS);
  return { provider, opencode: api(url), daemon, directories, firstHealthy };
}
