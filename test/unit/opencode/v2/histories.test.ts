/** Random turns of OpenCode 2, from its frames to the decisions: whatever comes, the end of a run is the end of all about it. */
import { expect, it } from 'vitest';
import { V2EventReader } from '../../../../src/opencode/v2/event-reader.js';
import { KnownSessions } from '../../../../src/opencode/v2/known-sessions.js';
import { isNote } from '../../../../src/watchdog/decision.js';
import { DEFAULT_POLICY } from '../../../../src/watchdog/policy.js';
import { Watchdog } from '../../../../src/watchdog/watchdog.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { randomFrom } from '../../../support/random.js';

const STEP = { assistantMessageID: 'msg_a' };
const CALL = { ...STEP, id: 'call_1' };
const TURNS: readonly [string, Record<string, unknown>][] = [
  ['session.inbox.delivered', { inboxID: 'msg_p' }],
  ['session.step.started', STEP],
  ['session.text.ended', { ...STEP, ordinal: 0, text: 'x' }],
  ['session.tool.input.started', { ...CALL, name: 'shell' }],
  ['session.tool.called', { ...CALL, input: {} }],
  ['session.tool.success', { ...CALL, content: [] }],
  ['session.step.ended', { ...STEP, finish: 'tool-calls', cost: 0.1 }],
  ['session.step.failed', { ...STEP, error: { type: 'unknown', message: 'x' } }],
  ['session.compaction.started', { reason: 'manual' }],
  ['session.compaction.ended', { reason: 'manual', text: 'x' }],
  ['permission.asked', { id: 'per_1' }],
  ['permission.replied', { requestID: 'per_1', reply: 'once' }],
  ['session.viewed', { idle: 1 }],
  ['session.never.heard.of', { x: 1 }],
];

it('ends nobody who is within the limits, and leaves nothing at work behind', async () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = randomFrom(seed);
    const clock = new FakeClock(1_000);
    const reader = new V2EventReader(clock, new KnownSessions());
    // Chance may go in circles.
    const loop = { ...DEFAULT_POLICY.loop, action: 'off' } as const;
    const watchdog = new Watchdog({ policy: { ...DEFAULT_POLICY, loop }, acts: true });
    const acts: string[] = [];
    const take = (o: Parameters<Watchdog['observe']>[0]) => {
      for (const each of watchdog.observe(o)) {
        if (!isNote(each) && each.act !== 'inspect') acts.push(each.act);
      }
    };
    take({ kind: 'server.attached', at: clock.now(), running: true, pid: 1, version: '2.0.26' });
    take({ kind: 'stream.connected', at: clock.now(), path: '/api/event' });
    take({ kind: 'stream.resynced', at: clock.now() });
    const say = async (type: string, data: Record<string, unknown> = {}) => {
      const location = { directory: '/p' };
      const where = type.startsWith('session.execution.') ? {} : { location };
      const frame = reader.read(
        JSON.stringify({ id: 'evt_1', type, ...where, data: { sessionID: 'ses_1', ...data } }),
      );
      if (frame.kind === 'event') for (const each of frame.observations) take(each);
      await clock.advance(10 + random() * 5_000);
    };
    await say('session.created', { location: { directory: '/p' } });
    await say('session.execution.started');
    for (let n = Math.floor(random() * 20); n > 0; n -= 1) {
      const turn = TURNS[Math.floor(random() * TURNS.length)];
      if (turn) await say(...turn);
    }
    const reason = ['user', 'shutdown'][Math.floor(random() * 2)];
    await say('session.execution.interrupted', { reason });
    take({ kind: 'tick', at: clock.now() + 10_000 });
    expect([seed, acts]).toEqual([seed, []]);
    const health = watchdog.sessions(clock.now() + 10_000).map((each) => each.health);
    expect([seed, health.filter((each) => each !== 'idle')]).toEqual([seed, []]);
  }
});
