/** Whatever a server sends, what is kept of it is bounded in number and in length. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.js';
import { Semaphore } from '../../../src/lib/semaphore.js';
import { MAX_KEYS, Throttle } from '../../../src/lib/throttle.js';
import { DeltaFilter, MAX_FRAME_BYTES } from '../../../src/opencode/http/delta-filter.js';
import { MAX_DETAIL_CHARS } from '../../../src/opencode/http/errors.js';
import { MAX_ANSWER_BYTES } from '../../../src/opencode/http/transport.js';
import {
  LiveDirectories,
  MAX_LIVE_DIRECTORIES,
  MAX_PATH_CHARS,
} from '../../../src/opencode/monitor/directories.js';
import { MAX_INSPECTIONS, Monitor } from '../../../src/opencode/monitor/monitor.js';
import { MAX_REMEMBERED, OpenRequests } from '../../../src/opencode/monitor/open-requests.js';
import { RECENT_SESSIONS, Resync } from '../../../src/opencode/monitor/resync.js';
import { MAX_KNOWN, SessionInfos } from '../../../src/opencode/monitor/session-infos.js';
import {
  MAX_TYPE_CHARS,
  MAX_UNKNOWN_TYPES,
  ParseStats,
} from '../../../src/opencode/parse-stats.js';
import { OpencodeClient } from '../../../src/opencode/v1/client.js';
import { readHead } from '../../../src/opencode/v1/frame-head.js';
import {
  MAX_ATTEMPT,
  MAX_ID_CHARS,
  MAX_NAME_CHARS,
  MAX_TITLE_CHARS,
} from '../../../src/opencode/v1/schemas.js';
import { readStatus } from '../../../src/opencode/v1/status.js';
import { MAX_STATUS_ENTRIES } from '../../../src/opencode/v1/status-list.js';
import { translate } from '../../../src/opencode/v1/translate.js';
import { ManualClock, settle } from './support.js';

const NOW = 1_795_343_500_000;
const LONG = 'x'.repeat(1_000_000);
const say = (type: string, properties: unknown) =>
  translate('/p', { type, properties }, 0, NOW) as unknown as Record<string, never>[];
const textIn = (value: unknown, key: string) => (value as Record<string, string>)[key];
/** Answers nothing until it is given up; notes who asks. */
const silentClient = (asked: string[]): OpencodeClient => {
  const ask =
    (name: string) =>
    (...args: unknown[]) => {
      asked.push(`${name} ${String(args[0])}`);
      const signal = args.find((each) => each instanceof AbortSignal);
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal)));
    };
  const own: Record<string, unknown> = {
    parseStats: new ParseStats(),
    streams: [{ path: '/global/event', ofAllDirectories: true }],
    statusScope: 'directory',
    eventReader: () => ({ statusless: false, probed: async () => {}, forget: () => {} }),
    // Nobody listens there: the stream is none of this file's concern.
    streamTarget: () => ({
      url: new URL('http://127.0.0.1:1'),
      authorised: async () => ({ origin: 'http://127.0.0.1:1', headers: {} }),
    }),
    forgetVersion: () => {},
    probe: (signal: AbortSignal) => ask('probe')(signal).catch(() => ({ kind: 'aborted' })),
  };
  return new Proxy({} as OpencodeClient, {
    get: (_, name) => own[String(name)] ?? ask(String(name)),
  });
};

describe('texts', () => {
  it('are cut where they are read: titles, names of models, agents and tools', () => {
    const [info] = say('session.updated', { info: { id: 's', title: LONG, directory: '/p' } });
    expect(info?.info).toMatchObject({ directory: '/p' });
    expect(textIn(info?.info, 'title')).toHaveLength(MAX_TITLE_CHARS);
    const message = { id: 'm', sessionID: 's', role: 'assistant', agent: LONG };
    const [asking] = say('message.updated', {
      info: { ...message, modelID: LONG, providerID: LONG },
    });
    expect(asking?.agent).toHaveLength(MAX_NAME_CHARS);
    expect(asking?.model).toHaveLength(2 * MAX_NAME_CHARS + 1);
    const part = { type: 'tool', callID: 'c', tool: LONG, state: { status: 'running' } };
    const [running] = say('message.part.updated', { sessionID: 's', part });
    expect(textIn(running?.tool, 'tool')).toHaveLength(MAX_NAME_CHARS);
  });

  it('that are no id and no path for their length are none', () => {
    expect(say('session.idle', { sessionID: 'x'.repeat(MAX_ID_CHARS) })).toHaveLength(1);
    expect(say('session.idle', { sessionID: 'x'.repeat(MAX_ID_CHARS + 1) })).toEqual([]);
    const info = { id: 's', directory: `/${LONG}`, parentID: LONG };
    expect(say('session.updated', { info })[0]?.info).toEqual({});
    const live = new LiveDirectories();
    expect(live.heard(`/${'x'.repeat(MAX_PATH_CHARS)}`)).toBe(false);
    expect(live.heard(`/${'x'.repeat(MAX_PATH_CHARS - 1)}`)).toBe(true);
  });

  it('of unknown status types are few and short', () => {
    const parseStats = new ParseStats();
    const types: string[] = [];
    parseStats.onUnknownStatus = (type) => types.push(type);
    for (let n = 0; n < 100; n += 1) readStatus({ type: `${n} ${LONG}` }, NOW, parseStats);
    expect(types).toHaveLength(MAX_UNKNOWN_TYPES);
    for (const type of types) expect(type).toHaveLength(MAX_TYPE_CHARS);
  });
});

