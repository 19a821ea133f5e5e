/** A status endpoint without a daemon behind it: the test sets the source's facts and emits the events. */
import { Secret } from '../../src/config/secret.js';
import { SystemClock } from '../../src/lib/clock.js';
import { createRedactor, type Revealable } from '../../src/lib/redaction.js';
import { HistoryStore } from '../../src/status/history-store.js';
import type { Address } from '../../src/status/listen.js';
import { openStatus } from '../../src/status/open.js';
import type {
  ActResult,
  ServerFacts,
  SessionExcerpt,
  SessionFacts,
  StatusSource,
} from '../../src/status/source.js';
import { createTelemetry, type Telemetry } from '../../src/telemetry/logger.js';
import type { Health } from '../../src/watchdog/decision.js';
import { freePort } from './ports.js';
import { waitFor } from './wait.js';

/** Real time. A test may set its wall clock back, so that events happen in the past. */
export class TestClock extends SystemClock {
  /** How far the wall clock is set back, ms. */
  back = 0;

  override epoch(): number {
    return Date.now() - this.back;
  }
}

export class TestSource implements StatusSource {
  facts: ServerFacts = {
    health: 'healthy',
    forMs: 3_000,
    pid: 4242,
    version: '1.18.33',
    restarts: 0,
    recentRestarts: 0,
    breaker: { state: 'closed' },
    stream: { connected: true, silentMs: 20, events: 7 },
  };
  readonly active = new Map<string, SessionFacts & { since: number }>();
  readonly observations = new Map<string, number>();
  readonly spentToday = { costUsd: 1.25, tokens: 12_000 };
  readonly spentByModel = new Map([['fake/m1', this.spentToday]]);
  readonly limits = {
    maxSilenceMs: 600_000,
    maxAttempts: 12,
    maxToolTimeMs: 3_600_000,
    maxRunTimeMs: 0,
  };
  readonly excerpts = new Map<string, SessionExcerpt>();
  /** The sessions whose excerpts were asked for, one list for each read. */
  readonly wanted: string[][] = [];
  readonly acts: string[] = [];
  idleSessions = 0;
  parkedRuns: ReturnType<StatusSource['parked']> = [];
  bytes: number | undefined = 420 * 1024 ** 2;
  paused = false;
  dryRun = false;
  deafMs: number | undefined;
  probe: (tookMs: number) => void = () => {};

  server(): ServerFacts {
    return this.facts;
  }

  sessions(): SessionFacts[] {
    const now = performance.now();
    return [...this.active.values()].map(({ since, ...facts }) => ({
      ...facts,
      forMs: now - since,
    }));
  }

  excerpt(sessionID: string): SessionExcerpt | undefined {
    return this.excerpts.get(sessionID);
  }

  wantExcerpts(sessions: readonly { sessionID: string }[]): void {
    this.wanted.push(sessions.map(({ sessionID }) => sessionID));
  }

  async askExcerpt(sessionID: string): Promise<SessionExcerpt | undefined> {
    return this.excerpts.get(sessionID);
  }

  quarantined(): ReturnType<StatusSource['quarantined']> {
    return [];
  }

  parked(): ReturnType<StatusSource['parked']> {
    return this.parkedRuns;
  }

  memory(): Promise<number | undefined> {
    return Promise.resolve(this.bytes);
  }

  onProbe(listener: (tookMs: number) => void): void {
    this.probe = listener;
  }

  async abort(sessionID: string): Promise<ActResult> {
    this.acts.push(`abort ${sessionID}`);
    if (!this.active.has(sessionID)) return { ok: false, status: 404, says: 'no such session' };
    return { ok: true, says: `session ${sessionID} is aborted`, outcome: 'done', tookMs: 42 };
  }

  restart(): ActResult {
    this.acts.push('restart');
    return { ok: true, says: 'the server is being restarted' };
  }

  pause(): ActResult {
    this.acts.push('pause');
    this.paused = true;
    return { ok: true, says: 'paused' };
  }

