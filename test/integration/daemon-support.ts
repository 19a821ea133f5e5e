/**
 * Runs the daemon in this process against a fake opencode. Monitor, watchdog, log and aborts are real. Only the
 * server's process is fake: a control that records its calls.
 */
import { setImmediate } from 'node:timers/promises';
import { afterEach, expect } from 'vitest';
import { type Config, defaultConfig } from '../../src/config/schema.js';
import { Secret } from '../../src/config/secret.js';
import { Daemon, type DaemonOptions } from '../../src/daemon/daemon.js';
import { SystemClock } from '../../src/lib/clock.js';
import type {
  ControlDeps,
  OnStarting,
  ProcessIdentity,
  RestartedServer,
  ServerControl,
  StartedServer,
} from '../../src/process/control/control.js';
import { createTelemetry } from '../../src/telemetry/logger.js';
import type { LogLine } from '../support/daemon.js';
import {
  type FakeOpencode,
  type FakeOpencodeOptions,
  startFakeOpencode,
} from '../support/fake-opencode.js';
import { routes } from '../support/fake-opencode-routes.js';
import { waitFor } from '../support/wait.js';

routes['GET /path'] ??= ({ state }) => ({
  directory: state.directory,
  state: '/s',
  config: '/c',
  worktree: '/',
});

/** The server's own directory, as the fake has it. */
export const OWN = '/fake/project';
export const FIRST_PID = 100;

type Groups = { [G in keyof Config]?: Config[G] extends object ? Partial<Config[G]> : Config[G] };

/** Short enough for a test, and long enough that a busy machine does not exceed them by chance. */
const SHORT = {
  watch: { pollInterval: 70, heartbeatTimeout: 5_000 },
  probe: { interval: 70, timeout: 1_000 },
  retry: { maxAttempts: 5, maxDuration: 60_000 },
  abort: { verifyTimeout: 500 },
  pileup: { minDuration: 400 },
  restart: { backoff: { initial: 100, max: 400 } },
} satisfies Groups;

export function configWith(...changes: Groups[]): Config {
  const config: Record<string, unknown> = { ...defaultConfig() };
  for (const change of [SHORT, ...changes]) {
    for (const [group, value] of Object.entries(change)) {
      const isGroup = typeof value === 'object' && !Array.isArray(value);
      config[group] = isGroup ? { ...(config[group] as object), ...value } : value;
    }
  }
  return config as unknown as Config;
}

export interface FakeControlOptions {
  acts?: boolean;
  /** Called at the `nth` start or restart, counted from 1. Brings the fake server up, or throws a `ControlError`. */
  start?(nth: number, signal: AbortSignal): unknown;
  restart?(nth: number, signal: AbortSignal): unknown;
  attach?(signal: AbortSignal): unknown;
  continueProcess?(nth: number): unknown;
  memory?(): Promise<number | undefined>;
  dispose?(): unknown;
}

/** The control of a process that does not exist. It gets a new pid at each start, and records its calls. */
export class FakeControl implements ServerControl {
  readonly mode = 'spawn';
  acts: boolean;
  readonly calls: Array<{ call: string; at: number }> = [];
  readonly #options: FakeControlOptions;
  readonly #deps: ControlDeps;
  pid = FIRST_PID;
  #hasEnded = false;

  constructor(deps: ControlDeps, options: FakeControlOptions) {
    this.#deps = deps;
    this.#options = options;
    this.acts = options.acts ?? true;
  }

  count(call: string): number {
    return this.calls.filter((each) => each.call === call).length;
  }

  /** Reports that the process has ended. */
  exit(pid = this.pid, signal: NodeJS.Signals | null = 'SIGKILL'): void {
    this.#hasEnded = pid === this.pid;
    this.#deps.onExit({ pid, code: signal === null ? 1 : null, signal });
  }

  /** Somebody else starts a server. */
  comesBack(): void {
    this.#hasEnded = false;
    this.pid += 1;
  }

  /** Reports that a signal has stopped the process. */
  suspend(pid = this.pid): void {
    this.#deps.onSuspended({ pid });
  }

  async continueProcess(): Promise<void> {
    await this.#options.continueProcess?.(this.#note('continueProcess'));
  }

  async attach(signal: AbortSignal): Promise<ProcessIdentity | null> {
    this.#note('attach');
    await this.#options.attach?.(signal);
    if (this.#hasEnded) return null;
    return { pid: this.pid, startTime: '1', command: ['opencode', 'serve'] };
  }

  async start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    // What comes after an end is a new process, as after a restart.
    if (this.#hasEnded) return this.restart(signal);
    onStarting?.(this.pid);
    await this.#options.start?.(this.#note('start'), signal);
    return { pid: this.pid, version: '1.18.33', tookMs: 7 };
  }

  async restart(signal: AbortSignal): Promise<RestartedServer> {
    await this.#options.restart?.(this.#note('restart'), signal);
    this.#hasEnded = false;
    const oldPid = this.pid;
    this.pid += 1;
    return { pid: this.pid, oldPid, version: '1.18.33', tookMs: 7 };
  }

  poke(): void {
    this.#note('poke');
  }

  memory(): Promise<number | undefined> {
    return this.#options.memory?.() ?? Promise.resolve(123_456_789);
  }

  endsOnStop(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async dispose(onExit: 'stop' | 'leave'): Promise<void> {
    this.#note(`dispose ${onExit}`);
    await this.#options.dispose?.();
  }

  #note(call: string): number {
    this.calls.push({ call, at: performance.now() });
    return this.count(call);
  }
}

type Where = Partial<LogLine>;

export interface RunOptions {
  config?: Groups;
  control?: FakeControlOptions;
  password?: string;
  daemon?: Partial<Pick<DaemonOptions, 'makeRecorder' | 'onUnsupported'>>;
}

/** A running daemon, with its log. */
export class TestRun {
  readonly lines: LogLine[] = [];
  /** The raw text of the log. */
  output = '';
  /** Settles when the daemon has ended. */
  readonly done: Promise<{ gaveUp: boolean }>;
  readonly #stop = new AbortController();
  readonly #clock = new SystemClock();
  #control: FakeControl | undefined;

