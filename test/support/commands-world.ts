/** A fake opencode, a daemon that watches it, and the commands, run as a person would run them. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Ended, runProgram } from './command.js';
import { CLI, startDaemon, type TestDaemon } from './daemon.js';
import { withUnits } from './durations.js';
import { type FakeOpencode, startFakeOpencode } from './fake-opencode.js';

export interface CommandsWorldOptions {
  /** `server.control`. Default: external. */
  control?: 'external' | 'observe';
  /** The `PATH`. Default: the test's own. */
  path?: string | undefined;
}

export interface CommandsWorld {
  /** The home directory, and the working directory of each command. */
  readonly folder: string;
  /** The daemon's configuration; the commands find it too. */
  readonly file: string;
  readonly socket: string;
  readonly server: FakeOpencode;
  readonly daemon: TestDaemon;
  env(): NodeJS.ProcessEnv;
  /** Adds a session that is at work in /home/ada/shop. With `retry` it is at its second attempt by default. */
  session(title: string, status?: 'busy' | 'retry', attempt?: number): string;
  setStatus(id: string, status: 'busy' | 'retry' | 'idle', attempt?: number): void;
  /** Runs any program, with nothing on its stdin. */
  program(program: string, args: readonly string[]): Promise<Ended>;
  /** `opencode-watchdog …` */
  run(...args: string[]): Promise<Ended>;
  close(): Promise<void>;
}

export async function openCommandsWorld(
  options: CommandsWorldOptions = {},
): Promise<CommandsWorld> {
  const { control = 'external', path = process.env.PATH } = options;
  const folder = await mkdtemp(join(tmpdir(), 'watchdog-commands-'));
  const file = join(folder, 'config.yaml');
  const socket = join(folder, 'status.sock');
  const env = () => ({ PATH: path, HOME: folder, TZ: 'UTC', OPENCODE_WATCHDOG_CONFIG: file });
  let server: FakeOpencode | undefined;
  let daemon: TestDaemon | undefined;
  const close = async () => {
    await daemon?.stop();
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const fake = await startFakeOpencode();
    server = fake;
    const config = {
      server: { url: fake.url, control },
      watch: { pollInterval: 200 },
      probe: { interval: 200 },
      status: { listen: `unix:${socket}` },
    };
    await writeFile(file, stringify(withUnits(config)));
    daemon = await startDaemon({ config, env: env() });
    await Promise.all([daemon.saw('status.listening'), daemon.saw('stream.connected')]);
    const setStatus: CommandsWorld['setStatus'] = (id, status, attempt = 2) => {
      const next = Date.now() + 120_000;
      const retry = { type: 'retry', attempt, message: 'Rate limit reached', next } as const;
      fake.setStatus(id, status === 'retry' ? retry : { type: status });
    };
    const program: CommandsWorld['program'] = (name, args) =>
      runProgram(name, args, { env: env(), cwd: folder });
    return {
      folder,
      file,
      socket,
      server: fake,
      daemon,
      env,
      setStatus,
      session(title, status = 'busy', attempt) {
        const { id } = fake.addSession({ title, directory: '/home/ada/shop' });
        setStatus(id, status, attempt);
        return id;
      },
      program,
      run: (...args) => program(process.execPath, [CLI, ...args]),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
