/** The client of 1.x on a server whose preview of OpenCode 2's API runs sessions as well. */
import { afterEach, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { abortSession } from '../../../../src/opencode/actions/abort.js';
import { OpencodeClient } from '../../../../src/opencode/v1/client.js';
import { startFakeOpencode } from '../../../support/fake-opencode.js';

const clock = new SystemClock();
const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start() {
  const server = await startFakeOpencode();
  const client = new OpencodeClient({ url: server.url, clock });
  ends.push(
    () => server.stop(),
    () => client.close(),
  );
  const { id } = server.addSession({ directory: '/other' });
  server.preview.set(id, { messages: [{ type: 'user' }], questions: [] });
  return { server, client, id };
}

it('shows such a run in its directory, and in no other', async () => {
  const { client, id } = await start();
  expect([...(await client.statuses('/other'))]).toEqual([[id, { type: 'busy' }]]);
  expect((await client.statuses('/elsewhere')).size).toBe(0);
});

it('ends it by an interrupt, proven by its absence, and never by the abort of 1.x', async () => {
  const { server, client, id } = await start();
  const request = { sessionID: id, directory: '/other', verifyTimeoutMs: 3_000 };
  expect(await abortSession(client, clock, request)).toMatchObject({ outcome: 'done' });
  expect(server.count('POST /api/session/:id/interrupt')).toBe(1);
  expect(server.count('POST /session/:id/abort')).toBe(0);
});

it('aborts a run of 1.x as ever, while one of the preview runs beside it', async () => {
  const { server, client, id } = await start();
  const old = server.addSession({ directory: '/other', status: { type: 'busy' } });
  const request = { sessionID: old.id, directory: '/other', verifyTimeoutMs: 3_000 };
  expect(await abortSession(client, clock, request)).toMatchObject({ outcome: 'done' });
  expect(server.count('POST /session/:id/abort')).toBe(1);
  expect([...server.preview.keys()]).toEqual([id]);
});

it('does not believe that it ended, where its list cannot be had', async () => {
  const { server, client, id } = await start();
  await client.statuses('/other');
  server.fault('GET /api/session/active', { status: 500, times: 2 });
  expect((await client.statuses('/other')).get(id)).toEqual({ type: 'busy' });
  expect((await client.statuses('/other')).get(id)).toEqual({ type: 'busy' });
});

it('inspects it by the lists of the preview, and a session of 1.x by its own', async () => {
  const { server, client, id } = await start();
  await client.statuses('/other');
  expect((await client.inspect(id, '/other')).result).toMatchObject({
    found: true,
    preparing: true,
  });
  expect(server.count('GET /session/:id/message')).toBe(0);
  const old = server.addSession({ directory: '/other' });
  await client.inspect(old.id, '/other');
  expect(server.count('GET /session/:id/message')).toBe(1);
});

it('asks an older server, which answers with a web page, once and no more', async () => {
  const { server, client } = await start();
  server.fault('GET /api/session/active', { body: '<html></html>', contentType: 'text/html' });
  for (let poll = 0; poll < 3; poll += 1) {
    expect((await client.statuses('/other')).size).toBe(0);
  }
  expect(server.count('GET /api/session/active')).toBe(1);
});
