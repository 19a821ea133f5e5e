/**
 * `notify.command`: the user's own program, run for each event that is news, with the event as one line of JSON on
 * stdin. One runs at a time, so that it gets the events in their order. The watch never waits for it.
 */
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { commandEnvironment } from '../lib/child-env.js';
import { type Clock, sleep } from '../lib/clock.js';
import { type CommandResult, runCommand } from '../process/run-command.js';
import { openProcessTable } from '../process/table/open-table.js';
import { NEWS_ROOMS } from '../telemetry/catalogue/events.js';
import type { Telemetry, TelemetryRecord } from '../telemetry/logger.js';
import { eventJson } from '../telemetry/notify/message.js';
import { CHATTER } from '../telemetry/notify/topic.js';

/** What reports events to people: a webhook, or the command. */
export interface Notifier {
  /** The receiver as a person knows it: a host, or a program. */
  readonly host: string;
  take(record: TelemetryRecord): void;
  /**
   * Sends one message now, even if its event is not asked for. @returns undefined if it was accepted, else how it
   * failed
   */
  test(record: TelemetryRecord): Promise<string | undefined>;
  /** Sends what is pending, within a short time, and ends. */
  stop(): Promise<void>;
}

/**
 * Events that wait for `notify.command`, of which one runs at a time. At the limit: the oldest is left out, and
 * `notify.failed` says how many were.
 */
export const MAX_QUEUED = 100;
/** How long one notification may take, ms. It is normally quick, and one that hangs must not hold up the others. */
const TIMEOUT_MS = 30_000;
const STOP_GRACE_MS = 1_000;
/** How long events that are pending at the daemon's stop may take, ms. */
const FAREWELL_MS = 3_000;

export interface NotifyCommandOptions {
  command: readonly string[];
  /** URL of the watched server. */
  server: string;
  /** The status page, without its token. */
  page: string | undefined;
  telemetry: Pick<Telemetry, 'emit'>;
  clock: Clock;
  env?: NodeJS.ProcessEnv;
  timeoutMs?: number;
}

export class NotifyCommand implements Notifier {
  readonly #o: NotifyCommandOptions;
  readonly #stopping = new AbortController();
  #queue: TelemetryRecord[] = [];
  #left = 0;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: NotifyCommandOptions) {
    this.#o = options;
  }

  get host(): string {
    return basename(this.#o.command[0] ?? '');
  }

  take(record: TelemetryRecord): void {
    if (this.#isStopped || !isNews(record)) return;
    this.#queue.push(record);
    if (this.#queue.length > MAX_QUEUED) {
      this.#queue.shift();
      this.#left += 1;
    }
    this.#running ??= this.#runAll().finally(() => {
      this.#running = undefined;
    });
  }

  test(record: TelemetryRecord): Promise<string | undefined> {
    return this.#run(record);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const over = new AbortController();
    const late = sleep(this.#o.clock, FAREWELL_MS, over.signal).then(
      () => this.#stopping.abort(new Error('the daemon is stopping')),
      () => {
        // Everything was sent in time.
      },
    );
    await this.#running;
    over.abort();
    await late;
  }

  async #runAll(): Promise<void> {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const left = this.#left;
      this.#left = 0;
      if (left > 0) this.#failed(left, 0, `more than ${MAX_QUEUED} events waited`);
      const error = await this.#run(next);
      if (error !== undefined) this.#failed(1, 1, error);
      if (!this.#stopping.signal.aborted) continue;
      if (this.#queue.length > 0) this.#failed(this.#queue.length, 0, 'the daemon is stopping');
      this.#queue = [];
    }
  }

  #failed(events: number, tries: number, error: string): void {
    this.#o.telemetry.emit('notify.failed', { host: this.host, events, tries, error });
  }

  async #run(record: TelemetryRecord): Promise<string | undefined> {
    const { command, server, page, clock, env = process.env, timeoutMs = TIMEOUT_MS } = this.#o;
    const about = { host: hostname(), server, ...(page === undefined ? {} : { page }) };
    try {
      const result = await runCommand(command, {
        table: openProcessTable(),
        clock,
        timeoutMs,
        stopGraceMs: STOP_GRACE_MS,
        cwd: process.cwd(),
        cwdAdvice: 'start the watchdog in one that can',
        env: commandEnvironment(env),
        signal: this.#stopping.signal,
        input: `${JSON.stringify({ ...about, ...eventJson(record) })}\n`,
        onLine: () => {},
      });
      return failureOf(result, timeoutMs);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
}

/** News is what the log has of these rooms at info and above, without the info lines that come all the time. */
function isNews({ event, level }: TelemetryRecord): boolean {
  const [room = ''] = event.split('.', 1);
  return NEWS_ROOMS.has(room) && level !== 'debug' && (!CHATTER.has(event) || level !== 'info');
}

function failureOf(result: CommandResult, timeoutMs: number): string | undefined {
  const last = result.lastLines.at(-1);
  const said = last === undefined ? '' : `: ${last}`;
  switch (result.kind) {
    case 'not-started':
      return `it cannot be started: ${result.why}`;
    case 'timeout':
      return `it was not done after ${timeoutMs / 1_000} s, and was ended${said}`;
    case 'exit':
      if (result.code === 0) return undefined;
      return `it ended with ${result.signal ?? `exit code ${result.code}`}${said}`;
  }
}
