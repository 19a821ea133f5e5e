/** What is remembered is bounded, and at the bound no watched session is dropped. */
import { describe, expect, test } from 'vitest';
import { ClockGaps, MAX_GAPS } from '../../../src/watchdog/clock-gaps.js';
import {
  MAX_ENDED,
  MAX_MODELS,
  ProviderOutages,
} from '../../../src/watchdog/group/provider-outage.js';
import type { SessionStatus } from '../../../src/watchdog/observation.js';
import { DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import {
  MAX_UNRESPONSIVE_PERIODS,
  UnresponsivePeriods,
} from '../../../src/watchdog/server/unresponsive-periods.js';
import { MAX_TOOLS, noteTool } from '../../../src/watchdog/session/inspection.js';
import {
  MAX_DELETED,
  MAX_DEPTH,
  MAX_SESSIONS,
  SessionRegistry,
} from '../../../src/watchdog/session/registry.js';
import { MAX_REQUESTS } from '../../../src/watchdog/session/requests.js';
import { newRun } from '../../../src/watchdog/session/state.js';
import { MINUTE, SECOND, world } from './driver.js';

describe('sessions', () => {
  test('that were idle longest are forgotten first, and none that is active', () => {
    const w = world().prompt('active');
    for (let i = 0; i < MAX_SESSIONS; i += 1) w.info(`x${i}`, { title: 't' });
    expect(w.watchdog.idleSessions).toBe(MAX_SESSIONS - 1);
    expect(w.health('active')).toBe('busy');
    expect(w.notes('session.unwatched')).toEqual([]);
  });

  test('are forgotten in the order of their ends, not of their beginnings', () => {
    const registry = new SessionRegistry();
    const enter = (id: string) => {
      const session = registry.enter(id, 0);
      if (session === undefined) throw new Error('there is no room');
      return session;
    };
    const [first, second] = [enter('first'), enter('second')];
    for (const session of [first, second]) registry.activate(session);
    registry.deactivate(second);
    registry.deactivate(first);
    for (let i = 0; i < MAX_SESSIONS - 2; i += 1) registry.activate(enter(`x${i}`));
    enter('one more');
    expect(registry.find('first')).toBe(first);
    expect(registry.find('second')).toBeUndefined();
  });

  test('beyond the limit are not watched while all others are active, which is said; the others are judged on', () => {
    const w = world().prompt('stuck');
    for (let i = 0; i < MAX_SESSIONS - 1; i += 1) w.status(`x${i}`, 'busy');
    w.forget().status('y', 'busy').status('z', 'busy');
    expect(w.watchdog.sessions(w.at)).toHaveLength(MAX_SESSIONS);
    expect(w.notes('session.unwatched')).toEqual([
      { note: 'session.unwatched', sessionID: 'y', watched: MAX_SESSIONS },
    ]);
    expect(w.fails('stuck', 5).aborts('stuck')).toHaveLength(1);
    // As soon as one session ends there is room for the next one that comes.
    w.status('x0', 'idle').status('z', 'busy');
    expect(w.health('z')).toBe('busy');
    w.status('y', 'busy').advance(MINUTE).status('y', 'busy').status('v', 'busy');
    expect(w.notes('session.unwatched').map(({ sessionID }) => sessionID)).toEqual(['y', 'y']);
  });

  test('of a poll beyond the limit are not watched either, nor does any take another’s place', () => {
    const w = world();
    const busy = { type: 'busy' } as const;
    const all = (from: number): Record<string, SessionStatus> =>
      Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`s${from + i}`, busy]));
    w.poll(all(0)).poll(all(0));
    const ids = new Set(w.watchdog.sessions(w.at).map(({ sessionID }) => sessionID));
    expect(ids.size).toBe(MAX_SESSIONS);
    expect([ids.has('s0'), ids.has(`s${MAX_SESSIONS - 1}`)]).toEqual([true, true]);
    expect(w.notes('session.health')).toHaveLength(MAX_SESSIONS);
    expect(w.notes('session.unwatched')).toHaveLength(1);
  });

  test('that are deleted are known for a while, and a bounded number of them', () => {
    const registry = new SessionRegistry();
    for (let i = 0; i <= MAX_DELETED; i += 1) {
      const session = registry.enter(`s${i}`, 0);
      if (session === undefined) throw new Error('there is no room');
      session.deleted = true;
      registry.forget(session);
    }
    expect([registry.isGone('s0'), registry.isGone('s1'), registry.size]).toEqual([false, true, 0]);
  });
});

