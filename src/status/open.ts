/** Opens the status endpoint beside the watch, which never waits for it to load, to listen or to try again. */
import type { Server } from 'node:http';
import type { Clock, Timer } from '../lib/clock.js';
import { codeOf, fileProblem } from '../lib/file-problem.js';
import type { Redactor, Revealable } from '../lib/redaction.js';
import { hostInUrl } from '../lib/server-address.js';
import type { Telemetry, TelemetryRecord } from '../telemetry/logger.js';
import { LoopLag } from './event-loop-lag.js';
import type { HistoryStore } from './history-store.js';
import { type Address, closeServer, listen } from './listen.js';
import type { StatusSource } from './source.js';
import { StatusView } from './view.js';

/** How long until it tries to listen again. A taken port may belong to a daemon that is about to end. */
const RETRY_MS = 30_000;
/** Events that come while the endpoint's modules load. At the limit: further ones are missing from its counters. */
export const MAX_EARLY = 1_000;

export interface StatusOptions {
  source: StatusSource;
  telemetry: Telemetry;
  clock: Clock;
  redactor: Redactor;
  address: Address;
  /** Undefined on a unix socket that its file mode protects, and if no token could be made. */
  token: Revealable | undefined;
  /** The file that the token is in. */
  tokenFile?: string | undefined;
  /** Why there is no token. */
  noToken?: string | undefined;
  /** `status.acts`; true by default. */
  acts?: boolean;
  /** A unix socket for health checks only, so that no other client can use up its connections. */
  healthSocket?: string | undefined;
  version: string;
  /** URL of the watched server. */
  url: string;
  /** The past events, which `/history` returns. */
  history?: HistoryStore | undefined;
}

export function openStatus(options: StatusOptions): { close(): Promise<void> } {
  const opening = new StatusService(options);
  return { close: () => opening.close() };
}

class StatusService {
  readonly #o: StatusOptions;
  readonly #lag: LoopLag;
  readonly #view: StatusView;
  readonly #unsubscribe: () => void;
  readonly #loaded: Promise<void>;
  #early: TelemetryRecord[] | undefined = [];
  #onRecord: (record: TelemetryRecord) => void;
  #retry: Timer | undefined;
  /** The attempt to listen that is under way. */
  #listening: Promise<void> = Promise.resolve();
  #server: Server | undefined;
  #health: Server | undefined;
  #endStream: () => void = () => {};
  #closed = false;
  #saidFailed = false;