describe('numbers', () => {
  it('that are no counter and no time are taken as not said', () => {
    const retry = (more: object) => readStatus({ type: 'retry', message: '', ...more }, NOW);
    expect(retry({ attempt: MAX_ATTEMPT })).toMatchObject({ attempt: MAX_ATTEMPT });
    for (const attempt of [MAX_ATTEMPT + 1, 1e308, -1, '5']) {
      expect(retry({ attempt })).toMatchObject({ attempt: 1 });
    }
    expect(retry({ next: NOW + 5 })).toMatchObject({ nextInMs: 5 });
    for (const next of [5, 1e300, -1e300, NOW * 1_000, 9e15]) {
      expect(retry({ next })).not.toHaveProperty('nextInMs');
    }
    const part = { type: 'tool', callID: 'c', tool: 'bash' };
    for (const start of [0, -1e308, 1.7e9, 1e308]) {
      const state = { status: 'running', time: { start } };
      const [running] = say('message.part.updated', { sessionID: 's', part: { ...part, state } });
      expect(running?.tool).toMatchObject({ startedAt: 0 });
    }
  });
});

describe('frames', () => {
  it('with an id that is none are left to the schemas, which refuse them', () => {
    const properties = { sessionID: 'x'.repeat(MAX_ID_CHARS + 1), field: 'text', delta: 'x' };
    const payload = { id: 'e', type: 'message.part.delta', properties };
    const frame = `data: ${JSON.stringify({ directory: '/p', payload })}\n\n`;
    expect(readHead(frame)).toMatchObject({ sessionID: undefined });
    expect(translate('/p', payload, 0, NOW)).toEqual([]);
  });

  it('that come byte by byte are the same frames, and one too large is dropped in the same way', () => {
    let oversized = 0;
    const filter = new DeltaFilter({ onOversized: () => void oversized++ }, 4_000);
    const frame = `data: ${JSON.stringify({ payload: { type: 'x', text: 'y'.repeat(3_000) } })}\n\n`;
    const large = `data: ${'z'.repeat(5_000)}\n\n`;
    const passed: string[] = [];
    for (const byte of Buffer.from(frame + large + frame)) {
      const out = filter.push(Uint8Array.of(byte));
      if (out) passed.push(out.toString());
    }
    expect(passed).toEqual([frame, frame]);
    expect(oversized).toBe(1);
    expect(MAX_FRAME_BYTES).toBe(1024 * 1024);
  });
});

describe('what is remembered', () => {
  it('of keys that passed is bounded', () => {
    const throttle = new Throttle(new ManualClock(), 1_000);
    for (let n = 0; n < 3 * MAX_KEYS; n += 1) throttle.passes(`k${n}`);
    expect(throttle.passes(`k${3 * MAX_KEYS - 1}`)).toBe(false);
    expect(throttle.passes('k0')).toBe(true);
  });

  it('of open requests is bounded, the newest kept', () => {
    const requests = new OpenRequests();
    for (let n = 0; n < 2 * MAX_REMEMBERED; n += 1) {
      const request = { requestID: `r${n}`, on: 'permission' } as const;
      requests.note({ kind: 'request.asked', at: 0, sessionID: 's', directory: '/p', request });
    }
    const answered = requests.compare('permission', '/p', [], 1, 1);
    expect(answered).toHaveLength(MAX_REMEMBERED);
    expect(answered.at(-1)).toMatchObject({ requestID: `r${2 * MAX_REMEMBERED - 1}` });
  });

  it('of sessions to ask about is bounded, and two are asked about at a time', async () => {
    const asked: string[] = [];
    const clock = new ManualClock();
    const common = { client: silentClient(asked), clock, notice: () => {}, emit: () => {} };
    const infos = new SessionInfos(common);
    for (let n = 0; n < 3 * MAX_KNOWN; n += 1) infos.want(`s${n}`, '/p');
    expect(infos.waiting).toBe(MAX_KNOWN);
    expect(asked).toHaveLength(2);
  });
});

