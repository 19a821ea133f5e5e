/** The page's stream: nothing that changes is lost while a message is on its way, and a slow page is cut. */
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { createRedactor } from '../../../src/lib/redaction.js';
import { LoopLag } from '../../../src/status/event-loop-lag.js';
import type { StatusJson } from '../../../src/status/json.js';
import { type ChangeMessage, LiveStream } from '../../../src/status/stream.js';
import { StatusView } from '../../../src/status/view.js';
import type { EventFields, EventName } from '../../../src/telemetry/catalogue/events.js';
import { createTelemetry } from '../../../src/telemetry/logger.js';
import { FakeClock } from '../../support/fake-clock.js';
import { TestSource } from '../../support/status-world.js';

class Page extends EventEmitter {
  readonly written: string[] = [];
  writableLength = 0;
  destroyed = false;
  ended = false;
  write(text: string): boolean {
    if (this.ended) throw new Error('written after the end');
    this.written.push(text);
    return true;
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
  count(event: string): number {
    return this.written.filter((text) => text.startsWith(`event: ${event}\n`)).length;
  }
  /** The last message of this kind. */
  last(event: string): ChangeMessage {
    const begin = `event: ${event}\ndata: `;
    const text = this.written.findLast((each) => each.startsWith(begin)) ?? begin;
    return JSON.parse(text.slice(begin.length));
  }
}

function stream() {
  const clock = new FakeClock();
  const waiting: Array<() => void> = [];
  let slow = false;
  const status = {
    sessions: [],
    restarts: [],
    timelines: { slotMs: 1, lastSlot: 1 },
  } as unknown as StatusJson;
  const json = async () => {
    if (slow) await new Promise<void>((resolve) => waiting.push(resolve));
    return status;
  };
  const errors: unknown[] = [];
  const live = new LiveStream({ json } as StatusView, clock, (err) => errors.push(err));
  const page = new Page();
  return {
    live,
    clock,
    page,
    errors,
    open: () => live.add(page as unknown as ServerResponse, true),
    hold: () => {
      slow = true;
    },
    release: () => {
      slow = false;
      for (const go of waiting.splice(0)) go();
    },
  };
}

it('sends what changed while a message was being made, in the next', async () => {
  const { live, clock, page, open, hold, release } = stream();
  await open();
  expect([page.count('status'), page.count('change')]).toEqual([1, 0]);
  hold();
  live.changed();
  await clock.advance(300);
  live.changed();
  await clock.advance(300);
  expect(page.count('change')).toBe(0);
  release();
  await clock.advance(0);
  expect(page.count('change')).toBe(1);
  await clock.advance(300);
  expect(page.count('change')).toBe(2);
});

it('gathers a burst into one message, and costs nothing where nobody listens', async () => {
  const { live, clock, page, open } = stream();
  live.changed();
  expect(clock.pending).toBe(0);
  await open();
  for (let i = 0; i < 500; i += 1) live.changed();
  await clock.advance(300);
  expect(page.count('change')).toBe(1);
  page.destroy();
  expect(clock.pending).toBe(0);
});

it('cuts a page that does not read, and writes to none that is gone', async () => {
  const { live, clock, page, open } = stream();
  await open();
  page.writableLength = 5 * 1024 * 1024;
  live.changed();
  await clock.advance(300);
  expect(page.destroyed).toBe(true);
  const written = page.count('change');
  live.changed();
  await clock.advance(300);
  expect(page.count('change')).toBe(written);

  const second = stream();
  second.hold();
  const opening = second.open();
  second.live.close();
  second.release();
  await opening;
  expect(second.page.count('status')).toBe(0);
});

/** A page that listens to a real view. */
async function watched() {
  const clock = new FakeClock();
  const source = new TestSource();
  const redactor = createRedactor([]);
  const lag = new LoopLag(clock);
  const view = new StatusView({ source, clock, redactor, lag, version: '1', url: 'http://x' });
  const live = new LiveStream(view, clock, (err) => {
    throw err;
  });
  const stream = { write: () => {} };
  const common = { level: 'error', format: 'json', secrets: [], clock, stream } as const;
  const telemetry = createTelemetry({ ...common, server: 'x' });
  telemetry.subscribe((record) => live.changed(view.take(record)));
  const page = new Page();
  await live.add(page as unknown as ServerResponse, true);
  return {
    source,
    async hears<E extends EventName>(event: E, fields: EventFields[E]) {
      telemetry.emit(event, fields);
      await clock.advance(300);
      return page.last('change');
    },
  };
}

it('sends what the day has spent', async () => {
  const { source, hears } = await watched();
  Object.assign(source.spentToday, { costUsd: 2.5, tokens: 9 });
  const { spentToday } = await hears('stream.connected', { path: '/event' });
  expect(spentToday).toEqual({ costUsd: 2.5, tokens: 9 });
});

it('sends each incident that an act on a directory changes', async () => {
  const { hears } = await watched();
  const about = { reason: 'wedged', directory: '/d' } as const;
  for (const sessionID of ['ses_1', 'ses_2']) {
    const ses = { sessionID, directory: '/d' };
    await hears('session.wedged', { ...ses, reason: 'attempts', tries: 3, next: 'dispose' });
  }
  const steps = ({ incidents }: ChangeMessage) =>
    incidents.map(({ sessionID, outcome, steps }) => [sessionID, outcome, steps.at(-1)?.event]);
  const interrupted = ['ses_1', 'ses_2'];
  expect(steps(await hears('directory.disposing', { ...about, interrupted }))).toEqual([
    ['ses_1', undefined, 'directory.disposing'],
    ['ses_2', undefined, 'directory.disposing'],
  ]);
  const health = { health: 'idle', previous: 'wedged', forMs: 1 } as const;
  await hears('session.health', { sessionID: 'ses_1', directory: '/d', ...health });
  expect(steps(await hears('directory.disposed', { ...about, interrupted }))).toEqual([
    ['ses_1', 'disposed', 'directory.disposed'],
    ['ses_2', 'disposed', 'directory.disposed'],
  ]);
});
