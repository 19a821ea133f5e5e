/** A server that came back by itself is attached to: once at a time, gently, and without an act. */
import { expect, it } from 'vitest';
import { REATTACH_AFTER_MS, Reattach } from '../../../src/daemon/reattach.js';
import type { AttachOptions, ProcessIdentity } from '../../../src/process/control/control.js';
import type { Telemetry } from '../../../src/telemetry/logger.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { FakeClock, settle } from '../../support/fake-clock.js';

const FOUND: ProcessIdentity = { pid: 200, startTime: '7', command: ['opencode', 'serve'] };

function start(attach: (signal: AbortSignal) => Promise<ProcessIdentity | null>) {
  const clock = new FakeClock();
  const server = { isUnattached: true };
  const asked: (AttachOptions | undefined)[] = [];
  const observed: Observation[] = [];
  const said: string[] = [];
  const reattach: Reattach = new Reattach({
    clock,
    telemetry: { emit: (event: string) => said.push(event) } as unknown as Telemetry,
    control: {
      acts: true,
      attach: (signal, options) => {
        asked.push(options);
        return attach(signal);
      },
    },
    server,
    observe: (o) => {
      observed.push(o);
      server.isUnattached = false;
      reattach.review();
    },
  });
  return { clock, server, asked, observed, said, reattach };
}

it('finds the process, tells the watchdog, and ends nothing', async () => {
  const { asked, observed, said, reattach } = start(async () => FOUND);
  reattach.review();
  await settle();
  expect(asked).toEqual([{ onlyWatch: true }]);
  expect(observed).toEqual([
    { kind: 'server.attached', at: 0, running: true, pid: 200, acts: true },
  ]);
  expect(said).toEqual(['server.notice']);
});

it('does nothing while the process is known', async () => {
  const { server, asked, reattach } = start(async () => FOUND);
  server.isUnattached = false;
  reattach.review();
  await settle();
  expect(asked).toEqual([]);
});

it('attaches once at a time, however often it is reviewed', async () => {
  const { asked, reattach } = start(() => new Promise(() => {}));
  for (let turn = 0; turn < 5; turn += 1) reattach.review();
  await settle();
  expect(asked).toHaveLength(1);
});

it('tries again a minute after an attach that found nobody, and logs nothing for it', async () => {
  const { clock, asked, observed, said, reattach } = start(async () => null);
  for (let turn = 0; turn < 24; turn += 1) {
    reattach.review();
    await clock.advance(5_000);
  }
  expect(asked).toHaveLength((24 * 5_000) / REATTACH_AFTER_MS);
  expect([observed, said]).toEqual([[], []]);
});

it('reports an attach that failed by a fault, and tries again at the same pace', async () => {
  const { clock, asked, said, reattach } = start(() => Promise.reject(new Error('no /proc')));
  reattach.review();
  await clock.advance(REATTACH_AFTER_MS - 1);
  reattach.review();
  expect([asked.length, said]).toEqual([1, ['error']]);
  await clock.advance(1);
  reattach.review();
  expect(asked).toHaveLength(2);
});

it('is cancelled before a restart, which waits for its end and hears nothing of it', async () => {
  let found: (identity: ProcessIdentity) => void = () => {};
  const { observed, said, reattach } = start(
    () =>
      new Promise((resolve) => {
        found = resolve;
      }),
  );
  reattach.review();
  let isOver = false;
  const cancelled = reattach.cancel().then(() => {
    isOver = true;
  });
  await settle();
  expect(isOver).toBe(false);
  found(FOUND);
  await cancelled;
  expect([observed, said]).toEqual([[], []]);
});
