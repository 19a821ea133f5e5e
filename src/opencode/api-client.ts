/** What the clients of both APIs share: requests with checked answers, and the result of a probe that failed. */

import type { Clock } from '../lib/clock.js';
import { isId } from '../lib/id.js';
import { askIdentity } from './ask-identity.js';
import { messageOf, OpencodeError, probeFailure } from './http/errors.js';
import {
  type Request,
  type StreamTarget,
  Transport,
  type TransportOptions,
} from './http/transport.js';
import { ParseStats } from './parse-stats.js';
import { recognise, refusalOf, unsupportedOf } from './recognise.js';
import type { ProbeResult } from './server-api.js';

const DEFAULT_TIMEOUT_MS = 10_000;

export interface ApiClientOptions extends Omit<TransportOptions, 'timeoutMs'> {
  /** Per request, from sending to the last byte of the answer. */
  timeoutMs?: number;
  parseStats?: ParseStats;
}

export interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false };
}

export abstract class ApiClient {
  abstract readonly api: 1 | 2;
  /** The server's address, without credentials. */
  readonly url: string;
  /** Counts what could not be read in answers. */
  readonly parseStats: ParseStats;
  /** Its wall clock is the server's. */
  protected readonly clock: Clock;
  protected readonly transport: Transport;

  constructor(options: ApiClientOptions) {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, parseStats = new ParseStats(), ...rest } = options;
    this.parseStats = parseStats;
    this.transport = new Transport({ ...rest, timeoutMs });
    this.clock = this.transport.clock;
    this.url = this.transport.url;
  }

  epoch(): number {
    return this.clock.epoch();
  }

  streamTarget(path: string): StreamTarget {
    return this.transport.streamTarget(path);
  }

  /** Calls any other JSON route. The answer is not checked. */
  raw(request: Request): Promise<unknown> {
    return this.transport.json(request);
  }

  /** Ends every request in flight. */
  close(): Promise<void> {
    return this.transport.close();
  }

  /** Returns an answer of the given shape. @throws OpencodeError */
  protected async ask<T>(schema: Schema<T>, request: Request): Promise<T> {
    const answer = schema.safeParse(await this.transport.json(request));
    if (answer.success) return answer.data;
    throw this.transport.notOpencode(
      `${request.method ?? 'GET'} ${this.url}${request.path}`,
      'answered with JSON of another shape than opencode gives',
    );
  }

  /** Returns the values that have the shape, and counts the others. */
  protected readable<T>(values: readonly unknown[], schema: Schema<T>): T[] {
    return values.flatMap((value) => {
      const read = schema.safeParse(value);
      if (read.success) return [read.data];
      this.parseStats.unparseable += 1;
      return [];
    });
  }

  /** If something answered, asks it what it is: that decides what the answer means. */
  protected async probeFailed(
    error: unknown,
    signal: AbortSignal | undefined,
    timeoutMs = DEFAULT_TIMEOUT_MS,
  ): Promise<ProbeResult> {
    if (!(error instanceof OpencodeError)) {
      return { kind: 'failed', failure: 'network', error: messageOf(error) };
    }
    const { kind, message, statusCode = 401 } = error;
    if (kind === 'aborted') return { kind };
    const failure = probeFailure(error);
    if (failure !== undefined && failure !== 'http' && failure !== 'not_opencode') {
      return { kind: 'failed', failure, error: message };
    }
    const answers = await askIdentity(this.streamTarget(''), timeoutMs, signal);
    if (signal?.aborted) return { kind: 'aborted' };
    const other = this.api === 1 ? 'opencode-2' : 'opencode-1';
    if (kind === 'unauthorized' && recognise(answers).kind !== other) {
      const refused = { kind, status: statusCode };
      const { withheld } = error;
      if (withheld !== undefined) {
        return { ...refused, error: message, means: asPhrase(withheld), isWithheld: true };
      }
      const means = refusalOf(answers);
      if (means === undefined) return { ...refused, error: message };
      return { ...refused, means, error: `${message} That means: ${means}.` };
    }
    const unsupported = unsupportedOf(answers, error.answered);
    return { kind: 'unsupported', ...unsupported, error: `${message} ${unsupported.means}.` };
  }
}

/** Makes a sentence fit into the middle of another one. */
function asPhrase(sentence: string): string {
  return `${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`.replace(/\.$/, '');
}

/** Checks an id that becomes part of a path. `..` would lead to another route, even percent-encoded (WHATWG URL). */
export function segment(id: string): string {
  if (isId(id)) return id;
  throw new OpencodeError({
    kind: 'http',
    request: `the id ${JSON.stringify(id.slice(0, 80))}`,
    outcome: 'was not asked for',
    statusCode: 404,
    detail: 'NotFoundError: opencode has ids of letters, digits, "_" and "-"',
  });
}