  resume(): ActResult {
    this.acts.push('resume');
    this.paused = false;
    return { ok: true, says: 'resumed' };
  }
}

export interface WorldOptions {
  address?: Address;
  /** Made if none is given. */
  token?: Revealable;
  acts?: boolean;
  healthSocket?: string;
  secrets?: readonly Revealable[];
  /** It started this many ms ago. */
  back?: number;
  version?: string;
  /** The folder of its history. Without it no history is kept. */
  historyIn?: string;
}

export interface StatusWorld {
  source: TestSource;
  clock: TestClock;
  telemetry: Telemetry;
  /** Every line that was logged. */
  lines: Array<{ event: string; [field: string]: unknown }>;
  /** The URL that it listens on. For a unix socket the host and port in it mean nothing. */
  url: string;
  port: number;
  /** Headers with the token. */
  headers: { authorization: string };
  /** A link to the page, with the token. */
  link: string;
  /** Sets the session's health from now on, and logs it. */
  health(sessionID: string, health: Health, facts?: Partial<SessionFacts>): void;
  close(): Promise<void>;
}

export async function openWorld(options: WorldOptions = {}): Promise<StatusWorld> {
  const clock = new TestClock();
  clock.back = options.back ?? 0;
  const source = new TestSource();
  const token = options.token ?? new Secret('the-token-of-this-world');
  const secrets = [...(options.secrets ?? []), token];
  const lines: StatusWorld['lines'] = [];
  const telemetry = createTelemetry({
    level: 'debug',
    format: 'json',
    server: 'http://opencode.test:4096',
    secrets,
    clock,
    stream: { write: (text) => lines.push(JSON.parse(text)) },
  });
  const address = options.address ?? {
    kind: 'tcp',
    host: '127.0.0.1',
    port: await freePort(),
    loopback: true,
  };
  const history =
    options.historyIn === undefined
      ? undefined
      : new HistoryStore({
          directory: options.historyIn,
          clock,
          onProblem: (says) => {
            throw new Error(says);
          },
        });
  telemetry.subscribe((record) => history?.take(record));
  const status = openStatus({
    source,
    history,
    telemetry,
    clock,
    redactor: createRedactor(secrets),
    address,
    token: options.address?.kind === 'unix' ? options.token : token,
    tokenFile: '/run/watchdog/token',
    ...(options.acts === undefined ? {} : { acts: options.acts }),
    healthSocket: options.healthSocket,
    version: options.version ?? '0.1.0',
    url: 'http://opencode.test:4096',
  });
  clock.back = 0;
  const said = (event: string) => lines.some((line) => line.event === event);
  await waitFor(() => said('status.listening') || said('status.failed') || said('error'), {
    interval: 5,
  });
  const port = address.kind === 'tcp' ? address.port : 0;
  return {
    source,
    clock,
    telemetry,
    lines,
    port,
    url: `http://127.0.0.1:${port}`,
    headers: { authorization: `Bearer ${token.reveal()}` },
    link: `http://127.0.0.1:${port}/#token=${encodeURIComponent(token.reveal())}`,
    health(sessionID, health, facts = {}) {
      const before = source.active.get(sessionID);
      const since = before?.health === health ? before.since : performance.now() - clock.back;
      const fields = { sessionID, ...facts };
      if (health === 'idle') source.active.delete(sessionID);
      else source.active.set(sessionID, { ...before, ...fields, health, forMs: 0, since });
      const { directory, title } = { ...before, ...facts };
      telemetry.emit('session.health', {
        sessionID,
        ...(directory === undefined ? {} : { directory }),
        ...(title === undefined ? {} : { title }),
        health,
        previous: before?.health ?? 'idle',
        forMs: before === undefined ? 0 : performance.now() - before.since,
      });
    },
    async close() {
      await status.close();
      history?.close();
      clock.stop();
    },
  };
}
