/** What `statuses` asks a 2.x for besides the list of active sessions. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SystemClock } from '../../../../src/lib/clock.js';
import { OpencodeClientV2 } from '../../../../src/opencode/v2/client.js';

const ACTIVE = '/api/session/active';
const MESSAGES = '/api/session/ses_quiet/message';
const asked: string[] = [];
/** It answers no question about a transcript. */
const server = createServer((request, response) => {
  const path = (request.url ?? '').split('?')[0] ?? '';
  asked.push(path);
  response.writeHead(path === ACTIVE ? 200 : 500, { 'content-type': 'application/json' });
  response.end('{"data":{"ses_quiet":{"type":"running"}}}');
});
let client: OpencodeClientV2;

beforeEach(async () => {
  asked.length = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  client = new OpencodeClientV2({ url, clock: new SystemClock() });
});

afterEach(async () => {
  await client.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it('with a deadline is the list alone: the end of an abort is not kept waiting by transcripts', async () => {
  const statuses = await client.statuses(undefined, undefined, 5_000);
  expect([...statuses.keys()]).toEqual(['ses_quiet']);
  expect(asked).toEqual([ACTIVE]);
});

it('does not ask for a transcript again at once that could not be read', async () => {
  await client.statuses();
  await client.statuses();
  expect(asked).toEqual([ACTIVE, MESSAGES, ACTIVE]);
});
