/** How the last run of a session ended, and what it cost, stay beside it as long as it is idle. */
import { describe, expect, it } from 'vitest';
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

describe('who ended a run', () => {
  const run = { steps: 1, tools: 0, toolErrors: 0, costUsd: 0, tokens: 0, tookMs: 9 };
  const asked = { act: 'abort', by: 'page' };

  it.each(['idle', 'unknown', 'failed'])(
    'is not the person whose abort found nothing to end (%s)',
    (outcome) => {
      const { view, take } = viewOfOne();
      take('act.requested', asked);
      take('act.done', { ...asked, outcome });
      take('session.health', { health: 'busy' });
      take('session.ended', { ...run, outcome: 'aborted', reason: 'manual' });
      expect(view.rows()[0]).toMatchObject({ outcome: 'aborted' });
      expect(view.rows()[0]).not.toHaveProperty('endedBy');
    },
  );

  it('is not the person who asked for an abort if something else cut the run', () => {
    const { view, take } = viewOfOne();
    take('session.health', { health: 'busy' });
    take('act.requested', asked);
    take('session.ended', { ...run, outcome: 'interrupted' });
    expect(view.rows()[0]).not.toHaveProperty('endedBy');
  });

  it('is what cut the run, even if an abort was asked for and failed', () => {
    const { view, take } = viewOfOne();
    take('session.health', { health: 'busy' });
    take('act.requested', asked);
    take('session.interrupted', { by: 'restart', restartReason: 'exited', health: 'busy' });
    take('act.done', { ...asked, outcome: 'failed' });
    take('session.ended', { ...run, outcome: 'interrupted' });
    expect(view.rows()[0]).toMatchObject({ outcome: 'interrupted', endedBy: 'exited' });
  });

  it('is the person, also where the result is told before the end', () => {
    const { view, take } = viewOfOne();
    take('session.health', { health: 'busy' });
    take('act.requested', asked);
    take('act.done', { ...asked, outcome: 'done' });
    take('session.ended', { ...run, outcome: 'aborted', reason: 'manual' });
    expect(view.rows()[0]).toMatchObject({ outcome: 'aborted', endedBy: 'page' });
  });
});