  constructor(options: StatusOptions) {
    this.#o = options;
    const { telemetry, clock } = options;
    this.#lag = new LoopLag(clock);
    this.#view = new StatusView({ ...options, lag: this.#lag });
    this.#view.restore(options.history?.takePast() ?? []);
    this.#onRecord = (record) => {
      if (this.#early !== undefined && this.#early.length < MAX_EARLY) this.#early.push(record);
    };
    this.#unsubscribe = telemetry.subscribe((record) => this.#onRecord(record));
    this.#loaded = this.#load().catch((err: unknown) =>
      telemetry.emit('error', { err, doing: 'opening the status endpoint' }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    this.#retry?.cancel();
    this.#lag.stop();
    await this.#loaded;
    // A retry that was already due could not be cancelled.
    await this.#listening;
    this.#endStream();
    if (this.#health !== undefined) await closeServer(this.#health);
    if (this.#server !== undefined) await closeServer(this.#server);
  }

  /** Its modules are loaded only here, so a daemon without a status endpoint does not pay for them. */
  async #load(): Promise<void> {
    const [
      { createEndpoint },
      { Instruments },
      { EventCounters },
      { collectors },
      { LiveStream },
      { Auth },
    ] = await Promise.all([
      import('./endpoint.js'),
      import('./instruments.js'),
      import('./counters.js'),
      import('./collectors.js'),
      import('./stream.js'),
      import('./auth.js'),
    ]);
    const { source, telemetry, clock, address, token, tokenFile, acts = true } = this.#o;
    const { healthSocket } = this.#o;
    const view = this.#view;
    const onError = (err: unknown, doing: string) => telemetry.emit('error', { err, doing });
    const make = new Instruments();
    const counters = new EventCounters(make, source);
    collectors(make, { ...this.#o, view, lag: this.#lag });
    const hint = hintFor(this.#o);
    const onStreamError = (err: unknown) => onError(err, 'telling the status page');
    const stream = new LiveStream(view, clock, onStreamError, hint);
    this.#endStream = () => stream.close();
    this.#onRecord = (record) => {
      counters.take(record);
      stream.changed(view.take(record));
    };
    for (const record of this.#early ?? []) this.#onRecord(record);
    this.#early = undefined;
    const host = address.kind === 'tcp' ? address.host : undefined;
    const loopback = address.kind === 'unix' || address.loopback;
    const trusted = address.kind === 'unix' && token === undefined;
    const auth = new Auth({ host, loopback, token, trusted, acts, hint });
    const routes = {
      source,
      view,
      metrics: make.registry,
      stream,
      hint,
      tokenFile: loopback ? tokenFile : undefined,
      history: this.#o.history,
      clock,
      onError,
    };
    this.#server = createEndpoint({ ...routes, auth }, clock);
    if (healthSocket !== undefined) {
      const health = new Auth({ host: undefined, loopback: true, token: undefined, acts: false });
      this.#health = createEndpoint({ ...routes, auth: health }, clock);
      await this.#listenForHealth(this.#health, healthSocket);
    }
    await this.#tryListening(this.#server);
  }

  /** If this fails, `healthcheck` asks at `status.listen`, as it does if there is no folder for the socket. */
  async #listenForHealth(server: Server, path: string): Promise<void> {
    if (this.#closed) return;
    try {
      await listen(server, { kind: 'unix', path });
      server.on('error', (err) =>
        this.#o.telemetry.emit('error', { err, doing: 'serving the health check' }),
      );
    } catch {
      // Another daemon of this server has the socket, or the folder is not writable.
    }
  }

  #tryListening(server: Server): Promise<void> {
    this.#listening = this.#listen(server);
    return this.#listening;
  }

  async #listen(server: Server): Promise<void> {
    const { address, telemetry, clock, source } = this.#o;
    if (this.#closed) return;
    const name = nameOf(address);
    try {
      await listen(server, address);
      if (this.#closed) return;
      server.on('error', (err) => telemetry.emit('error', { err, doing: 'serving the status' }));
      telemetry.emit('status.listening', { address: name });
    } catch (error) {
      if (this.#closed) return;
      if (!this.#saidFailed) {
        this.#saidFailed = true;
        telemetry.emit('status.failed', {
          address: name,
          error: words(error),
          ...(source.dryRun ? {} : { retryInMs: RETRY_MS }),
        });
      }
      // A dry run may be tried beside the daemon that has this address. That daemon must find it free when it comes
      // back.
      if (source.dryRun) return;
      this.#retry = clock.after(RETRY_MS, () => void this.#tryListening(server), { unref: true });
    }
  }
}

/** How to get the token, as the end of a sentence. An endpoint that other machines can reach does not give the path. */
function hintFor({ address, token, tokenFile, noToken }: StatusOptions): string {
  if (token === undefined) {
    return noToken === undefined ? '' : `, and there is none (${noToken}): set status.tokenFile`;
  }
  if (tokenFile === undefined || (address.kind === 'tcp' && !address.loopback)) return '';
  return `: it is in ${tokenFile}, and in the link that "opencode-watchdog page" prints`;
}

function nameOf(address: Address): string {
  if (address.kind === 'unix') return `unix:${address.path}`;
  return `${hostInUrl(address.host)}:${address.port}`;
}

function words(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return 'the address is taken by another process';
    case 'EACCES':
      return 'this user may not listen there';
    // mkdir(2): a file is where a directory is needed.
    case 'EEXIST':
    case 'ENOTDIR':
      return 'a part of its path is not a directory';
    default:
      return fileProblem(error) ?? error.message;
  }
}