describe('requests at a time', () => {
  it('are limited for directories that are heard of for the first time', async () => {
    const polled: string[] = [];
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const poller = {
      poll: async (directories: string[]) => {
        polled.push(...directories);
        await gate;
        return directories;
      },
    };
    const directories = new LiveDirectories();
    directories.setOwn('/own');
    const parts = { client: silentClient([]), clock: new ManualClock(), directories, poller };
    const resync = new Resync({ ...parts, retryMs: 5_000 } as unknown as ConstructorParameters<
      typeof Resync
    >[0]);
    resync.start();
    for (let n = 0; n < 10_000; n += 1) resync.readNew(`/d${n}`);
    await settle();
    expect(polled).toEqual(['/d0', '/d1', '/d2', '/d3']);
    release();
    await settle();
    await new Promise((resolve) => setImmediate(resolve));
    expect(polled).toHaveLength(MAX_LIVE_DIRECTORIES + 4);
    resync.readNew('/again');
    expect(polled.at(-1)).toBe('/again');
    await resync.stop();
  });

  it('are limited for close inspections, and a session that waits for one is not entered twice', async () => {
    const asked: string[] = [];
    const client = silentClient(asked);
    const monitor = new Monitor({
      client,
      clock: new ManualClock(),
      watch: { pollInterval: 5_000, heartbeatTimeout: 30_000 },
      probe: { interval: 5_000, timeout: 3_000 },
      emit: () => {},
      notice: () => {},
    });
    monitor.start();
    const inspections = new Set<Promise<void>>();
    for (let round = 0; round < 3; round += 1) {
      for (let n = 0; n < 1_000; n += 1) inspections.add(monitor.inspect(`s${n}`, '/p'));
    }
    await settle();
    const sessions = asked.filter((each) => each.startsWith('inspect '));
    expect(sessions).toHaveLength(MAX_INSPECTIONS);
    // Of those whose inspection is on its way, one more is wanted; of the others not.
    expect(inspections.size).toBe(1_000 + MAX_INSPECTIONS);
    await monitor.stop();
    expect(asked.filter((each) => each.startsWith('inspect '))).toHaveLength(MAX_INSPECTIONS);
  });

  it('come in the order of asking, and one that fails makes room like any other', async () => {
    const semaphore = new Semaphore(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const work = (n: number) =>
      semaphore
        .take(
          () =>
            new Promise<void>((resolve, reject) => {
              begun.push(n);
              ends.push(n % 2 ? resolve : () => reject(new Error('no')));
            }),
        )
        .catch(() => {});
    const all = [0, 1, 2, 3, 4].map(work);
    expect(begun).toEqual([0, 1]);
    for (let n = 0; n < 5; n += 1) {
      ends[n]?.();
      await settle();
    }
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    await Promise.all(all);
  });
});

describe('answers', () => {
  it('of more bytes than any healthy one has are dropped', async () => {
    const ask = (client: OpencodeClient) => client.permissions('/p');
    const whole = Buffer.alloc(MAX_ANSWER_BYTES, 0x20);
    whole.write('[]');
    expect(await answering(whole, ask)).toEqual([]);
    const error = await answering(Buffer.concat([whole, Buffer.from(' ')]), ask).catch((e) => e);
    expect(error).toMatchObject({ kind: 'too_large' });
  });

  it('that are errors are told with as many of their words as fit', async () => {
    const body = Buffer.from(`{"message":"${'x'.repeat(100_000)}"}`);
    const error = await answering(body, (client) => client.statuses('/p'), 500).catch((e) => e);
    expect(error.detail).toHaveLength(MAX_DETAIL_CHARS);
  });

  it('of more sessions than anyone has are refused as a whole: the rest would seem idle', async () => {
    const body = (amount: number) =>
      Buffer.from(
        JSON.stringify(
          Object.fromEntries(Array.from({ length: amount }, (_, n) => [`s${n}`, { type: 'busy' }])),
        ),
      );
    const ask = (client: OpencodeClient) => client.statuses('/p');
    expect(await answering(body(MAX_STATUS_ENTRIES), ask)).toHaveProperty(
      'size',
      MAX_STATUS_ENTRIES,
    );
    const error = await answering(body(MAX_STATUS_ENTRIES + 1), ask).catch((e) => e);
    expect(error).toMatchObject({ kind: 'too_large' });
  });

  it('of sessions are read as far as they were asked for, and so are messages', async () => {
    const sessions = Array.from({ length: 500 }, (_, n) => ({ id: `s${n}` }));
    const recent = await answering(Buffer.from(JSON.stringify(sessions)), (client) =>
      client.recentSessions(RECENT_SESSIONS),
    );
    expect(recent).toHaveLength(RECENT_SESSIONS);
    const messages = Array.from({ length: 500 }, (_, n) => ({
      info: { id: `m${n}`, role: 'user' },
    }));
    const read = await answering(Buffer.from(JSON.stringify(messages)), (client) =>
      client.messages('s', '/p', 4),
    );
    expect(read.map(({ id }) => id)).toEqual(['m496', 'm497', 'm498', 'm499']);
  });
});

/** What a client makes of this body, whatever it asks for. */
async function answering<T>(
  body: Buffer,
  ask: (client: OpencodeClient) => Promise<T>,
  status = 200,
): Promise<T> {
  const server = createServer((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const client = new OpencodeClient({ url, clock: new SystemClock(), timeoutMs: 60_000 });
  try {
    return await ask(client);
  } finally {
    await client.close();
    server.closeAllConnections();
    server.close();
  }
}
