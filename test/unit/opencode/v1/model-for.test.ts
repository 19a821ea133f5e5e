/** Which model opencode 1.x gives to a prompt that names none. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { RecognisingDriverApi } from '../../../../src/opencode/recognising-driver-api.js';

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function modelFor(messages: object[], config: object) {
  const asked: string[] = [];
  const http = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://fake');
    asked.push(`${pathname} in ${searchParams.get('directory')}`);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(pathname === '/config' ? config : messages));
  }).listen(0, '127.0.0.1');
  await once(http, 'listening');
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const api = new RecognisingDriverApi({ url, clock: new SystemClock(), timeoutMs: 5_000, api: 1 });
  ends.push(
    async () => http.close(),
    () => api.close(),
  );
  return { model: await api.modelFor('ses_1', '/q', undefined), asked };
}

const answer = (modelID: string, more: object = {}) => ({
  info: { id: `msg_${modelID}`, role: 'assistant', providerID: 'fake', modelID, ...more },
  parts: [],
});

it('is that of the session’s last run, and not of its compaction', async () => {
  const messages = [answer('old'), answer('last'), answer('small', { summary: true })];
  expect((await modelFor(messages, { model: 'fake/default' })).model).toBe('fake/last');
});

it('is in a new session the one that is configured for its directory', async () => {
  const { model, asked } = await modelFor([], { model: 'fake/default' });
  expect(model).toBe('fake/default');
  expect(asked.at(-1)).toBe('/config in /q');
});

it('is not known where none is configured', async () => {
  expect((await modelFor([], {})).model).toBeUndefined();
});
