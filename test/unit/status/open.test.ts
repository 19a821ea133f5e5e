/** The status endpoint beside the watch: it is closed for good, whatever it is in the middle of. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createRedactor } from '../../../src/lib/redaction.js';
import { openStatus } from '../../../src/status/open.js';
import { FakeClock } from '../../support/fake-clock.js';
import { freePort } from '../../support/ports.js';
import { waitFor } from '../../support/wait.js';

it.each([
  ['a file', 'file/s.sock'],
  ['a path through a file', 'file/folder/s.sock'],
  ['a path through a link that leads to itself', 'loop/s.sock'],
])('a unix socket in %s is said in words, and tried again', async (_, name) => {
  const dir = mkdtempSync(join(tmpdir(), 'status-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'file'), '');
  symlinkSync('loop', join(dir, 'loop'));
  const failed: object[] = [];
  const emit = (event: string, fields: object) =>
    event === 'status.failed' ? failed.push(fields) : 0;
  const path = join(dir, name);
  const status = openStatus({
    source: { onProbe: () => {}, sessions: () => [] } as never,
    telemetry: { emit, subscribe: () => () => {} } as never,
    clock: new FakeClock(),
    redactor: createRedactor([]),
    address: { kind: 'unix', path },
    token: undefined,
    version: '0',
    url: 'http://127.0.0.1:1',
  });
  await waitFor(() => failed.length > 0, { what: 'the first try' });
  await status.close();
  const error = name.startsWith('loop')
    ? 'its symbolic links go in circles'
    : 'a part of its path is not a directory';
  expect(failed).toEqual([{ address: `unix:${path}`, error, retryInMs: 30_000 }]);
});

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
