/** The page's stream: nothing that changes is lost while a message is on its way, and a slow page is cut. */
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import type { StatusJson } from '../../../src/status/json.js';
import { LiveStream } from '../../../src/status/stream.js';
import type { StatusView } from '../../../src/status/view.js';
import { FakeClock } from '../../support/fake-clock.js';

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
