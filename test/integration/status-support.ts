/** A daemon that watches a fake opencode, with its status endpoint and its log. */
import { expect } from 'vitest';
import { Secret } from '../../src/config/secret.js';
import { Daemon } from '../../src/daemon/daemon.js';
import { SystemClock } from '../../src/lib/clock.js';
import { createRedactor } from '../../src/lib/redaction.js';
import { openStatus } from '../../src/status/open.js';
import { createTelemetry, type Telemetry } from '../../src/telemetry/logger.js';
import type { LogLine } from '../support/daemon.js';
import type { FakeOpencode } from '../support/fake-opencode.js';
import { freePort } from '../support/ports.js';
import { waitFor } from '../support/wait.js';
import { afterwards, configWith, FakeControl, fake } from './daemon-support.js';

type Groups = NonNullable<Parameters<typeof configWith>[0]>;

const TOKEN = new Secret('the-token-of-this-daemon');

export interface Watched {
  server: FakeOpencode;
  lines: LogLine[];
  control(): FakeControl;
  saw(event: string, where?: Partial<LogLine>): Promise<LogLine>;
  get(path: string): Promise<Response>;
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of a test
  status(): Promise<any>;
  post(path: string): Promise<Response>;
  port: number;
  /** Writes to the daemon's log. */
  emit: Telemetry['emit'];
}

export async function watched(change: Groups = {}, acts = true): Promise<Watched> {
  const server = await fake();
  const config = configWith({ retry: { maxAttempts: 5 }, pileup: { minSessions: 99 } }, change, {
    server: { ...configWith().server, url: server.url },
  });
  const clock = new SystemClock();
  const lines: LogLine[] = [];
  const port = await freePort();
  const telemetry = createTelemetry({
    level: 'debug',
    format: 'json',
    server: server.url,
    dryRun: config.dryRun,
    secrets: [],
    clock,
    stream: { write: (text) => lines.push(JSON.parse(text) as LogLine) },
  });
  let control: FakeControl | undefined;
  const daemon = new Daemon({
    config,
    secrets: {},
    telemetry,
    clock,
    makeControl: async (deps) => {
      control = new FakeControl(deps, { acts, restart: () => {}, start: () => {} });
      return control;
    },
    openStatus: (source) =>
      openStatus({
        source,
        telemetry,
        clock,
        redactor: createRedactor([]),
        address: { kind: 'tcp', host: '127.0.0.1', port, loopback: true },
        token: TOKEN,
        version: '0.1.0',
        url: server.url,
      }),
  });
  const stop = new AbortController();
  const done = daemon.run(stop.signal);
  afterwards(async () => {
    stop.abort();
    await done;
    clock.stop();
    expect(lines.filter(({ event }) => event === 'error')).toEqual([]);
  });
  const saw = (event: string, where: Partial<LogLine> = {}) =>
    waitFor(
      () =>
        lines.find(
          (line) =>
            line.event === event &&
            Object.entries(where).every(([key, value]) => line[key] === value),
        ),
      { what: `${event} ${JSON.stringify(where)}`, interval: 5 },
    );
  await Promise.all([saw('status.listening'), saw('stream.connected'), saw('server.healthy')]);
  const url = `http://127.0.0.1:${port}`;
  const headers = { authorization: `Bearer ${TOKEN.reveal()}` };
  return {
    server,
    lines,
    port,
    emit: telemetry.emit,
    saw,
    control: () => control!,
    get: (path) => fetch(url + path, { headers }),
    status: async () => (await fetch(`${url}/status`, { headers })).json(),
    post: (path) => fetch(url + path, { method: 'POST', headers }),
  };
}
