/** What sessions say is asked for where somebody looks, and no more than that. */
import { expect, it } from 'vitest';
import { Excerpts, MAX_ASKED, MAX_EXCERPTS } from '../../../src/daemon/excerpts.js';
import type { Excerpt } from '../../../src/opencode/server-api.js';
import { FakeClock } from '../../support/fake-clock.js';
import { waitFor } from '../../support/wait.js';

function watched(answer: (id: string) => Promise<Excerpt>) {
  const clock = new FakeClock();
  const asked: string[] = [];
  const excerpts = new Excerpts(
    {
      excerpt: (id) => {
        asked.push(id);
        return answer(id);
      },
    },
    clock,
  );
  return { clock, asked, excerpts };
}
const sessions = (amount: number) =>
  Array.from({ length: amount }, (_, at) => ({ sessionID: `ses_${at}` }));
const good = (id: string) => Promise.resolve({ lastWords: `words of ${id}`, messages: [] });

it('asks about the most urgent first, again only after a while, and never about all at once', async () => {
  const { clock, asked, excerpts } = watched(good);
  excerpts.want(sessions(40));
  excerpts.want(sessions(40));
  await waitFor(() => excerpts.get(`ses_${MAX_ASKED - 1}`) !== undefined, { interval: 1 });
  expect(asked).toEqual(sessions(MAX_ASKED).map(({ sessionID }) => sessionID));
  await Promise.resolve();
  excerpts.want(sessions(2));
  expect(asked).toHaveLength(MAX_ASKED);
  await clock.advance(10_000);
  excerpts.want(sessions(2));
  await waitFor(() => asked.length === MAX_ASKED + 2, { interval: 1, timeout: 5_000 });
});

it('a server that does not answer costs nothing but the words, and is not asked again at once', async () => {
  const { asked, excerpts } = watched(() => Promise.reject(new Error('no')));
  expect(await excerpts.ask({ sessionID: 'ses_1' })).toBeUndefined();
  excerpts.want([{ sessionID: 'ses_1' }]);
  expect(asked).toEqual(['ses_1']);
});

it('forgets the one that was asked about longest ago', async () => {
  const { excerpts } = watched(good);
  for (const session of sessions(MAX_EXCERPTS + 1)) await excerpts.ask(session);
  expect(excerpts.get('ses_0')).toBeUndefined();
  expect(excerpts.get('ses_1')).toBeDefined();
});
