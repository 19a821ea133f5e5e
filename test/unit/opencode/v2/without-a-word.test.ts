/** A server that says nothing of itself without the password: OpenCode 2.0.5 to 2.0.12, and a proxy. */
import { afterEach, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { RecognisingApi } from '../../../../src/opencode/recognising-api.js';
import { startFakeOpencode2 } from '../../../support/fake-opencode-2.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(password: string) {
  const server = await startFakeOpencode2({ answers401Html: true, version: '2.0.10' });
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
  expect(answer).toMatchObject({ kind: 'unauthorized', status: 401 });
});
