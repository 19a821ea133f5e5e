/** What the frames of OpenCode 2 tell the watchdog: what is silent by design, how runs end, and random histories. */
import { expect, it } from 'vitest';
import { V2EventReader } from '../../../../src/opencode/v2/event-reader.js';
import { KnownSessions } from '../../../../src/opencode/v2/known-sessions.js';
import type { Observation } from '../../../../src/watchdog/observation.js';
import { FakeClock } from '../../../support/fake-clock.js';

type Data = Record<string, unknown>;

class World {
  readonly clock = new FakeClock(1_000);
  readonly #reader = new V2EventReader(this.clock, new KnownSessions());

  /** As 2.x does it, no event of an execution names its directory. */
  say(type: string, data: Data = {}, sessionID = 'ses_1'): Observation[] {
    const isBare = type.startsWith('session.execution.');
    const frame = this.#reader.read(
      JSON.stringify({
        id: 'evt_1',
        created: 1,
        type,
        ...(!isBare && { location: { directory: '/p' } }),
        data: { sessionID, ...data },
      }),
    );
    return frame.kind === 'event' ? [...frame.observations] : [];
  }
}

const kinds = (observations: readonly Observation[]) => observations.map(({ kind }) => kind);
const STEP = { assistantMessageID: 'msg_a' };
const CALL = { ...STEP, id: 'call_1' };

it('counts the requests that have failed, not the one to come, and is busy again with the next', () => {
  const world = new World();
  const at = world.clock.epoch() + 2_000;
  const error = { type: 'provider.rate-limit', message: 'slow down', status: 429 };
  const [told] = world.say('session.retry.scheduled', { ...STEP, attempt: 2, at, error });
  expect(told).toMatchObject({
    status: { type: 'retry', attempt: 1, message: 'slow down', nextInMs: 2_000 },
    directory: '/p',
  });
  expect(world.say('session.step.started', STEP)).toContainEqual(
    expect.objectContaining({ kind: 'session.status', status: { type: 'busy' } }),
  );
});

it('takes an argument that is being written for a tool at work: nothing else comes for as long', () => {
  const world = new World();
  world.say('session.step.started', STEP);
  const [begun] = world.say('session.tool.input.started', { ...CALL, name: 'write' });
  expect(begun).toMatchObject({ kind: 'tool.running', tool: { callID: 'call_1', tool: 'write' } });
  const [called] = world.say('session.tool.called', { ...CALL, input: {} });
  // Its name came once.
  expect(called).toMatchObject({ kind: 'tool.running', tool: { tool: 'write' } });
  const content = [{ type: 'text', text: 'ok' }];
  expect(kinds(world.say('session.tool.success', { ...CALL, content }))).toContain('tool.ended');
});

it('reads the deltas of an answer that streams for long, and says how often its end repeats', async () => {
  const clock = new FakeClock(1_000);
  const reader = new V2EventReader(clock, new KnownSessions());
  const passage =
    'Let me look at the configuration once more, since the value that the test expects is not the one ' +
    'which the loader returns, and therefore the assertion must fail again; I will now change the default and run the whole suite. ';
  const said: [number, number][] = [];
  for (let second = 0; second < 100; second += 1) {
    const data = { sessionID: 'ses_1', ...STEP, ordinal: 0, delta: passage };
    const text = JSON.stringify({ id: 'evt_1', created: 1, type: 'session.text.delta', data });
    // What the head calls a delta is never read.
    if (reader.head(`data: ${text}`).kind !== 'delta') {
      const frame = reader.read(text);
      for (const each of frame.kind === 'event' ? frame.observations : [])
        if (each.kind === 'session.text_sampled') said.push([second, each.textRepeats]);
    }
    await clock.advance(1_000);
  }
  expect(said.map(([second]) => second)).toEqual([80]);
  expect(said[0]?.[1]).toBeGreaterThan(15);
});

it('tells of a compaction from its beginning to its end, which may be a failure', () => {
  const world = new World();
  const [begun] = world.say('session.compaction.started', { reason: 'auto' });
  expect(begun).toMatchObject({ kind: 'session.compacting', auto: true });
  expect(kinds(world.say('session.compaction.failed', { reason: 'auto' }))).toEqual([
    'session.compacted',
  ]);
});

