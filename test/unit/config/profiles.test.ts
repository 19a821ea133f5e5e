/** Profiles: a file beats them, they beat the defaults, and each does what it is named for. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROFILE_NAMES } from '../../../src/config/profiles.js';
import { policyOf } from '../../../src/config/schema.js';
import { DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { SECOND, type World, world } from '../watchdog/driver.js';
import { ConfigHome } from './home.js';

let home: ConfigHome;
beforeEach(() => {
  home = new ConfigHome();
});
afterEach(() => home.remove());

const profile = (value: string) => [{ key: 'profile', flag: '--profile', value }];

describe('a profile', () => {
  it('beats the default, and a file beats it', () => {
    home.write('opencode-watchdog.yaml', 'profile: strict\nretry: { maxAttempts: 7 }');
    const { config, origins } = home.load({ isTrusted: () => true });
    expect(config.retry.maxAttempts).toBe(7);
    expect(config.stall.maxSilence).toBe(60 * SECOND);
    expect(origins.get('stall.maxSilence')).toBe('profile strict');
    expect(origins.get('retry.maxAttempts')).toMatch(/^file /);
    expect(origins.get('stall.maxToolTime')).toBe('default');
  });

  it('of a flag beats that of the environment, and that of the file', () => {
    home.write('opencode-watchdog.yaml', 'profile: strict');
    const env = { OPENCODE_WATCHDOG_PROFILE: 'unattended' };
    const trusted = { isTrusted: () => true };
    expect(home.load({ env, ...trusted }).config.waiting.action).toBe('reject');
    const flags = profile('default');
    expect(policyOf(home.load({ env, flags, ...trusted }).config)).toMatchObject(DEFAULT_POLICY);
  });

  it('that there is none of is refused with the names that there are', () => {
    expect(() => home.load({ flags: profile('careful') })).toThrow(/profile.*careful/s);
  });

  it.each(PROFILE_NAMES)('%s is a good configuration', (name) => {
    expect(home.load({ flags: profile(name) }).config.profile).toBe(name);
  });
});

const under = (name: string): World => {
  const { retry, stall, waiting, budget } = home.load({ flags: profile(name) }).config;
  return world({ policy: { retry, stall, waiting, budget, pileup: { minSessions: 99 } } });
};

/** The six rules, numbered as in docs/rules.md. */
describe('strict', () => {
  it('1: aborts at the first retry, whatever the provider says', () => {
    const w = under('strict').prompt('s').fails('s', 1);
    expect(w.aborts()).toHaveLength(1);
    expect(w.stuck()).toEqual(['attempts']);
  });

  it('2: aborts after 60 s of silence, and not before', () => {
    const w = under('strict')
      .prompt('s')
      .text('s')
      .advance(59 * SECOND);
    expect(w.acts()).toEqual([]);
    expect(w.advance(SECOND).acts('inspect')).toHaveLength(1);
    expect(w.inspected('s').stuck()).toEqual(['silence']);
  });

  it('2: leaves a session alone that waits for a person, or whose tool runs', () => {
    const w = under('strict').prompt('s').toolRuns('s').prompt('p');
    const request = { requestID: 'r', on: 'permission' } as const;
    w.tell({ kind: 'request.asked', sessionID: 'p', request }).advance(600 * SECOND);
    expect(w.aborts('s')).toEqual([]);
    expect(w.aborts('p')).toEqual([]);
  });

  it('3: a provider that cannot be reached is no retry situation', () => {
    const message =
      'Cannot connect to API: Unable to connect. Is the computer able to access the url?';
    const w = under('strict').prompt('s').fails('s', 1, { message });
    expect(w.aborts()).toHaveLength(1);
    expect(w.notes('session.stuck')).toMatchObject([{ reason: 'attempts', message }]);
  });

  it('4: no session is used twice: what was aborted is not begun again', () => {
    const w = under('strict').prompt('s').fails('s', 1).status('s', 'idle').abortDone('s');
    expect(w.notes('session.aborted')).toHaveLength(1);
    expect(w.advance(600 * SECOND).acts('continue')).toEqual([]);
  });

  it('5: a run that outlived its deleted session is aborted at once', () => {
    const w = under('strict').prompt('s').text('s').deleted('s');
    expect(w.stuck()).toEqual(['ghost']);
    expect(w.aborts()).toHaveLength(1);
  });

  it('6: what no abort ends, a restart of the server ends', () => {
    const w = under('strict').prompt('s').fails('s', 1);
    for (let tries = 1; tries <= 3; tries += 1) w.abortFailed('s').advance(SECOND);
    expect(w.notes('session.wedged')).toMatchObject([{ tries: 3, next: 'restart' }]);
    expect(w.acts('restart')).toMatchObject([{ reason: 'wedged' }]);
  });
});

describe('unattended', () => {
  it('answers no for a person after ten minutes', () => {
    const w = under('unattended').prompt('s');
    const request = { requestID: 'r', on: 'permission' } as const;
    w.tell({ kind: 'request.asked', sessionID: 's', request }).advance(599 * SECOND);
    expect(w.acts('reject')).toEqual([]);
    expect(w.advance(SECOND).acts('reject')).toHaveLength(1);
  });

  it('ends a run after four hours and a tool after half an hour', () => {
    const { stall } = home.load({ flags: profile('unattended') }).config;
    expect([stall.maxRunTime, stall.maxToolTime]).toEqual([4 * 3_600_000, 1_800_000]);
  });

  it('warns of budgets and aborts for none', () => {
    const w = under('unattended').prompt('s');
    const step = { messageID: 'm', empty: false, tools: 1, toolErrors: 0, hasText: true };
    const costs = { ...step, fileChanges: 0, costUsd: 12 };
    w.tell({ kind: 'session.step_finished', sessionID: 's', step: costs });
    expect(w.notes('budget.exceeded')).toMatchObject([{ budget: 'run', unit: 'cost' }]);
    expect(w.aborts()).toEqual([]);
  });
});
