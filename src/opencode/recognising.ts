/**
 * A server's API, whether it is that of 1.x or of 2.x. The server is recognised by its answers, and again whenever an
 * answer is not understood, so that an upgrade in place is noticed. If `server.api` is set, only that API is used.
 */
import type { Authorise } from '../lib/authorise.js';
import type { Clock } from '../lib/clock.js';
import { askIdentity } from './ask-identity.js';
import type { Notice } from './monitor/notice.js';
import { recognise } from './recognise.js';
import type {
  EventReader,
  Frame,
  FrameHead,
  ProbeResult,
  ServerApi,
  SessionSummary,
} from './server-api.js';

const IDENTIFY_TIMEOUT_MS = 3_000;

export interface RecognisingOptions {
  url: string;
  username?: string;
  password?: string | (() => string | undefined);
  clock: Clock;
  authorise?: Authorise;
  /** Per request, ms, from sending to the last byte of the answer. */
  timeoutMs?: number;
  /** `auto`: recognised by the server's answers. */
  api?: 'auto' | 1 | 2;
}

export class Recognising<T extends ServerApi> implements ServerApi {
  readonly url: string;
  protected readonly isAuto: boolean;
  protected now: T;
  readonly #apis: Readonly<Record<1 | 2, T>>;

  constructor(apis: Readonly<Record<1 | 2, T>>, api: 'auto' | 1 | 2 = 'auto') {
    this.#apis = apis;
    this.isAuto = api === 'auto';
    this.now = apis[api === 2 ? 2 : 1];
    this.url = apis[1].url;
  }

  protected get apis(): Readonly<Record<1 | 2, T>> {
    return this.#apis;
  }

  /** Calls the API that fits the server. */
  protected call<R>(work: (api: T) => Promise<R>, _signal?: AbortSignal): Promise<R> {
    return work(this.now);
  }

  get api(): 1 | 2 {
    return this.now.api;
  }
  get parseStats() {
    return this.#apis[1].parseStats;
  }
  get streams() {
    return this.now.streams;
  }
  get statusScope() {
    return this.now.statusScope;
  }

  async probe(signal?: AbortSignal, timeoutMs?: number): Promise<ProbeResult> {
    const asked = this.now;
    const result = await asked.probe(signal, timeoutMs);
    const isClear = result.kind !== 'unsupported' && result.kind !== 'unauthorized';
    if (!this.isAuto || isClear) return result;
    const within = timeoutMs ?? IDENTIFY_TIMEOUT_MS;
    const seen = recognise(await askIdentity(asked.streamTarget(''), within, signal));
    if (signal?.aborted) return { kind: 'aborted' };
    if (seen.kind === 'other') return this.#tryOther(asked, result, signal, timeoutMs);
    const fits = this.#apis[seen.kind === 'opencode-2' ? 2 : 1];
    if (fits === asked) return result;
    this.#become(fits);
    return fits.probe(signal, timeoutMs);
  }

  /** Another probe may have found this out already. */
  #become(api: T): void {
    if (api === this.now) return;
    this.now = api;
    api.forgetVersion();
  }

  /**
   * The server says nothing about itself without the password (2.0.5 to 2.0.12 answer everything with 401 and HTML, as
   * a proxy does). So the other version's API is tried with the password, and believed only if its probe succeeds.
   */
  async #tryOther(
    asked: T,
    result: ProbeResult,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
  ): Promise<ProbeResult> {
    const other = this.#apis[asked.api === 1 ? 2 : 1];
    const answer = await other.probe(signal, timeoutMs);
    if (answer.kind !== 'ok') return result;
    this.#become(other);
    return answer;
  }

  epoch(): number {
    return this.now.epoch();
  }

  forgetVersion(): void {
    this.now.forgetVersion();
  }

  streamTarget(path: string) {
    return this.now.streamTarget(path);
  }

  /** One reader for each version. The one that fits the server reads. */
  eventReader(options: { notice: Notice }): EventReader {
    const readers = {
      1: this.#apis[1].eventReader(options),
      2: this.#apis[2].eventReader(options),
    };
    const reader = () => readers[this.api];
    return {
      head: (head): FrameHead => reader().head(head),
      read: (text, place): Frame => reader().read(text, place),
      get statusless() {
        return reader().statusless;
      },
      probed: (version, path, signal) => reader().probed(version, path, signal),
      forget: () => {
        readers[1].forget();
        readers[2].forget();
      },
    };
  }

  statuses(...args: Parameters<ServerApi['statuses']>) {
    return this.call((api) => api.statuses(...args), args[1]);
  }
  recentSessions(...args: Parameters<ServerApi['recentSessions']>) {
    return this.call((api) => api.recentSessions(...args), args[1]);
  }
  session(...args: Parameters<ServerApi['session']>): Promise<SessionSummary | null> {
    return this.call((api) => api.session(...args), args[2]);
  }
  inspect(...args: Parameters<ServerApi['inspect']>) {
    return this.call((api) => api.inspect(...args), args[2]);
  }
  lastMessage(...args: Parameters<ServerApi['lastMessage']>) {
    return this.call((api) => api.lastMessage(...args), args[2]);
  }
  excerpt(...args: Parameters<ServerApi['excerpt']>) {
    return this.call((api) => api.excerpt(...args), args[2]);
  }
  openRequests(...args: Parameters<ServerApi['openRequests']>) {
    return this.call((api) => api.openRequests(...args), args[1]);
  }
  serverDirectory(signal?: AbortSignal) {
    return this.call((api) => api.serverDirectory(signal), signal);
  }
  dispose(...args: Parameters<ServerApi['dispose']>) {
    return this.call((api) => api.dispose(...args), args[1]);
  }
  abort(...args: Parameters<ServerApi['abort']>) {
    return this.call((api) => api.abort(...args), args[2]);
  }
  prompt(...args: Parameters<ServerApi['prompt']>) {
    return this.call((api) => api.prompt(...args), args[3]);
  }
  rejectRequest(...args: Parameters<ServerApi['rejectRequest']>) {
    return this.call((api) => api.rejectRequest(...args), args[3]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#apis[1].close(), this.#apis[2].close()]);
  }
}
