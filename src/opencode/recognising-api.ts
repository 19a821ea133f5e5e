/**
 * The server's API, whichever it speaks: it is recognised by what answers, again each time that an answer is not
 * understood, so that an upgrade in place is noticed. With `server.api` set it is that one alone.
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
import { OpencodeClient } from './v1/client.js';
import { OpencodeClientV2 } from './v2/client.js';

const IDENTIFY_TIMEOUT_MS = 3_000;

export interface RecognisingApiOptions {
  url: string;
  username?: string;
  password?: string;
  clock: Clock;
  authorise?: Authorise;
  /** `auto`: recognised. */
  api?: 'auto' | 1 | 2;
}

export class RecognisingApi implements ServerApi {
  readonly url: string;
  readonly #v1: OpencodeClient;
  readonly #v2: OpencodeClientV2;
  readonly #isAuto: boolean;
  #now: ServerApi;

  constructor({ api = 'auto', username, ...options }: RecognisingApiOptions) {
    this.#v1 = new OpencodeClient({ ...options, ...(username !== undefined && { username }) });
    this.#v2 = new OpencodeClientV2({ ...options, parseStats: this.#v1.parseStats });
    this.#isAuto = api === 'auto';
    this.#now = api === 2 ? this.#v2 : this.#v1;
    this.url = this.#v1.url;
  }

  get api(): 1 | 2 {
    return this.#now.api;
  }
  get parseStats() {
    return this.#v1.parseStats;
  }
  get streams() {
    return this.#now.streams;
  }
  get statusScope() {
    return this.#now.statusScope;
  }

  async probe(signal?: AbortSignal, timeoutMs?: number): Promise<ProbeResult> {
    const result = await this.#now.probe(signal, timeoutMs);
    const isClear = result.kind !== 'unsupported' && result.kind !== 'unauthorized';
    if (!this.#isAuto || isClear) return result;
    const { url } = this.#now.streamTarget('');
    const seen = recognise(await askIdentity(url, timeoutMs ?? IDENTIFY_TIMEOUT_MS, signal));
    if (signal?.aborted) return { kind: 'aborted' };
    const fits =
      seen.kind === 'opencode-2' ? this.#v2 : seen.kind === 'opencode-1' ? this.#v1 : this.#now;
    if (fits === this.#now) return result;
    this.#now = fits;
    fits.forgetVersion();
    return fits.probe(signal, timeoutMs);
  }

  forgetVersion(): void {
    this.#now.forgetVersion();
  }

  streamTarget(path: string) {
    return this.#now.streamTarget(path);
  }

  /** One of each: whichever fits reads. */
  eventReader(options: { clock: Clock; notice: Notice }): EventReader {
    const v1 = this.#v1.eventReader(options);
    const v2 = this.#v2.eventReader(options);
    const reader = () => (this.api === 2 ? v2 : v1);
    return {
      head: (head): FrameHead => reader().head(head),
      read: (text, place): Frame => reader().read(text, place),
      get statusless() {
        return reader().statusless;
      },
      probed: (version, path, signal) => reader().probed(version, path, signal),
      forget: () => {
        v1.forget();
        v2.forget();
      },
    };
  }

  statuses(...args: Parameters<ServerApi['statuses']>) {
    return this.#now.statuses(...args);
  }
  recentSessions(...args: Parameters<ServerApi['recentSessions']>) {
    return this.#now.recentSessions(...args);
  }
  session(...args: Parameters<ServerApi['session']>): Promise<SessionSummary | null> {
    return this.#now.session(...args);
  }
  inspect(...args: Parameters<ServerApi['inspect']>) {
    return this.#now.inspect(...args);
  }
  lastMessage(...args: Parameters<ServerApi['lastMessage']>) {
    return this.#now.lastMessage(...args);
  }
  openRequests(...args: Parameters<ServerApi['openRequests']>) {
    return this.#now.openRequests(...args);
  }
  serverDirectory(signal?: AbortSignal) {
    return this.#now.serverDirectory(signal);
  }
  abort(...args: Parameters<ServerApi['abort']>) {
    return this.#now.abort(...args);
  }
  dispose(...args: Parameters<ServerApi['dispose']>) {
    return this.#now.dispose(...args);
  }
  prompt(...args: Parameters<ServerApi['prompt']>) {
    return this.#now.prompt(...args);
  }
  rejectRequest(...args: Parameters<ServerApi['rejectRequest']>) {
    return this.#now.rejectRequest(...args);
  }

  async close(): Promise<void> {
    await Promise.all([this.#v1.close(), this.#v2.close()]);
  }
}
