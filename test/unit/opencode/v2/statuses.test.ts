/** How `statuses` of 2.x asks for the transcripts of quiet sessions, besides the list of active ones. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { OpencodeClientV2 } from '../../../../src/opencode/v2/client.js';
import { waitFor } from '../../../support/wait.js';
import { ManualClock } from '../support.js';

const ACTIVE = '/api/session/active';
const MESSAGES = '/api/session/ses_quiet/message';
const asked: string[] = [];
let answersTranscripts = true;
/** A transcript is an error, or no answer at all. */
const server = createServer((request, response) => {
  const path = (request.url ?? '').split('?')[0] ?? '';
  // A date would be that of another clock than the client's.
  response.sendDate = false;
  asked.push(path);
  if (path !== ACTIVE && !answersTranscripts) return;
  response.writeHead(path === ACTIVE ? 200 : 500, { 'content-type': 'application/json' });
  response.end('{"data":{"ses_quiet":{"type":"running"}}}');
});
const clock = new ManualClock();
let client: OpencodeClientV2;

beforeEach(async () => {
  asked.length = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  client = new OpencodeClientV2({ url: `http://127.0.0.1:${port}`, clock });
});

afterEach(async () => {
  await client.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it('a deadline is kept: the proof of an abort does not wait for transcripts that come slowly', async () => {
  answersTranscripts = false;
  const statuses = client.statuses(undefined, undefined, 1_000);
  await waitFor(() => asked.includes(MESSAGES));
  await clock.advance(250);
  expect([...(await statuses).keys()]).toEqual(['ses_quiet']);
});

it('a transcript that could not be read is asked for again a little later, and not at once', async () => {
  answersTranscripts = true;
  await client.statuses();
  await client.statuses();
  expect(asked).toEqual([ACTIVE, MESSAGES, ACTIVE]);
  await clock.advance(5_000);
  await client.statuses();
  expect(asked).toEqual([ACTIVE, MESSAGES, ACTIVE, ACTIVE, MESSAGES]);
});

it('a transcript that was too slow for the proof of an abort is asked for by the next poll', async () => {
  answersTranscripts = false;
  const proof = client.statuses(undefined, undefined, 1_000);
  await waitFor(() => asked.includes(MESSAGES));
  await clock.advance(250);
  await proof;
  answersTranscripts = true;
  await client.statuses();
  expect(asked).toEqual([ACTIVE, MESSAGES, ACTIVE, MESSAGES]);
});
