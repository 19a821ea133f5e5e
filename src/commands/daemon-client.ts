/** Talks to the running daemon over its status endpoint, for the commands that look at it or steer it. */
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { type Listen, parseListen } from '../config/listen.js';
import type { LoadedConfig } from '../config/load.js';
import { EXIT, ExitError } from './shared.js';

const TIMEOUT_MS = 10_000;
/** Far above what the daemon's own bounds let `/status` become. */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export interface Answer {
  status: number;
  /** Parsed JSON. */
  body: unknown;
}

/** Nobody listens where `status.listen` says. */
export class NoDaemonError extends ExitError {
  constructor(address: string, why: string) {
    super(EXIT.unreachable, `no daemon answers at ${address} (status.listen): ${why}`);
  }
}

export class DaemonClient {
  readonly #target: Pick<RequestOptions, 'socketPath' | 'host' | 'port'>;
  readonly #token: string | undefined;
  readonly address: string;

  constructor({ config, secrets }: LoadedConfig) {
    this.address = config.status.listen;
    const listen = parseListen(config.status.listen);
    if (listen === undefined || listen.kind === 'off') {
      throw new NoDaemonError(this.address, 'it has no status endpoint');
    }
    this.#target = targetOf(listen);
    this.#token = secrets.statusToken?.reveal();
  }

  /** @throws NoDaemonError, or ExitError where the daemon refuses us */
  get(path: string, timeoutMs = TIMEOUT_MS): Promise<Answer> {
    return this.#ask('GET', path, timeoutMs);
  }

  post(path: string, timeoutMs = TIMEOUT_MS): Promise<Answer> {
    return this.#ask('POST', path, timeoutMs);
  }

  async #ask(method: string, path: string, timeoutMs: number): Promise<Answer> {
    const response = await this.#send(method, path, timeoutMs);
    const status = response.statusCode ?? 0;
    const text = await readText(response);
    if (status === 401 || status === 403) {
      const says = `the daemon at ${this.address} refuses us (status ${status}): status.tokenFile must name the file that it reads itself`;
      throw new ExitError(EXIT.unauthorized, says);
    }
    try {
      return { status, body: JSON.parse(text) as unknown };
    } catch (cause) {
      const says = `what answers at ${this.address} (status.listen) is no opencode-watchdog`;
      throw new ExitError(EXIT.failed, says, { cause });
    }
  }

  #send(method: string, path: string, timeoutMs: number): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          ...this.#target,
          method,
          path,
          // One question, one connection: the command must not wait for an idle one to end.
          agent: false,
          headers: {
            host: 'localhost',
            ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
          },
          signal: AbortSignal.timeout(timeoutMs),
        },
        resolve,
      );
      outgoing.on('error', (error) => reject(new NoDaemonError(this.address, wordsOf(error))));
      outgoing.end();
    });
  }
}

function targetOf(listen: Exclude<Listen, { kind: 'off' }>) {
  if (listen.kind === 'unix') return { socketPath: listen.path };
  // What listens on every address is reached on our own.
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[listen.host] ?? listen.host;
  return { host, port: listen.port };
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    const bytes = Buffer.from(chunk as Uint8Array);
    size += bytes.length;
    if (size > MAX_ANSWER_BYTES) throw new ExitError(EXIT.failed, 'the answer is too large');
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function wordsOf(error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'ECONNREFUSED') return 'nobody listens there';
  if (code === 'ENOENT') return 'the socket is not there';
  if (code === 'EACCES') return 'this user may not open the socket';
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return 'it does not answer';
  return error.message;
}
