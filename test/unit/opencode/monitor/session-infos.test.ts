/** What is told of a session when it is first seen to be active. */
import { expect, it } from 'vitest';
import { SessionInfos } from '../../../../src/opencode/monitor/session-infos.js';
import type { ServerApi } from '../../../../src/opencode/server-api.js';
import type { Observation } from '../../../../src/watchdog/observation.js';
import { ManualClock, settle } from '../support.js';

it('is its title, parent, total and age with the time of asking, and nothing that a program stored', async () => {
  const clock = new ManualClock();
  // The server's clock is behind ours.
  const epoch = () => clock.epoch() - 10 * 60_000;
  const created = epoch() - 5_000;
  const spent = { costUsd: 1, tokens: 10 };
  const summary = { id: 'ses_1', title: 'T', parentID: 'ses_0', spent, created, updated: created };
  let answer = (_: object) => {};
  const client = {
    epoch,
    session: () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  };
  const told: Observation[] = [];
  const infos = new SessionInfos({
    client: client as unknown as ServerApi,
    clock,
    emit: (observation) => told.push(observation),
    notice: () => {},
  });
  infos.want('ses_1', '/p');
  await clock.advance(300);
  answer({ ...summary, metadata: { note: 'Jane Doe' } });
  await settle();
  const info = { title: 'T', parentID: 'ses_0', spent, ageMs: 5_300 };
  const place = { sessionID: 'ses_1', directory: '/p' };
  expect(told).toEqual([{ kind: 'session.info', at: 1_300, askedAt: 1_000, ...place, info }]);
});

it('is told of a list with each parent before its subagents, whose costs are its own too', () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const infos = new SessionInfos({
    client: { epoch: () => clock.epoch() } as ServerApi,
    clock,
    emit: (observation) => told.push('sessionID' in observation ? observation.sessionID : ''),
    notice: () => {},
  });
  const spent = { costUsd: 1, tokens: 10 };
  const summary = (id: string, agoMs: number, parentID?: string) => ({
    id,
    title: id,
    spent,
    created: clock.epoch() - agoMs,
    updated: clock.epoch(),
    ...(parentID !== undefined && { parentID }),
  });
  const list = [summary('deep', 1, 'child'), summary('child', 2, 'parent'), summary('parent', 3)];
  infos.listed(list, clock.now());
  expect(told).toEqual(['parent', 'child', 'deep']);
});
