/**
 * Reports the daemon's state to the service manager: ready once the server is healthy or the daemon can only wait, one
 * line of status, and a sign of life that shows that the loop itself turns.
 */
import type { Clock, Timer } from '../lib/clock.js';
import type { Telemetry } from '../telemetry/logger.js';
import { countByHealth, HEALTHS, type Health, type ServerHealth } from '../watchdog/decision.js';
import type { SdNotify } from './sd-notify.js';

export interface View {
  server: ServerHealth;
  /** The server itself has been seen to answer well, not just to be there. */
  answered: boolean;
  /** The daemon starts a server that is down: false in a dry run, and where it only observes. */
  startsServer: boolean;
  sessions: readonly { health: Health }[];
}

/** What the loop shows. */
export interface Watched {
  view(): View;
  /** Takes one turn of the loop. Returns false if it did not really turn. */
  turn(): boolean;
}

export interface ServiceOptions {
  notify: SdNotify;
  telemetry: Pick<Telemetry, 'subscribe'>;
  clock: Clock;
}

/** `systemctl start` waits for the first good answer, so this delay must be too short to notice. */
const POLL_UNTIL_READY_MS = 250;
/**
 * How much longer the start may take, counted from each time that the daemon asks for it (sd_notify(3),
 * EXTEND_TIMEOUT_USEC=). A start that is timed out ends the server and its sessions, so `TimeoutStartSec=` must not be
 * the limit: `server.startTimeout` and the breaker are. Three requests fit into the time, as with the signs of life.
 */
const START_EXTENSION_MS = 60_000;
const EXTEND_EVERY_MS = START_EXTENSION_MS / 3;
/** A status line is for people. */
const POLL_MS = 5_000;
/** Signs of life in one `WatchdogSec=`: sd_watchdog_enabled(3) asks for two, the third is for a busy machine. */
const SIGNS_PER_LIMIT = 3;

const SERVER_WORDS: Record<ServerHealth, string> = {
  unknown: 'waiting for the server',
  starting: 'starting the server',
  healthy: 'healthy',
  unauthorized: 'the server refuses the credentials',
  unsupported: 'answers, and is not understood',
  unresponsive: 'the server does not answer',
  down: 'the server is down',
  restarting: 'restarting the server',
  held: 'the server is down, restarts are held by the breaker',
};

export interface Today {
  aborts: number;
  restarts: number;
}

/** `healthy, 3 busy, 1 retrying, 2 aborts today` */
export function statusLine(
  server: ServerHealth,
  sessions: readonly { health: Health }[],
  { aborts, restarts }: Today,
): string {
  const byHealth = countByHealth(0, sessions);
  const counts = HEALTHS.map((health) => ({ health, count: byHealth[health] })).filter(
    ({ count }) => count > 0,
  );
  return [
    SERVER_WORDS[server],
    ...counts.map(({ health, count }) => `${count} ${health}`),
    ...(aborts > 0 ? [`${aborts} ${aborts === 1 ? 'abort' : 'aborts'} today`] : []),
    ...(restarts > 0 ? [`${restarts} ${restarts === 1 ? 'restart' : 'restarts'} today`] : []),
  ].join(', ');
}

/**
 * Whether the start is over. It is over too where the daemon can only wait: for a person who mends the credentials or
 * the server, for the end of the breaker's cooldown, or for whoever starts the server in a dry run.
 */
function isStartOver({ server, answered, startsServer }: View): boolean {
  switch (server) {
    case 'healthy':
      return answered;
    case 'unauthorized':
    case 'unsupported':
    case 'held':
      return true;
    case 'down':
    case 'unresponsive':
      return !startsServer;
    case 'unknown':
    case 'starting':
    case 'restarting':
      return false;
  }
}

export class ServiceManager {
  readonly #options: ServiceOptions;
  #watched: Watched | undefined;
  #unsubscribe: (() => void) | undefined;
  #timers = new Map<'poll' | 'sign' | 'extend', Timer>();
  #ready = false;
  #said = '';
  #day = '';
  #today: Today = { aborts: 0, restarts: 0 };

  constructor(options: ServiceOptions) {
    this.#options = options;
    options.notify.status(SERVER_WORDS.unknown);
  }

  /** Begins to report. */
  watch(watched: Watched): void {
    const { notify, telemetry } = this.#options;
    if (!notify.enabled) return;
    this.#watched = watched;
    this.#unsubscribe = telemetry.subscribe(({ event }) => this.#count(event));
    this.#poll();
    this.#extend();
    this.#sign();
  }

  reloading(): void {
    if (this.#ready) this.#options.notify.reloading();
  }

  reloaded(): void {
    if (this.#ready) this.#options.notify.ready();
  }

  stopping(): void {
    this.#end();
    this.#options.notify.stopping();
    this.#options.notify.status('stopping');
  }

  /** Settles when nothing is left to send. */
  async stop(): Promise<void> {
    this.#end();
    await this.#options.notify.settled();
  }

  #end(): void {
    this.#unsubscribe?.();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#watched = undefined;
    // A reload during the stop must not report that the daemon is ready again.
    this.#ready = false;
  }

  #poll(): void {
    const { notify } = this.#options;
    if (!this.#watched) return;
    // The next poll is armed first, so that polling goes on whatever happens in this one.
    this.#after('poll', this.#ready ? POLL_MS : POLL_UNTIL_READY_MS, () => this.#poll());
    const view = this.#watched.view();
    if (!this.#ready && isStartOver(view)) {
      this.#ready = true;
      this.#timers.get('extend')?.cancel();
      notify.ready();
    } else if (this.#ready) notify.resend();
    this.#turnOfDay();
    const line = statusLine(view.server, view.sessions, this.#today);
    if (line !== this.#said) {
      this.#said = line;
      notify.status(line);
    }
  }

  #extend(): void {
    if (!this.#watched || this.#ready) return;
    this.#after('extend', EXTEND_EVERY_MS, () => this.#extend());
    if (this.#watched.turn()) this.#options.notify.extendStart(START_EXTENSION_MS);
  }

  #sign(): void {
    const { notify } = this.#options;
    if (notify.watchdogMs === undefined || !this.#watched) return;
    this.#after('sign', notify.watchdogMs / SIGNS_PER_LIMIT, () => this.#sign());
    if (this.#watched.turn()) notify.alive();
  }

  #after(name: 'poll' | 'sign' | 'extend', ms: number, fn: () => void): void {
    this.#timers.set(name, this.#options.clock.after(ms, fn, { unref: true }));
  }

  #count(event: string): void {
    this.#turnOfDay();
    if (event === 'session.aborted') this.#today.aborts += 1;
    if (event === 'server.restarted') this.#today.restarts += 1;
  }

  /** Today is the reader's day: the machine's time zone. */
  #turnOfDay(): void {
    const day = new Date(this.#options.clock.epoch()).toDateString();
    if (day === this.#day) return;
    this.#day = day;
    this.#today = { aborts: 0, restarts: 0 };
  }
}
