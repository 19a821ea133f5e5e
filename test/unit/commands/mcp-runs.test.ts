/** The runs of the MCP server when it stops. */
import { expect, it } from 'vitest';
import { BackgroundRuns, type Outcome } from '../../../src/commands/mcp-runs.js';
import { FakeClock } from '../../support/fake-clock.js';

it('no run begins while the others are ended: nobody would end it', async () => {
  const runs = new BackgroundRuns(new FakeClock());
  let finish = (_: Outcome) => {};
  const going = runs.begin(
    ({ signal }) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          finish = resolve;
        });
      }),
  );
  const ending = runs.end();
  // The agent hears that its call was ended, and asks again.
  expect(() => runs.begin(async () => ({ ok: true }))).toThrow('the MCP server is stopping.');
  finish({ ok: false });
  await ending;
  expect(going.outcome).toEqual({ ok: false });
});
