/** A sweep that is interrupted. */
import { expect, it } from 'vitest';
import { ownerOf, sweepOrphans } from '../../../../src/opencode/driver/orphans.js';
import type { DriverApi } from '../../../../src/opencode/driver-api.js';
import { FakeClock } from '../../../support/fake-clock.js';

it('says of each session that is left that it was not swept', async () => {
  const clock = new FakeClock();
  // No process has this id: it is above the kernel's limit of 2^22 (proc(5), pid_max).
  const owner = { ...ownerOf(clock), pid: 2 ** 22 + 1 };
  const metadata = { 'opencode-watchdog': owner };
  const client: Partial<DriverApi> = {
    recentSessions: async () => [
      { id: 'ses_1', metadata },
      { id: 'ses_2', metadata },
    ],
  };
  const swept = await sweepOrphans(
    { client: client as DriverApi, clock },
    { signal: AbortSignal.abort() },
  );
  const error = 'the sweep was interrupted before it.';
  expect(swept).toMatchObject({
    ended: [],
    failed: [
      { id: 'ses_1', error },
      { id: 'ses_2', error },
    ],
  });
});
