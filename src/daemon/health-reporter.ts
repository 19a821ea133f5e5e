/** The periodic lines: `session.health` for each active session, and one `health.summary`. */
import type { Clock, Timer } from '../lib/clock.js';
import type { Telemetry } from '../telemetry/logger.js';
import { countByHealth } from '../watchdog/decision.js';
import type { Watchdog } from '../watchdog/watchdog.js';
import type { MemoryMonitor } from './memory-monitor.js';

/**
 * Lines that are written at once, and the pause after them (ms): a thousand in one go would hold up what is due
 * meanwhile.
 */
const LINES_AT_ONCE = 10;
const BREATH_MS = 20;

/** Rounds to a hundredth of a cent: the digits after that are noise of floating point sums. */
const cents = (usd: number) => Math.round(usd * 10_000) / 10_000;

export interface ReportSources {
  watchdog: Watchdog;
  telemetry: Telemetry;
  clock: Clock;
  /** Events of the stream so far. */
  events(): number;
  memory: MemoryMonitor;
}

export class HealthReporter {
  readonly #from: ReportSources;
  #lastAt: number;
  #lastEvents: number;
  /** Sessions whose lines are still to be written. */
  #waiting: string[] = [];
  #timer: Timer | undefined;

  constructor(sources: ReportSources) {
    this.#from = sources;
    this.#lastAt = sources.clock.now();
    this.#lastEvents = sources.events();
  }

  write(): void {
    const { watchdog, telemetry, clock, memory } = this.#from;
    const at = clock.now();
    const active = watchdog.sessions(at);
    this.#waiting = active.map(({ sessionID }) => sessionID);
    this.#writeSome();
    const events = this.#from.events();
    const seconds = Math.max(1, at - this.#lastAt) / 1_000;
    telemetry.emit('health.summary', {
      ...countByHealth(watchdog.idleSessions, active),
      eventsPerSec: Math.round(((events - this.#lastEvents) / seconds) * 10) / 10,
      ...(memory.latest === undefined ? {} : { serverMemoryBytes: memory.latest }),
      ...(memory.processes === undefined ? {} : { serverProcesses: memory.processes }),
      ...(memory.growthPerHour === undefined
        ? {}
        : { serverMemoryGrowthBytesPerHour: memory.growthPerHour }),
      watchdogMemoryBytes: process.memoryUsage.rss(),
      restarts: watchdog.server.restarts,
      costTodayUsd: cents(watchdog.spentToday.costUsd),
      tokensToday: watchdog.spentToday.tokens,
    });
    this.#lastAt = at;
    this.#lastEvents = events;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#waiting = [];
  }

  #writeSome(): void {
    const { watchdog, telemetry, clock } = this.#from;
    this.#timer?.cancel();
    for (const id of this.#waiting.splice(0, LINES_AT_ONCE)) {
      // The session as it is now. A run that has ended meanwhile has been logged already.
      const session = watchdog.session(id, clock.now());
      if (session !== undefined) telemetry.emit('session.health', session);
    }
    if (this.#waiting.length === 0) return;
    this.#timer = clock.after(BREATH_MS, () => this.#writeSome(), { unref: true });
  }
}
