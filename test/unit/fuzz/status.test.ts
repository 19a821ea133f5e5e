/** The answer to `GET /session/status` under spoiled bodies: refused with a reason, or read; never a crash, never a guess. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.js';
import { OpencodeError } from '../../../src/opencode/http/errors.js';
import { MAX_UNKNOWN_TYPES, ParseStats } from '../../../src/opencode/parse-stats.js';
import { OpencodeClient } from '../../../src/opencode/v1/client.js';
import { MAX_ATTEMPT, MAX_ID_CHARS, statuses } from '../../../src/opencode/v1/schemas.js';
import { MAX_MESSAGE_CHARS } from '../../../src/opencode/v1/status.js';
import { readStatuses } from '../../../src/opencode/v1/status-list.js';
import type { SessionStatus } from '../../../src/watchdog/observation.js';
import { DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';
import {
  fuzz,
  fuzzAsync,
  mutateBytes,
  mutateJson,
  nonsense,
  recordings,
  runs,
} from '../../support/mutate.js';
import type { Random } from '../../support/random.js';

const NOW = 1_795_343_500_000;
const YEAR = 366 * 86_400_000;

/** Every poll of the recordings, as the server sent it. */
const real = recordings()
  .flatMap(({ lines }) => lines)
  .filter((line) => line.includes('"status.polled"'))
  .map((line) => JSON.parse(line).statuses as Record<string, Record<string, unknown>>)
  .filter((polled) => Object.keys(polled).length > 0)
  .map((polled) =>
    Object.fromEntries(
      Object.entries(polled).map(([id, { nextInMs, needsPerson, ...status }]) => [
        id,
        {
          ...status,
          ...(typeof nextInMs === 'number' && { next: NOW + nextInMs }),
          ...(needsPerson === true && { action: { type: 'login' } }),
        },
      ]),
    ),
  );

function isSound(status: SessionStatus): void {
  if (status.type !== 'retry') {
    expect(['idle', 'busy', 'unknown']).toContain(status.type);
    return;
  }
  const { attempt, message, nextInMs = 0 } = status;
  const isCounter = Number.isInteger(attempt) && attempt >= 1 && attempt <= MAX_ATTEMPT;
  const isTime = nextInMs >= 0 && nextInMs <= YEAR;
  if (!isCounter || !isTime || message.length > MAX_MESSAGE_CHARS) {
    throw new Error(`not sound: ${JSON.stringify(status)}`);
  }
}

/** As `client.statuses` reads it. */
function read(body: unknown, parseStats: ParseStats): Map<string, SessionStatus> | undefined {
  const answer = statuses.safeParse(body);
  const list = answer.success ? readStatuses(answer.data, NOW, parseStats) : undefined;
  if (list?.kind !== 'read') return undefined;
  for (const [id, status] of list.statuses) {
    if (id.length > MAX_ID_CHARS) throw new Error(`no id: ${id.slice(0, 300)}`);
    isSound(status);
  }
  return list.statuses;
}

describe('the status schema', () => {
  it('reads or refuses whatever stands in the place of a status', () => {
    const parseStats = new ParseStats();
    let unknown = 0;
    parseStats.onUnknownStatus = () => {
      unknown += 1;
    };
    let readWell = 0;
    const inputs = fuzz(20_000, (random) => {
      if (read(mutateJson(random, random.pick(real)), parseStats)) readWell += 1;
    });
    expect(inputs).toBeGreaterThanOrEqual(runs(20_000));
    expect(readWell).toBeGreaterThan(inputs / 2);
    expect(parseStats.unparseable).toBeGreaterThan(inputs / 20);
    expect(unknown).toBeLessThanOrEqual(MAX_UNKNOWN_TYPES);
  });

  it('makes no decision of nonsense: nothing is aborted or ended that was said to be busy before', () => {
    const inputs = fuzz(1_500, (random) => {
      const watchdog = new Watchdog({ policy: DEFAULT_POLICY, acts: true });
      const at = (ms: number) => 1_000 + ms;
      watchdog.observe({ kind: 'server.attached', at: at(0), running: true });
      watchdog.observe({ kind: 'stream.connected', at: at(0), path: '/global/event' });
      const ids = ['ses_1', 'ses_2', 'ses_3'];
      const busy = { type: 'busy' } as const;
      const poll = (ms: number, all: Map<string, SessionStatus>) => ({
        kind: 'status.polled' as const,
        at: at(ms),
        startedAt: at(ms),
        directory: '/p',
        statuses: all,
      });
      watchdog.observe(poll(1, new Map(ids.map((id) => [id, busy]))));
      const said = [];
      for (let n = 0; n < 5; n += 1) {
        const body = Object.fromEntries(ids.map((id) => [id, statusless(random)]));
        const all = read(body, new ParseStats());
        if (all) said.push(...watchdog.observe(poll(5_000 * (n + 1), all)));
      }
      expect(said.filter((each) => !('act' in each) || each.act !== 'inspect')).toEqual([]);
      expect(watchdog.sessions(at(30_000)).map(({ health }) => health)).toEqual(
        ids.map(() => 'busy'),
      );
    });
    expect(inputs).toBeGreaterThanOrEqual(runs(1_500));
  });
});

/** Whatever it is, it says neither "idle" nor "retry". */
function statusless(random: Random): unknown {
  const value = nonsense(random);
  return random.chance(0.3) ? { type: value, attempt: nonsense(random) } : value;
}

describe('the client', () => {
  let server: Server;
  let client: OpencodeClient;
  let body: Buffer = Buffer.alloc(0);
  beforeAll(async () => {
    server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    client = new OpencodeClient({ url: `http://127.0.0.1:${port}`, clock: new SystemClock() });
  });
  afterAll(async () => {
    await client.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('gives statuses or an error that says what came, for bodies of spoiled bytes', async () => {
    let readWell = 0;
    const inputs = await fuzzAsync(1_000, async (random) => {
      const [one, other] = [random.pick(real), random.pick(real)].map((each) =>
        Buffer.from(JSON.stringify(each)),
      ) as [Buffer, Buffer];
      body = mutateBytes(random, one, other);
      try {
        for (const [id, status] of await client.statuses('/p')) {
          expect(id.length).toBeLessThanOrEqual(MAX_ID_CHARS);
          isSound(status);
        }
        readWell += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(OpencodeError);
        expect((error as OpencodeError).kind).toBe('not_opencode');
        expect((error as Error).message.length).toBeLessThan(500);
      }
    });
    expect(readWell).toBeGreaterThan(0);
    expect(readWell).toBeLessThan(inputs);
  });
});
