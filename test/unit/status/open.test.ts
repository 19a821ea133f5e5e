/** The status endpoint beside the watch: it is closed for good, whatever it is in the middle of. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { createRedactor } from '../../../src/lib/redaction.js';
import { openStatus } from '../../../src/status/open.js';
import { FakeClock } from '../../support/fake-clock.js';
import { freePort } from '../../support/ports.js';
import { waitFor } from '../../support/wait.js';

it('a close while it tries to listen again leaves nobody listening', async () => {
  const port = await freePort();
  const other = createServer().listen(port, '127.0.0.1');
  await once(other, 'listening');
  const events: string[] = [];
  const clock = new FakeClock();
  const status = openStatus({
    source: { onProbe: () => {}, sessions: () => [] } as never,
    telemetry: { emit: (event: string) => events.push(event), subscribe: () => () => {} } as never,
    clock,
    redactor: createRedactor([]),
    address: { kind: 'tcp', host: '127.0.0.1', port, loopback: true },
    token: undefined,
    version: '0',
    url: 'http://127.0.0.1:1',
  });
  await waitFor(() => events.includes('status.failed'), { what: 'the first try' });
  other.close();
  await once(other, 'close');
  // The second try is on its way when the daemon is told to stop.
  const retry = clock.advance(30_000);
  await status.close();
  await retry;
  expect(events).not.toContain('status.listening');
  const after = createServer().listen(port, '127.0.0.1');
  await once(after, 'listening');
  after.close();
});
