/** The periodic lines: `session.health` for each active session, and one `health.summary`. */
import type { Clock } from './lib/clock.js';
import type { MemoryWatch } from './memory-watch.js';
import type { Telemetry } from './telemetry/logger.js';
import { countByHealth } from './watchdog/decision.js';
import type { Watchdog } from './watchdog/watchdog.js';

export interface ReportSources {
  watchdog: Watchdog;
  telemetry: Telemetry;
  clock: Clock;
  /** Events of the stream so far. */
  events(): number;
  memory: MemoryWatch;
}

export class Report {
  readonly #from: ReportSources;
  #lastAt: number;
  #lastEvents: number;

  constructor(sources: ReportSources) {
    this.#from = sources;
    this.#lastAt = sources.clock.now();
    this.#lastEvents = sources.events();
  }

  write(): void {
    const { watchdog, telemetry, clock, memory } = this.#from;
    const at = clock.now();
    const active = watchdog.sessions(at);
    for (const session of active) telemetry.emit('session.health', session);
    const events = this.#from.events();
    const seconds = Math.max(1, at - this.#lastAt) / 1_000;
    telemetry.emit('health.summary', {
      ...countByHealth(watchdog.idleSessions, active),
      eventsPerSec: Math.round(((events - this.#lastEvents) / seconds) * 10) / 10,
      ...(memory.latest === undefined ? {} : { serverMemoryBytes: memory.latest }),
      ...(memory.growthPerHour === undefined
        ? {}
        : { serverMemoryGrowthBytesPerHour: memory.growthPerHour }),
      watchdogMemoryBytes: process.memoryUsage.rss(),
      restarts: watchdog.server.restarts,
    });
    this.#lastAt = at;
    this.#lastEvents = events;
  }
}
