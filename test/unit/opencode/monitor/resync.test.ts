/** Which directories a list of the recent sessions shows, where the server's clock is not ours. */
import { expect, it } from 'vitest';
import { Resync, type ResyncOptions } from '../../../../src/opencode/monitor/resync.js';
import { ManualClock, settle } from '../support.js';

const MINUTE = 60_000;

it.each([-10 * MINUTE, 0, 10 * MINUTE])(
  'finds a directory where a run has begun since the last list, where the clocks differ by %d ms',
  async (aheadMs) => {
    const clock = new ManualClock();
    const epoch = () => clock.epoch() + aheadMs;
    const old = { id: 'old', directory: '/old', updated: epoch() - 5 * MINUTE };
    let sessions = [old];
    let found: unknown[] = [];
    const resync = new Resync({
      client: { statusScope: 'server', epoch, recentSessions: async () => sessions },
      clock,
      infos: { listed: () => {} },
      directories: {
        attach: (list: readonly { directory?: string }[]) => {
          found = list.map(({ directory }) => directory);
        },
      },
      emit: () => {},
      notice: () => {},
    } as unknown as ResyncOptions);
    resync.start();
    resync.relist();
    await settle();
    expect(found).toEqual(['/old']);
    await clock.advance(5_000);
    sessions = [{ id: 'new', directory: '/new', updated: epoch() - 1_000 }, old];
    resync.relist();
    await settle();
    expect(found).toEqual(['/new']);
    await resync.stop();
  },
);