it.each([
  ['succeeded', {}, undefined],
  ['failed', { error: { type: 'provider.timeout', message: 'no answer' } }, 'provider.timeout'],
  ['interrupted', { reason: 'user' }, 'MessageAbortedError'],
  // A reject without words ends a turn so: no server's end.
  ['interrupted', { reason: 'shutdown' }, 'MessageAbortedError'],
  ['interrupted', { reason: 'inactivity' }, 'InactivityInterrupt'],
])('a run that %s (%o) is idle, and nothing of it is open', (how, data, name) => {
  const world = new World();
  world.say('session.execution.started');
  world.say('session.tool.input.started', { ...CALL, name: 'write' });
  const end = world.say(`session.execution.${how}`, data);
  expect(kinds(end)).toContain('tool.ended');
  expect(end.at(-1)).toMatchObject({ kind: 'session.status', status: { type: 'idle' } });
  const error = end.find(({ kind }) => kind === 'session.error');
  expect(error && 'name' in error ? error.name : undefined).toBe(name);
});

it('a prompt parks: if its run is interrupted, it waits for the next one', () => {
  const world = new World();
  const item = { type: 'user', payload: { text: 'hi' }, delivery: 'steer' };
  expect(world.say('session.inbox.enqueued', { inboxID: 'msg_p', item })[0]).toMatchObject({
    kind: 'session.prompted',
    messageID: 'msg_p',
    parks: true,
  });
});

it('holds in random histories: what was open is closed by the end of its run, and the last word is idle', () => {
  const turns: [string, Data][] = [
    ['session.inbox.delivered', { inboxID: 'msg_p' }],
    ['session.step.started', STEP],
    ['session.text.started', { ...STEP, ordinal: 0 }],
    ['session.text.delta', { ...STEP, ordinal: 0, delta: 'x' }],
    ['session.text.ended', { ...STEP, ordinal: 0, text: 'x' }],
    ['session.tool.input.started', { ...CALL, name: 'shell' }],
    ['session.tool.called', { ...CALL, input: {} }],
    ['session.tool.progress', { ...CALL, metadata: { shellID: 'sh' } }],
    ['session.tool.success', { ...CALL, content: [] }],
    ['session.tool.failed', { ...CALL, error: { type: 'aborted', message: '' } }],
    ['session.step.ended', { ...STEP, finish: 'tool-calls', cost: 0.1 }],
    ['session.step.failed', { ...STEP, error: { type: 'unknown', message: 'x' } }],
    ['session.retry.scheduled', { ...STEP, attempt: 3, at: 5_000 }],
    ['session.compaction.started', { reason: 'auto' }],
    ['session.compaction.ended', { reason: 'auto', text: 'x' }],
    ['session.usage.updated', { cost: 1 }],
    ['session.viewed', { idle: 1 }],
    ['session.never.heard.of', { x: 1 }],
  ];
  const ends = ['succeeded', 'failed', 'interrupted'];
  let seed = 7;
  const pick = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  for (let history = 0; history < 300; history += 1) {
    const world = new World();
    const open = new Set<string>();
    const hear = (observations: readonly Observation[]) => {
      for (const each of observations) {
        if (each.kind === 'tool.running') open.add(each.tool.callID);
        if (each.kind === 'tool.ended') open.delete(each.callID);
        if (each.kind === 'session.status' && each.status.type === 'retry') {
          expect(each.status.attempt).toBeGreaterThanOrEqual(1);
        }
      }
      return observations;
    };
    hear(world.say('session.created', { location: { directory: '/p' } }));
    hear(world.say('session.execution.started'));
    for (let n = pick(20); n > 0; n -= 1)
      hear(world.say(...(turns[pick(turns.length)] as [string, Data])));
    const last = hear(world.say(`session.execution.${ends[pick(3)]}`, { reason: 'user' })).at(-1);
    expect(last).toMatchObject({
      kind: 'session.status',
      status: { type: 'idle' },
      directory: '/p',
    });
    expect([...open]).toEqual([]);
  }
});
