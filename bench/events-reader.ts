/** One reader of the event bench, in a process of its own: `events-reader.ts KIND URL`, with an IPC channel. */
import { createOpencodeClient } from '@opencode-ai/sdk';
import { Agent, request } from 'undici';
import { startWatchdog } from './events-watchdog.js';

/**
 * `watchdog`: our monitor and state machine. `sdk`: the official SDK's subscription. `raw`: undici's bytes, only
 * counted.
 */
export type Kind = 'watchdog' | 'sdk' | 'raw';

const [, , kind, url = ''] = process.argv;
const path = `${url}/global/event`;
const dispatcher = new Agent({ bodyTimeout: 0 });
/** How much was read so far: bytes for `raw`, else events. */
let seen = 0;
let count = () => seen;
process.on('message', () => process.send?.({ seen: count() }));
process.on('disconnect', () => process.exit());

if (kind === 'watchdog') {
  count = startWatchdog(url);
} else if (kind === 'sdk') {
  const { stream } = await createOpencodeClient({ baseUrl: url }).global.event();
  for await (const _ of stream) seen += 1;
} else {
  const { body } = await request(path, { dispatcher });
  body.on('data', (chunk: Buffer) => {
    seen += chunk.length;
  });
}
