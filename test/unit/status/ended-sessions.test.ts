/** How the last run of a session ended, and what it cost, stay beside it as long as it is idle. */
import { expect, it } from 'vitest';
import { doing } from '../../../src/commands/status-text.js';
import { createRedactor } from '../../../src/lib/redaction.js';
import { LoopLag } from '../../../src/status/event-loop-lag.js';
import { StatusView } from '../../../src/status/view.js';
import type { TelemetryRecord } from '../../../src/telemetry/logger.js';
import { FakeClock } from '../../support/fake-clock.js';
import { TestSource } from '../../support/status-world.js';

function viewOfOne() {
  const clock = new FakeClock();
  const lag = new LoopLag(clock);
  const source = new TestSource();
  const redactor = createRedactor([]);
  const view = new StatusView({ source, clock, redactor, lag, version: '1', url: 'http://x' });
  const take = (event: string, fields: object) =>
    view.take({
      event,
      level: 'info',
      time: clock.epoch(),
      msg: '',
      fields: { sessionID: 's', ...fields },
    } as unknown as TelemetryRecord);
  return { view, take };
}

it('an idle session shows its last outcome with what it cost, until it is at work again', () => {
  const { view, take } = viewOfOne();
  const run = { steps: 12, tools: 12, toolErrors: 0, costUsd: 1.5, tokens: 900, tookMs: 60_000 };
  take('session.health', { health: 'busy' });
  take('session.ended', { ...run, outcome: 'aborted', reason: 'loop' });
  take('session.health', { health: 'idle', previous: 'stuck' });
  const [row] = view.rows();
  expect(row).toMatchObject({ outcome: 'aborted', reason: 'loop', costUsd: 1.5, tokens: 900 });
  expect(doing(row as never, { now: 0, limits: undefined })).toMatch(
    /\(going round in circles\), \$1\.50$/,
  );
  take('session.health', { health: 'busy', previous: 'idle' });
  expect(view.rows()[0]).not.toHaveProperty('outcome');
});
