/** The small parts that the monitor is made of. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eachLimited } from '../../../src/lib/semaphore.js';
import { Throttle } from '../../../src/lib/throttle.js';
import { OpencodeError, withoutCredentials } from '../../../src/opencode/http/errors.js';
import { Heartbeats } from '../../../src/opencode/monitor/heartbeats.js';
import { OpenRequests } from '../../../src/opencode/monitor/open-requests.js';
import { ParseStats, readStatus } from '../../../src/opencode/v1/status.js';
import { readMessages, transcriptState } from '../../../src/opencode/v1/transcript.js';
import { ManualClock, settle } from './support.js';

describe('heartbeats', () => {
  it('set no limit before the first one', () => {
    const heartbeats = new Heartbeats(0);
    expect(heartbeats.limitMs(30_000)).toBe(Number.POSITIVE_INFINITY);
    expect(heartbeats.intervalMs).toBeUndefined();
  });

  it('allow three intervals, and never less than was configured', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.beat(10_000);
    expect(heartbeats.limitMs(5_000)).toBe(30_000);
    expect(heartbeats.limitMs(60_000)).toBe(60_000);
    heartbeats.beat(20_000);
    expect(heartbeats.intervalMs).toBe(10_000);
  });

  it('forget the distance from the opening once a true interval is known', () => {
    const heartbeats = new Heartbeats(0);
    heartbeats.beat(29_000);
    heartbeats.beat(30_000);
    expect(heartbeats.intervalMs).toBe(1_000);
  });

  it('are not shortened by two that came together', () => {
    const heartbeats = new Heartbeats(0);
    for (const at of [30_000, 60_000, 95_000, 95_100]) heartbeats.beat(at);
    expect(heartbeats.limitMs(30_000)).toBeGreaterThanOrEqual(90_000);
  });
});

describe('a throttle', () => {
  it('lets each key through once in the interval', async () => {
    const clock = new ManualClock();
    const throttle = new Throttle(clock, 250);
    expect([throttle.passes('a'), throttle.passes('a'), throttle.passes('b')]).toEqual([
      true,
      false,
      true,
    ]);
    await clock.advance(250);
    expect(throttle.passes('a')).toBe(true);
  });
});

describe('limited work', () => {
  it('does everything, never more at once than allowed', async () => {
    let now = 0;
    let most = 0;
    const done: number[] = [];
    await eachLimited([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
      now += 1;
      most = Math.max(most, now);
      await settle();
      now -= 1;
      done.push(item);
    });
    expect(most).toBe(3);
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('a status off the wire', () => {
  it('never has a negative distance or an attempt below 1, whatever the server says', () => {
    const wild = fc.record({
      type: fc.string(),
      attempt: fc.double(),
      next: fc.double(),
      message: fc.string(),
    });
    fc.assert(
      fc.property(
        fc.oneof(
          wild,
          wild.map((value) => ({ ...value, type: 'retry' })),
        ),
        (value) => {
          const status = readStatus(JSON.parse(JSON.stringify(value)), 1_000);
          if (status?.type !== 'retry') return;
          expect(status.attempt).toBeGreaterThanOrEqual(1);
          expect(status.nextInMs ?? 0).toBeGreaterThanOrEqual(0);
          expect(status.message.length).toBeLessThanOrEqual(300);
        },
      ),
    );
  });

  it('tells of each unknown type once', () => {
    const told: string[] = [];
    const oddities = new ParseStats();
    oddities.onUnknownStatus = (type) => told.push(type);
    for (let n = 0; n < 3; n += 1) readStatus({ type: 'dreaming' }, 0, oddities);
    for (let n = 0; n < 100; n += 1) readStatus({ type: `t${n}` }, 0, oddities);
    expect(told[0]).toBe('dreaming');
    expect(told).toHaveLength(32);
  });
});

describe('open requests', () => {
  const asked = (requestID: string, at: number) =>
    ({
      kind: 'request.asked',
      at,
      sessionID: 'ses_a',
      directory: '/p',
      request: { requestID, on: 'permission' },
    }) as const;
  const listed = (requestID: string) =>
    ({ requestID, sessionID: 'ses_a', on: 'permission' }) as const;
  const kinds = (list: Array<{ kind: string }>) => list.map(({ kind }) => kind);

  it('that the list shows and nobody told of are news, once', () => {
    const requests = new OpenRequests();
    expect(kinds(requests.compare('permission', '/p', [listed('1')], 10, 11))).toEqual([
      'request.asked',
    ]);
    expect(requests.compare('permission', '/p', [listed('1')], 20, 21)).toEqual([]);
  });

  it('that are gone from the list were answered while nobody listened', () => {
    const requests = new OpenRequests();
    requests.note(asked('1', 5));
    expect(requests.compare('permission', '/other', [], 10, 11)).toEqual([]);
    expect(requests.compare('question', '/p', [], 10, 11)).toEqual([]);
    expect(kinds(requests.compare('permission', '/p', [], 10, 11))).toEqual(['request.answered']);
    expect(requests.compare('permission', '/p', [], 20, 21)).toEqual([]);
  });

  it('that were asked after the list was are not missed in it', () => {
    const requests = new OpenRequests();
    requests.note(asked('1', 15));
    expect(requests.compare('permission', '/p', [], 10, 16)).toEqual([]);
  });

  it('that were answered while the list was on its way are not asked again', () => {
    const requests = new OpenRequests();
    requests.note({ kind: 'request.answered', at: 12, sessionID: 'ses_a', requestID: '1' });
    expect(requests.compare('permission', '/p', [listed('1')], 10, 13)).toEqual([]);
  });

  it('of a kind that the lists do not show are never missed in them', () => {
    const requests = new OpenRequests();
    requests.note(asked('1', 5), false);
    expect(requests.compare('permission', '/p', [], 10, 11)).toEqual([]);
  });
});

describe('a transcript', () => {
  const user = {
    info: { id: 'u', role: 'user', model: { providerID: 'p', modelID: 'm' } },
    parts: [],
  };
  const step = (text: string, state: object = { status: 'running', time: { start: 900 } }) => ({
    info: { id: 'a', role: 'assistant', providerID: 'p', modelID: 'm', time: { created: 1 } },
    parts: [
      { id: '1', type: 'text', text },
      { id: '2', type: 'tool', tool: 'task', callID: 'c', state },
      'garbage',
    ],
  });
  const NOW = 1_795_343_500_000;
  const read = (...messages: unknown[]) =>
    transcriptState(readMessages(messages), 5_000, NOW + 1_000);

  it('shows the running tools with their own start', () => {
    const metadata = { sessionId: 'ses_child' };
    const state = read(
      user,
      step('x', { status: 'running', time: { start: NOW + 900 }, metadata }),
    );
    expect(state.tools).toEqual([
      { callID: 'c', tool: 'task', startedAt: 4_900, childID: 'ses_child' },
    ]);
    expect(state).toMatchObject({ preparing: false, model: 'p/m' });
  });

  it('is preparing while the last message is the user’s', () => {
    expect(read(user).preparing).toBe(true);
    expect(read().preparing).toBe(false);
  });

  it('has a mark that changes with text, tools and messages, and with nothing else', () => {
    const mark = read(user, step('x')).mark;
    expect(read(user, step('x')).mark).toBe(mark);
    expect(read(user, step('xy')).mark).not.toBe(mark);
    expect(read(user, step('x', { status: 'completed' })).mark).not.toBe(mark);
    expect(read(user).mark).not.toBe(mark);
    const output = (text: string) => step('x', { status: 'running', metadata: { output: text } });
    expect(read(output('a')).mark).not.toBe(read(output('ab')).mark);
  });

  it('skips messages that are none', () => {
    expect(readMessages([null, 3, {}, { info: { id: 'a', role: 'user' } }])).toHaveLength(1);
  });
});

describe('an error', () => {
  it('says what was tried, what came back and what to do', () => {
    const error = new OpencodeError({
      kind: 'refused',
      request: `GET ${withoutCredentials('http://me:secret@host:4096/session?x=1')}`,
      outcome: 'could not connect',
    });
    expect(error.message).toBe(
      'GET http://host:4096/session could not connect. Is `opencode serve` running, and is the URL its own?',
    );
  });
});
