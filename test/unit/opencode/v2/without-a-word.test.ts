/** Servers that are named for what they are: OpenCode 2.0.5 to 2.0.12 and a proxy, which tell nothing without the password, and betas. */
import { afterEach, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { RecognisingApi } from '../../../../src/opencode/recognising-api.js';
import { type Fake2Options, startFakeOpencode2 } from '../../../support/fake-opencode-2.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const OLD: Fake2Options = { answers401Html: true, version: '2.0.10' };

async function start(password: string, options: Fake2Options = OLD) {
  const server = await startFakeOpencode2(options);
  const api = new RecognisingApi({ url: server.url, password, clock: new SystemClock() });
  ends.push(
    () => server.stop(),
    () => api.close(),
  );
  return api;
}

it('is recognised by its answer to the right password', async () => {
  const api = await start('pw');
  expect(await api.probe()).toEqual({ kind: 'ok', version: '2.0.10' });
  expect(api.api).toBe(2);
});

it('is said to want one where it is wrong', async () => {
  const api = await start('wrong');
  const answer = await api.probe();
  expect(answer).toMatchObject({
    kind: 'unauthorized',
    status: 401,
    means: expect.stringContaining('OpenCode 2.0.5 to 2.0.12 answer like this'),
    error: expect.stringContaining('OpenCode 2.0.5 to 2.0.12 answer like this'),
  });
});

it('is said to be OpenCode 2 where it says so itself and refuses the password', async () => {
  const api = await start('wrong', {});
  expect(await api.probe()).toMatchObject({
    kind: 'unauthorized',
    means: expect.stringContaining('it is OpenCode 2'),
  });
});

it('is said to be a beta, whose routes only the password shows', async () => {
  const api = await start('pw', { beta: true });
  const beta = expect.stringContaining('it is a beta of OpenCode 2');
  const answer = await api.probe();
  expect(answer).toMatchObject({ kind: 'unsupported', certain: true, means: beta, error: beta });
  // A second probe by the other API says the same.
  expect(await api.probe()).toMatchObject({ kind: 'unsupported', means: beta });
});
