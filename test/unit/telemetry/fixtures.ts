/** A telemetry whose lines are kept, on a clock that stands still. */
import type { Clock } from '../../../src/lib/clock.js';
import { createTelemetry, type TelemetryOptions } from '../../../src/telemetry/logger.js';

export const NOW = Date.parse('2026-01-02T03:04:05.678Z');

export const stillClock: Clock = {
  now: () => 0,
  epoch: () => NOW,
  after: () => ({ cancel: () => {} }),
};

export function captured(options: Partial<TelemetryOptions> & { terminal?: boolean } = {}) {
  const written: string[] = [];
  const telemetry = createTelemetry({
    level: 'trace',
    format: 'json',
    server: 'http://localhost:4096',
    secrets: [],
    clock: stillClock,
    stream: { write: (text) => written.push(text), isTTY: options.terminal ?? false },
    env: {},
    ...options,
  });
  return { telemetry, written, lines: () => written.map((line) => JSON.parse(line)) };
}
