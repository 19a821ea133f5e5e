/** `server.control: docker`: the server runs in a container, which the Docker engine restarts for us. */
import { type Clock, sleep } from '../../lib/clock.js';
import { awaitHealth } from '../server/await-health.js';
import {
  type ControlDeps,
  ControlError,
  type OnStarting,
  type ProcessIdentity,
  type RestartedServer,
  type ServerControl,
  type StartedServer,
} from './control.js';
import { type Container, DockerApi } from './docker-api.js';

export interface DockerOptions {
  /** The container's name or id. */
  container: string;
  socketPath?: string;
  deps: ControlDeps;
  clock: Clock;
  startTimeoutMs: number;
  stopGraceMs: number;
}

const DEFAULT_DOCKER_SOCKET = '/var/run/docker.sock';
/** Time to start a container (mounts, network) on a busy machine, in addition to the grace period for stopping it. */
const ENGINE_TIMEOUT_MS = 60_000;
/** Time between two attempts to wait for the container's end, if the engine hangs up. */
const WATCH_AGAIN_MS = 5_000;

export class DockerControl implements ServerControl {
  readonly mode = 'docker';
  readonly acts = true;
  readonly #options: DockerOptions;
  readonly #api: DockerApi;
  #watching: AbortController | undefined;
  #watched: ProcessIdentity | undefined;
  /** Why the last attach failed. */
  #refused: string | undefined;

  constructor(options: DockerOptions) {
    this.#options = options;
    this.#api = new DockerApi(options.socketPath ?? DEFAULT_DOCKER_SOCKET, options.container);
  }

  /** We cannot see the container's process, so nobody reports it as stopped by a signal. */
  async continueProcess(): Promise<void> {
    throw new ControlError("a container's process is not seen from here", { serverAlive: true });
  }

  async attach(signal: AbortSignal): Promise<ProcessIdentity | null> {
    try {
      const container = await this.#api.inspect(signal);
      this.#refused = undefined;
      if (!container.State.Running) return null;
      const identity = identityOf(container);
      this.#watch(identity);
      return identity;
    } catch (error) {
      signal.throwIfAborted();
      const { message } = error as Error;
      // Attaching is tried again and again, but the same failure is reported only once.
      if (message !== this.#refused) this.#options.deps.onNotice('error', message);
      this.#refused = message;
      return null;
    }
  }

  async start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    const began = this.#options.clock.now();
    onStarting?.();
    await this.#api.start(signal);
    return this.#healthy(began, undefined, signal);
  }

  async restart(signal: AbortSignal): Promise<RestartedServer> {
    const { clock, stopGraceMs } = this.#options;
    const began = clock.now();
    const old = await this.#api.inspect(signal);
    this.#unwatch();
    const graceSeconds = Math.ceil(stopGraceMs / 1000);
    try {
      await this.#api.restart(graceSeconds, stopGraceMs + ENGINE_TIMEOUT_MS, signal);
    } catch (error) {
      // The engine refused, so the old container runs on, and its end must be reported again.
      if (!signal.aborted && old.State.Running) this.#watch(identityOf(old));
      throw error;
    }
    const started = await this.#healthy(began, old, signal);
    return { ...started, ...(old.State.Running && { oldPid: old.State.Pid }) };
  }

  /** The engine answers the pending `wait` request when the container ends, so there is nothing to check earlier. */
  poke(): void {}

  async memory(): Promise<number | undefined> {
    // The number only shows a trend. An engine that does not answer now is reported when it is asked to act.
    return this.#api.memory().catch(() => undefined);
  }

  /** The container belongs to its engine, so neither `stop` nor `leave` ends it. */
  async dispose(): Promise<void> {
    this.#unwatch();
  }

  async #healthy(
    began: number,
    old: Container | undefined,
    signal: AbortSignal,
  ): Promise<StartedServer> {
    const { deps, clock, startTimeoutMs, container } = this.#options;
    const outcome = await awaitHealth({ deps, clock, timeoutMs: startTimeoutMs, signal });
    const now = await this.#api.inspect(signal);
    if (outcome.kind !== 'healthy') {
      const state = now.State.Running ? 'runs' : `has ended (exit code ${now.State.ExitCode})`;
      throw new ControlError(
        `container "${container}" was started and ${state}, but no healthy server was seen within ${startTimeoutMs} ms (server.startTimeout): look at \`docker logs ${container}\``,
        { serverAlive: old?.State.StartedAt === now.State.StartedAt ? 'unknown' : false },
      );
    }
    if (old?.State.Running && old.State.StartedAt === now.State.StartedAt) {
      throw new ControlError(
        `the Docker engine said that it restarted container "${container}", but it runs since ${old.State.StartedAt} as before`,
        { serverAlive: true },
      );
    }
    this.#watch(identityOf(now));
    const { version } = outcome;
    return {
      pid: now.State.Pid,
      tookMs: clock.now() - began,
      ...(version !== undefined && { version }),
    };
  }

  watched(): ProcessIdentity | undefined {
    return this.#watched;
  }

  #watch(identity: ProcessIdentity): void {
    this.#unwatch();
    this.#watched = identity;
    const watching = new AbortController();
    this.#watching = watching;
    void this.#awaitEnd(identity, watching.signal);
  }

  async #awaitEnd(identity: ProcessIdentity, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const code = await this.#api.wait(signal);
        if (!signal.aborted) {
          this.#options.deps.onExit({ pid: identity.pid, code, signal: null });
        }
        return;
      } catch {
        // The engine hung up, perhaps because it was restarted. Probes still tell how the server is, so there is time.
        await sleep(this.#options.clock, WATCH_AGAIN_MS, signal).catch(() => undefined);
      }
    }
  }

  #unwatch(): void {
    this.#watching?.abort();
    this.#watching = undefined;
    this.#watched = undefined;
  }
}

/** As the engine's machine sees it: the pid belongs to the host's PID namespace. */
function identityOf({ Path, Args, State }: Container): ProcessIdentity {
  return { pid: State.Pid, startTime: State.StartedAt, command: [Path, ...(Args ?? [])] };
}