describe('parents', () => {
  const silent = { stall: { maxSilence: MINUTE, maxToolTime: 0, maxRunTime: 0 } };

  test('in a circle excuse nobody', () => {
    for (const circle of [['a'], ['a', 'b'], ['a', 'b', 'c']]) {
      const w = world({ policy: silent });
      circle.forEach((id, i) => {
        w.info(id, { parentID: circle[(i + 1) % circle.length] ?? id }).prompt(id);
      });
      w.advance(2 * MINUTE);
      expect(w.acts('inspect').length).toBeGreaterThan(0);
    }
  });

  test(`are followed ${MAX_DEPTH} deep: what claims to lie deeper has none`, () => {
    const registry = new SessionRegistry();
    for (let i = 0; i <= MAX_DEPTH + 1; i += 1) {
      const session = registry.enter(`s${i}`, 0);
      if (session && i > 0) registry.learn(session, { parentID: `s${i - 1}` });
    }
    expect(registry.find(`s${MAX_DEPTH}`)?.info.parentID).toBe(`s${MAX_DEPTH - 1}`);
    expect(registry.find(`s${MAX_DEPTH + 1}`)?.info.parentID).toBeUndefined();
  });
});

describe('of one run', () => {
  test('a bounded number of tools is remembered: one that runs too long is found all the same', () => {
    const w = world({ policy: { stall: { maxSilence: 0, maxToolTime: MINUTE, maxRunTime: 0 } } });
    w.prompt();
    for (let i = 0; i < MAX_TOOLS * 2; i += 1) w.toolRuns('s', { callID: `c${i}` });
    w.advance(MINUTE).inspected('s', {
      tools: [{ callID: 'c0', tool: 'bash', startedAt: w.at - MINUTE }],
    });
    expect(w.stuck()).toEqual(['tool_time']);
    const run = newRun(0, '/p');
    for (let i = 0; i < MAX_TOOLS * 2; i += 1) {
      noteTool(run, { callID: `c${i}`, tool: 'bash', startedAt: 0 });
    }
    expect(run.tools.size).toBe(MAX_TOOLS);
    noteTool(run, { callID: 'c0', tool: 'bash', startedAt: 5 });
    expect(run.tools.get('c0')?.startedAt).toBe(5);
  });

  test('a bounded number of open requests is remembered, and it waits as long as one is open', () => {
    const w = world().prompt();
    for (let i = 0; i < MAX_REQUESTS * 2; i += 1) w.asked('s', 'permission', `r${i}`);
    expect(w.notes('session.waiting')).toHaveLength(MAX_REQUESTS);
    for (let i = 1; i < MAX_REQUESTS * 2; i += 1) w.answered('s', `r${i}`);
    expect(w.health()).toBe('waiting');
    expect(w.answered('s', 'r0').health()).toBe('busy');
  });
});

describe('provider outages', () => {
  test('are remembered of a bounded number of models, and each of a bounded number of sessions', () => {
    const said: string[] = [];
    const outages = new ProviderOutages(DEFAULT_POLICY.pileup, (decision) => {
      if ('note' in decision) said.push(decision.note);
    });
    const run = (model: string, startedAt: number) => {
      const episode = { startedAt, attempts: 1, message: '', nextAt: undefined };
      const rest = {
        needsPerson: false,
        named: undefined,
        namedBeforeMs: 0,
        holds: 0,
        progressed: false,
      };
      return { ...newRun(0, '/p'), model, episode: { ...episode, ...rest } };
    };
    const fail = (model: string, sessions: number) => {
      for (let i = 0; i < sessions; i += 1) outages.endedBadly(`s${i}`, run(model, 0), 1);
      outages.retrying('next', run(model, 2), 2);
    };
    fail('fake/first', MAX_ENDED * 2);
    expect(outages.isOut(run('fake/first', 0))).toBe(true);
    for (let i = 1; i < MAX_MODELS; i += 1) fail(`fake/m${i}`, 3);
    expect(said).toHaveLength(MAX_MODELS);
    fail('fake/one-more', 3);
    expect(outages.isOut(run('fake/first', 0))).toBe(false);
    expect(outages.isOut(run('fake/one-more', 0))).toBe(true);
  });
});

test('of the times that the daemon did not run a bounded number is remembered', () => {
  const gaps = new ClockGaps();
  for (let i = 0; i < MAX_GAPS + 50; i += 1) gaps.note(i * SECOND, 10);
  // The correction for a time before all gaps contains only the gaps that are remembered.
  expect(gaps.correct(-1)).toBe(-1 + MAX_GAPS * 10);
});

test('of the times in which the server was not responding a bounded number is remembered', () => {
  const periods = new UnresponsivePeriods();
  for (let i = 0; i <= MAX_UNRESPONSIVE_PERIODS + 50; i += 1) {
    periods.heard(i * MINUTE, 12 * SECOND);
    periods.missed(i * MINUTE);
  }
  expect(periods.msSince(-1)).toBe(MAX_UNRESPONSIVE_PERIODS * MINUTE);
  expect(periods.msSince(150 * MINUTE - SECOND)).toBe(SECOND);
});
