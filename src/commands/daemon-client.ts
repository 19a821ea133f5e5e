/** Talks to the running daemon over its status endpoint, for the commands that read or steer it. */
import { readFileSync } from 'node:fs';
import { Agent } from 'undici';
import { hostToAsk, isLoopback, type Listen, parseListen } from '../config/listen.js';
import type { LoadedConfig } from '../config/load.js';
import { type ReadToken, readStatusToken } from '../config/status-token.js';
import { lstatOf } from '../lib/file-stat.js';
import { hostInUrl } from '../lib/server-address.js';
import { codeOf } from '../opencode/http/errors.js';
import { findHolders } from '../process/table/port.js';
import { EXIT, ExitError } from './shared.js';

const TIMEOUT_MS = 10_000;
/**
 * An answer of the daemon to `status` and the acts. The daemon's own bounds keep `/status` far below it. At the limit:
 * reading stops, and the command fails.
 */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export interface Answer {
  status: number;
  /** Parsed JSON. */
  body: unknown;
}

/** No daemon answers at `status.listen`. */
export class NoDaemonError extends ExitError {
  constructor(address: string, why: string) {
    super(EXIT.unreachable, `no daemon answers at ${address} (status.listen): ${why}`);
  }
}

/** The daemon wants the token, and this user has none that it accepts. */
export class NoTokenError extends ExitError {
  constructor(message: string) {
    super(EXIT.unauthorized, message);
  }
}

export class DaemonClient {
  readonly #listen: Address;
  readonly #found: ReadToken;
  /** Kept, so that the owner of the socket is looked up only once. */
  #authorization: Promise<string | undefined> | undefined;
  readonly address: string;

  constructor({ config }: Pick<LoadedConfig, 'config'>) {
    this.address = config.status.listen;
    const listen = parseListen(config.status.listen);
    if (listen === undefined || listen.kind === 'off') {
      throw new NoDaemonError(this.address, 'it has no status endpoint');
    }
    this.#listen = listen;
    this.#found = readStatusToken(config, process.env, process.cwd());
  }

  /** The token. Undefined if there is none that we may read. */
  get token(): string | undefined {
    return this.#found.kind === 'token' ? this.#found.token.reveal() : undefined;
  }

  /** @throws NoDaemonError, or ExitError if the daemon refuses us */
  get(path: string, timeoutMs = TIMEOUT_MS): Promise<Answer> {
    return this.#ask('GET', path, timeoutMs);
  }

  post(path: string, timeoutMs = TIMEOUT_MS): Promise<Answer> {
    return this.#ask('POST', path, timeoutMs);
  }

  /** If an answer lacks what the token would show: an error that tells which file has the token, and how to get it. */
  async missingToken(body: unknown): Promise<NoTokenError | undefined> {
    if (!isRecord(body) || body.withheld === undefined) return undefined;
    const named = fileNamedBy(body);
    if (named === undefined && this.#found.kind === 'absent') return undefined;
    return this.#noToken(named, `${this.address} hides titles and messages without its token`);
  }

  async #ask(method: Method, path: string, timeoutMs: number): Promise<Answer> {
    const { status, text } = await this.#send(method, path, timeoutMs, await this.#header());
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch (cause) {
      const says = `what answers at ${this.address} (status.listen) is no opencode-watchdog`;
      const code = status === 401 || status === 403 ? EXIT.unauthorized : EXIT.failed;
      throw new ExitError(code, says, { cause });
    }
    if (status !== 401 && status !== 403) return { status, body };
    const reason = isRecord(body) && typeof body.error === 'string' ? body.error : `${status}`;
    const says = `the daemon at ${this.address} refuses us (status ${status}): ${reason.replace(/\p{Cc}/gu, '?').slice(0, 300)}`;
    if (status === 401) throw await this.#noToken(fileNamedBy(body), says);
    throw new ExitError(EXIT.unauthorized, says);
  }

