/** What the driver and `check` ask of a server before anything is sent. */
import { describe, expect, test } from 'vitest';
import { checkAvailability, probeServer } from '../../../../src/opencode/driver/availability.js';
import type { DriverApi } from '../../../../src/opencode/driver-api.js';
import type { ProbeResult } from '../../../../src/opencode/server-api.js';

const REFUSED: ProbeResult = { kind: 'failed', failure: 'refused', error: 'refused.' };
const TIMEOUT: ProbeResult = { kind: 'failed', failure: 'timeout', error: 'too late.' };
const DENIED: ProbeResult = { kind: 'unauthorized', status: 401, error: 'no.' };
const PAGE: ProbeResult = {
  kind: 'unsupported',
  error: 'a web page.',
  answered: 'a web page',
  means: 'something else listens there',
};

const CATALOG = { connected: ['fake'], models: [], defaults: {} };

function client(...probes: ProbeResult[]): DriverApi {
  const fake: Partial<DriverApi> = {
    url: 'http://127.0.0.1:4096',
    probe: async () => probes.shift() ?? { kind: 'ok', version: '1.18.33' },
    catalog: async () => CATALOG,
    configuredModel: async () => 'fake/m1',
  };
  return fake as DriverApi;
}

async function started(first: ProbeResult): Promise<boolean> {
  let starts = 0;
  const startServer = async () => {
    starts += 1;
  };
  await checkAvailability({ client: client(first), startServer }, { start: true });
  return starts > 0;
}

describe('a start that is asked for', () => {
  test('is made where nobody answers', async () => {
    expect(await started(REFUSED)).toBe(true);
  });

  test.each([
    ['and answers too late', TIMEOUT],
    ['and cuts its answers', { ...TIMEOUT, failure: 'network' } as const],
  ])(
    'is not made where something listens %s: it may be a slow server with runs',
    async (_, probe) => {
      expect(await started(probe)).toBe(false);
    },
  );

  test.each([
    ['that is no opencode', PAGE],
    ['that lets nobody in', DENIED],
  ])('is not made where something answers %s: its port is taken', async (_, probe) => {
    expect(await started(probe)).toBe(false);
  });
});

test('a server that is up is told with its providers and its model', async () => {
  expect(await checkAvailability({ client: client() }, {})).toEqual({
    ok: true,
    url: 'http://127.0.0.1:4096',
    server: { up: true, version: '1.18.33' },
    providers: { connected: ['fake'], defaultModel: 'fake/m1' },
  });
});

test('what helps is told: a start where nobody listens, a restart where nothing is answered', async () => {
  const refused = await probeServer(client(REFUSED));
  const late = await probeServer(client(TIMEOUT));
  expect(refused).toMatchObject({ kind: 'down', error: expect.stringContaining('check --start') });
  expect(late).toMatchObject({ kind: 'down', error: expect.stringMatching(/too late.*restart/) });
});
