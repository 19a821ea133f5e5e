import { expect, it } from 'vitest';
import { OrphanSweeper, SWEEP_EVERY_MS } from '../../../src/daemon/orphan-sweeper.js';
import type { SweepOptions, Swept } from '../../../src/opencode/driver/orphans.js';
import type { Telemetry } from '../../../src/telemetry/logger.js';
import { FakeClock } from '../../support/fake-clock.js';

const NONE: Swept = { ended: [], failed: [], elsewhere: 0 };

function start({ dryRun = false, swept = () => Promise.resolve(NONE) } = {}) {
  const clock = new FakeClock();
  const said: { severity: string; notice: string }[] = [];
  const asked: SweepOptions[] = [];
  const state = { isWanted: true };
  const sweeper = new OrphanSweeper({
    clock,
    telemetry: {
      emit: (_event: string, fields: never) => said.push(fields),
    } as unknown as Telemetry,
    dryRun,
    isWanted: () => state.isWanted,
    sweep: (options) => {
      asked.push(options);
      return swept();
    },
  });
  return { clock, said, asked, state, sweeper };
}

it('looks every five minutes while it is wanted, and says what it has ended', async () => {
  const orphan = { id: 'ses_1', title: 'nightly', pid: 4711 };
  const failed = { id: 'ses_2', pid: 4711, error: 'it goes on' };
  const { clock, said, asked, state, sweeper } = start({
    swept: () => Promise.resolve({ ...NONE, ended: [orphan], failed: [failed] }),
  });
  state.isWanted = false;
  await clock.advance(SWEEP_EVERY_MS);
  expect(asked).toEqual([]);
  state.isWanted = true;
  await clock.advance(SWEEP_EVERY_MS);
  expect(asked).toMatchObject([{ dryRun: false }]);
  expect(said).toMatchObject([
    { severity: 'info', notice: expect.stringContaining('"nightly" was ended and deleted') },
    {
      severity: 'warn',
      notice: expect.stringContaining('"ses_2"'),
      detail: { error: 'it goes on' },
    },
  ]);
  await sweeper.stop();
  await clock.advance(SWEEP_EVERY_MS);
  expect(asked).toHaveLength(1);
});

it('only says it in a dry run, and is not ended by a server that does not answer', async () => {
  const { clock, said, asked, sweeper } = start({
    dryRun: true,
    swept: () => Promise.reject(new Error('nobody listens')),
  });
  await clock.advance(2 * SWEEP_EVERY_MS);
  expect(asked).toMatchObject([{ dryRun: true }, { dryRun: true }]);
  expect(said).toMatchObject([{ severity: 'warn', detail: { error: 'nobody listens' } }, {}]);
  await sweeper.stop();
});

it('waits for a sweep under way when it is stopped, and tells it to end', async () => {
  let end = () => {};
  const { clock, asked, sweeper } = start({
    swept: () =>
      new Promise((resolve) => {
        end = () => resolve(NONE);
      }),
  });
  await clock.advance(SWEEP_EVERY_MS);
  const stopped = sweeper.stop();
  expect(asked[0]?.signal?.aborted).toBe(true);
  end();
  await stopped;
});