  #header(): Promise<string | undefined> {
    this.#authorization ??= this.#authorize();
    return this.#authorization;
  }

  /**
   * Withholds the token from a stranger: whoever listens there while the daemon is down would get the token of the next
   * one.
   */
  async #authorize(): Promise<string | undefined> {
    if (this.#found.kind !== 'token') return undefined;
    const { owner, token, file } = this.#found;
    const stranger = (await this.#users()).find(
      (uid) => uid !== 0 && uid !== owner && uid !== process.geteuid?.(),
    );
    if (stranger === undefined) return `Bearer ${token.reveal()}`;
    throw new NoTokenError(
      `the token of ${file} is withheld: ${this.address} (status.listen) belongs to ${userName(stranger)}, not to the daemon`,
    );
  }

  /** The users who own the socket. None if that cannot be seen, or if the socket is on another machine. */
  async #users(): Promise<number[]> {
    if (this.#listen.kind === 'unix') {
      // If it cannot be looked at, connecting to it tells why it cannot be used.
      const stat = lstatOf(this.#listen.path);
      return stat === undefined ? [] : [stat.uid];
    }
    const host = hostToAsk(this.#listen);
    if (!isLoopback(host)) return [];
    const holders = await findHolders(host, this.#listen.port);
    return [...new Set(holders.flatMap(({ uid }) => (uid === undefined ? [] : [uid])))];
  }

  /**
   * An error that names the token's file and the user who may read it: the file's owner, else the socket's, as the
   * kernel knows them.
   */
  async #noToken(named: string | undefined, says: string): Promise<NoTokenError> {
    const found = this.#found;
    const file = found.kind === 'refused' ? found.file : (named ?? found.file);
    const owner = found.kind === 'refused' && found.owner >= 0 ? found.owner : undefined;
    const uid = owner ?? (await this.#users())[0];
    if (uid === undefined || uid === process.geteuid?.()) {
      return new NoTokenError(`${says}\nThe token is in ${file}; status.tokenFile may name it.`);
    }
    const variable = file === found.file ? '' : `env OPENCODE_WATCHDOG_STATUS_TOKENFILE=${file} `;
    const words = process.argv.slice(2).map(quoted).join(' ');
    return new NoTokenError(
      `${says}\nThe token is in ${file}, which this user may not read. As the daemon's user:\n  sudo -u ${userName(uid)} ${variable}opencode-watchdog ${words}`,
    );
  }

  async #send(
    method: Method,
    path: string,
    timeoutMs: number,
    authorization: string | undefined,
  ): Promise<{ status: number; text: string }> {
    const { origin, connect } = targetOf(this.#listen);
    // One connection for each request, because the command must not wait for an idle one to end.
    const agent = new Agent({ connect, maxResponseSize: MAX_ANSWER_BYTES });
    try {
      const { statusCode, body } = await agent.request({
        origin,
        method,
        path,
        headers: {
          host: 'localhost',
          'user-agent': 'opencode-watchdog',
          ...(authorization === undefined ? {} : { authorization }),
        },
        signal: AbortSignal.timeout(timeoutMs),
      });
      return { status: statusCode, text: await body.text() };
    } catch (error) {
      if (codeOf(error) === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
        throw new ExitError(EXIT.failed, 'the answer is too large');
      }
      throw new NoDaemonError(this.address, wordsOf(error));
    } finally {
      await agent.destroy();
    }
  }
}

type Method = 'GET' | 'POST';
type Address = Exclude<Listen, { kind: 'off' }>;

function targetOf(listen: Address): { origin: string; connect: { socketPath?: string } } {
  if (listen.kind === 'unix') {
    return { origin: 'http://localhost', connect: { socketPath: listen.path } };
  }
  return { origin: `http://${hostInUrl(hostToAsk(listen))}:${listen.port}`, connect: {} };
}

function wordsOf(error: unknown): string {
  const code = codeOf(error);
  if (code === 'ECONNREFUSED') return 'nobody listens there';
  if (code === 'ENOENT') return 'the socket is not there';
  if (code === 'EACCES') return 'this user may not open the socket';
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return 'it does not answer';
  if (!(error instanceof Error)) return String(error);
  return error.name === 'TimeoutError' ? 'it does not answer' : error.message;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/**
 * The path is printed in a line that people paste into a shell, so it must have nothing that a shell would interpret.
 */
function fileNamedBy(body: unknown): string | undefined {
  const named = isRecord(body) ? body.tokenFile : undefined;
  return typeof named === 'string' && /^\/[\w./@:+-]{1,300}$/.test(named) ? named : undefined;
}

function quoted(word: string): string {
  return /^[\w./@:=,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The user as sudo takes it: the account's name, else `#1000`. */
function userName(uid: number): string {
  try {
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((each) => each.split(':')[2] === String(uid));
    if (line !== undefined) return line.slice(0, line.indexOf(':'));
  } catch {
    // There is no such file. The number does as well.
  }
  return `'#${uid}'`;
}
