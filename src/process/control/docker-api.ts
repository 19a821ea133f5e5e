/** Makes the few requests of the Docker Engine API that a restart needs, over the engine's unix socket. */
import { Agent } from 'undici';
import * as z from 'zod';
import { maskedCut } from '../../lib/redaction.js';
import { ControlError } from './control.js';

const inspectSchema = z.object({
  Id: z.string(),
  Path: z.string().default(''),
  Args: z.array(z.string()).nullable().default([]),
  State: z.object({
    Running: z.boolean(),
    Pid: z.int(),
    StartedAt: z.string(),
    ExitCode: z.int().default(0),
  }),
});
export type Container = z.infer<typeof inspectSchema>;

const waitSchema = z.object({ StatusCode: z.int() });
const statsSchema = z.object({
  memory_stats: z
    .object({
      usage: z.number().optional(),
      // cgroup v2 has inactive_file, v1 total_inactive_file: page cache that the kernel gives back on demand.
      stats: z
        .object({
          inactive_file: z.number().optional(),
          total_inactive_file: z.number().optional(),
        })
        .optional(),
    })
    .optional(),
});
const errorSchema = z.object({ message: z.string() });

const REQUEST_TIMEOUT_MS = 10_000;
/** An answer of the Docker engine. At the limit: the request fails. */
export const MAX_ANSWER_BYTES = 4 * 2 ** 20;

export class DockerApi {
  readonly #socketPath: string;
  readonly #container: string;

  constructor(socketPath: string, container: string) {
    this.#socketPath = socketPath;
    this.#container = container;
  }

  async inspect(signal?: AbortSignal): Promise<Container> {
    return inspectSchema.parse(await this.#call('GET', 'json', { signal }));
  }

  /** Docker sends SIGTERM, then SIGKILL after `graceSeconds`. It answers when the container has been started again. */
  async restart(graceSeconds: number, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    await this.#call('POST', `restart?t=${graceSeconds}`, { signal, timeoutMs });
  }

  async start(signal?: AbortSignal): Promise<void> {
    await this.#call('POST', 'start', { signal });
  }

  /** Answers when the container ends, which may be never. */
  async wait(signal: AbortSignal): Promise<number> {
    const answer = await this.#call('POST', 'wait', { signal, timeoutMs: 0 });
    return waitSchema.parse(answer).StatusCode;
  }

  async memory(): Promise<number | undefined> {
    const { memory_stats: memory } = statsSchema.parse(
      await this.#call('GET', 'stats?stream=false&one-shot=true', {}),
    );
    if (memory?.usage === undefined) return undefined;
    return memory.usage - (memory.stats?.inactive_file ?? memory.stats?.total_inactive_file ?? 0);
  }

  async #call(
    method: 'GET' | 'POST',
    path: string,
    { signal, timeoutMs = REQUEST_TIMEOUT_MS }: { signal?: AbortSignal; timeoutMs?: number },
  ): Promise<unknown> {
    const agent = new Agent({
      connect: { socketPath: this.#socketPath },
      maxResponseSize: MAX_ANSWER_BYTES,
    });
    try {
      const answer = await agent.request({
        origin: 'http://docker',
        method,
        // Without a version in the path the engine uses its newest API. New engines refuse some old versions, and the
        // requests used here exist in all of them.
        path: `/containers/${encodeURIComponent(this.#container)}/${path}`,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        signal,
      });
      const text = await answer.body.text();
      // 304: already started, or already stopped.
      if (answer.statusCode >= 400) throw this.#refused(answer.statusCode, text);
      return text === '' ? {} : JSON.parse(text);
    } catch (error) {
      if (error instanceof ControlError || signal?.aborted) throw error;
      throw this.#unreachable(error);
    } finally {
      await agent.destroy();
    }
  }

  #refused(status: number, text: string): ControlError {
    const said = parseError(text);
    const what =
      status === 404
        ? `the Docker engine knows no container "${this.#container}": look at the NAMES in \`docker ps -a\``
        : `the Docker engine at ${this.#socketPath} answered ${status} for container "${this.#container}": ${said}`;
    return new ControlError(what, { serverAlive: 'unknown' });
  }

  #unreachable(error: unknown): ControlError {
    const { code, message } = error as NodeJS.ErrnoException;
    const socket = this.#socketPath;
    const what: Record<string, string> = {
      ENOENT: `there is no Docker socket at ${socket}: is Docker running here? In a container, mount it (-v /var/run/docker.sock:/var/run/docker.sock)`,
      EACCES: `the Docker socket ${socket} may not be opened by uid ${process.geteuid?.()}: add the user to the socket's group (usually docker), or run as root`,
      UND_ERR_RES_EXCEEDED_MAX_SIZE: `the Docker engine at ${socket} gave an answer larger than ${MAX_ANSWER_BYTES} bytes`,
      ECONNREFUSED: `nobody listens on the Docker socket ${socket}: the engine is stopped`,
    };
    return new ControlError(
      (code && what[code]) ?? `the Docker engine at ${socket} could not be asked: ${message}`,
      { serverAlive: 'unknown', cause: error },
    );
  }
}

function parseError(text: string): string {
  try {
    return errorSchema.parse(JSON.parse(text)).message;
  } catch {
    return maskedCut(text, 200);
  }
}