  constructor(
    readonly server: FakeOpencode,
    options: RunOptions,
  ) {
    const config = configWith(options.config ?? {}, {
      server: { ...defaultConfig().server, url: server.url, ...options.config?.server },
    });
    const password = options.password === undefined ? undefined : new Secret(options.password);
    const telemetry = createTelemetry({
      level: 'debug',
      format: 'json',
      server: config.server.url,
      dryRun: config.dryRun,
      secrets: password ? [password] : [],
      clock: this.#clock,
      stream: {
        write: (text) => {
          this.output += text;
          this.lines.push(JSON.parse(text) as LogLine);
        },
      },
    });
    const daemon = new Daemon({
      config,
      secrets: password ? { password } : {},
      telemetry,
      clock: this.#clock,
      makeControl: async (deps) => {
        this.#control = new FakeControl(deps, options.control ?? {});
        return this.#control;
      },
      ...options.daemon,
    });
    this.done = daemon.run(this.#stop.signal);
  }

  get control(): FakeControl {
    if (!this.#control) throw new Error('the daemon has not asked for its control yet');
    return this.#control;
  }

  events(event: string, where: Where = {}, from = 0): LogLine[] {
    return this.lines
      .slice(from)
      .filter(
        (line) =>
          line.event === event &&
          Object.entries(where).every(([key, value]) => line[key] === value),
      );
  }

  /** Waits for the first line of this event, starting at the line numbered `from`. */
  async saw(event: string, where: Where = {}, from = 0): Promise<LogLine> {
    const what = `${event} ${JSON.stringify(where)}`;
    try {
      const look = () => this.events(event, where, from)[0];
      return await waitFor(look, { what, interval: 5, timeout: 10_000 });
    } catch (cause) {
      throw new Error(`no ${what}; the log:\n${this.lines.slice(-40).map(show).join('\n')}`, {
        cause,
      });
    }
  }

  /** Waits until the daemon listens, and until everything that it asks after a connect is answered. */
  async settled(): Promise<this> {
    await this.saw('stream.connected');
    await this.saw('server.healthy');
    if (this.server.count('GET /session/status') === 0) await this.asked('GET /session/status');
    await this.asked('GET /global/health', 2);
    return this;
  }

  /** Waits until `times` more polls of each kind are answered and processed. */
  async polled(times = 2): Promise<void> {
    await this.asked('GET /session/status', times + 1);
    await setImmediate();
  }

  /** Waits until `times` more requests of this route have come. */
  async asked(route: string, times = 1): Promise<void> {
    const before = this.server.count(route);
    await waitFor(() => this.server.count(route) >= before + times, {
      what: `${times} more of ${route}`,
      interval: 5,
      timeout: 10_000,
    });
  }

  /** The states of health that the session was logged to change to, in order. */
  healths(sessionID: string): string[] {
    return this.events('session.health', { sessionID })
      .filter(({ previous }) => previous !== undefined)
      .map(({ health }) => String(health));
  }

  /** Tells it to stop, as a SIGTERM would. Returns the same promise as `done`. */
  stop(): Promise<{ gaveUp: boolean }> {
    this.#stop.abort(new Error('SIGTERM'));
    return this.done.finally(() => this.#clock.stop());
  }
}

function show({ time, event, msg }: LogLine): string {
  return `${time.slice(17)} ${event}: ${msg}`;
}

const ends: Array<() => Promise<unknown>> = [];

/** Registers a cleanup that runs after the test, whatever its result. The last one registered runs first. */
export function afterwards(end: () => Promise<unknown>): void {
  ends.push(end);
}

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

export async function fake(options: FakeOpencodeOptions = {}): Promise<FakeOpencode> {
  const server = await startFakeOpencode(options);
  afterwards(() => server.stop());
  return server;
}

/**
 * Starts a daemon for this server. Whatever the test is about, nothing may be logged as `error`, and nothing after the
 * end.
 */
export function watch(server: FakeOpencode, options: RunOptions = {}): TestRun {
  const run = new TestRun(server, options);
  afterwards(async () => {
    await run.stop();
    const after = run.lines.length;
    await setImmediate();
    expect(run.lines.slice(after).map(show)).toEqual([]);
    expect(run.events('error').map(show)).toEqual([]);
  });
  return run;
}

/** A fake opencode, and a daemon that has settled on it. */
export async function start(
  options: FakeOpencodeOptions & RunOptions = {},
): Promise<{ server: FakeOpencode; run: TestRun }> {
  const { config, control, ...rest } = options;
  const server = await fake(rest);
  const run = watch(server, options);
  await run.settled();
  return { server, run };
}

/** A retry status in opencode's form. */
export function retry(attempt: number, nextInMs = 5_000) {
  return { type: 'retry', attempt, message: 'Rate limit reached', next: Date.now() + nextInMs };
}

/** Every abort request, with the directory that it named. */
export function aborts(server: FakeOpencode): Array<{ id: string; directory: string | undefined }> {
  return server.requests
    .filter(({ route }) => route === 'POST /session/:id/abort')
    .map(({ path, query }) => ({ id: path.split('/')[2] ?? '', directory: query.directory }));
}
