/**
 * While a provider is out, continued runs go down the chain of models. One probe at a time finds out when it is back.
 */
import { describe, expect, test } from 'vitest';
import { Failover, FIRST_REST_MS } from '../../../../src/watchdog/group/failover.js';
import { MINUTE, type PolicyChange, SECOND, type World, world } from '../driver.js';

const on = (recover: PolicyChange['recover'] = {}): PolicyChange => ({
  recover: { afterAbort: 'continue', models: ['b/m', 'c/m'], maxPerSession: 9, ...recover },
  pileup: { minSessions: 99 },
});
const went = (w: World) =>
  w.acts('continue').map(({ sessionID, model }) => `${sessionID} ${model}`);
/** Retries on this model up to the limit, and is aborted. */
const fails = (w: World, id: string, model: string) =>
  w.prompt(id, { model }).fails(id, 5).status(id, 'idle').abortDone(id);
const failsItself = (w: World, id: string, model: string, statusCode: number) =>
  w
    .prompt(id, { model })
    .error(id, 'APIError', { statusCode })
    .status(id, 'idle')
    .advance(3 * SECOND);

describe('what is continued while a provider is out', () => {
  test('goes down the chain, and what one session has learnt, the next one knows', () => {
    const w = fails(world({ policy: on() }), 's', 'a/m');
    fails(w, 's', 'b/m');
    fails(w, 't', 'a/m');
    expect(went(w)).toEqual(['s b/m', 's c/m', 't c/m']);
  });

  test('is said to go nowhere when the whole chain is out', () => {
    const w = fails(world({ policy: on() }), 's', 'a/m');
    fails(fails(w, 's', 'b/m'), 's', 'c/m');
    expect(went(w)).toEqual(['s b/m', 's c/m']);
    expect(w.notes('session.continue_failed')).toMatchObject([
      { sessionID: 's', error: 'every model of recover.models is out just now' },
    ]);
  });

  test('goes on elsewhere after a crash, too, though it was well itself', () => {
    const w = fails(world({ policy: on({ afterRestart: 'continue' }) }), 's', 'a/m');
    w.prompt('well', { model: 'a/m' }).text('well').exits().restartDone();
    expect(went(w)).toEqual(['s b/m', 'well b/m']);
  });

  test('of a subagent is its parent’s matter', () => {
    const w = world({ policy: on() }).info('s', { parentID: 'p' });
    expect(went(failsItself(w, 's', 'a/m', 503))).toEqual([]);
  });
});

describe('a run that opencode gave up itself', () => {
  test.each([429, 503, 402])('after status %d goes down the chain', (statusCode) => {
    expect(went(failsItself(world({ policy: on() }), 's', 'a/m', statusCode))).toEqual(['s b/m']);
  });

  test.each([400, 401, 404])('after status %d never does', (statusCode) => {
    expect(went(failsItself(world({ policy: on() }), 's', 'a/m', statusCode))).toEqual([]);
  });

  test('is not continued where there is no chain', () => {
    const w = world({ policy: on({ models: [] }) });
    expect(went(failsItself(w, 's', 'a/m', 503))).toEqual([]);
  });
});

describe('the first model', () => {
  const chain = ['a/m', 'b/m'];

  test('is probed by one run at a time when its breaker has rested, and is back with a finished step', () => {
    const failover = new Failover();
    failover.failed('a/m', 's', 0);
    expect(failover.choose(chain, 's', FIRST_REST_MS - 1)).toBe('b/m');
    expect(failover.choose(chain, 's', FIRST_REST_MS)).toBe('a/m');
    expect(failover.choose(chain, 't', FIRST_REST_MS + 1)).toBe('b/m');
    failover.worked('a/m');
    expect(failover.choose(chain, 't', FIRST_REST_MS + 2)).toBe('a/m');
  });

  test('rests for twice as long after a probe that failed', () => {
    const failover = new Failover();
    failover.failed('a/m', 's', 0);
    failover.choose(chain, 's', FIRST_REST_MS);
    failover.runOver('s');
    failover.failed('a/m', 's', 3 * MINUTE);
    expect(failover.choose(chain, 's', 3 * MINUTE + FIRST_REST_MS)).toBe('b/m');
    expect(failover.choose(chain, 's', 3 * MINUTE + 2 * FIRST_REST_MS)).toBe('a/m');
  });

  test('is still probed while another run fails that was sent before', () => {
    const failover = new Failover();
    failover.failed('a/m', 's', 0);
    expect(failover.choose(chain, 's', FIRST_REST_MS)).toBe('a/m');
    failover.failed('a/m', 't', FIRST_REST_MS + 1);
    // One probe at a time, and the rest is no longer than the first.
    expect(failover.choose(chain, 'u', 2 * FIRST_REST_MS + 1)).toBe('b/m');
    failover.runOver('s');
    expect(failover.choose(chain, 'u', 2 * FIRST_REST_MS + 1)).toBe('a/m');
  });

  test('rests until the time that its provider named', () => {
    const failover = new Failover();
    failover.failed('a/m', 's', 0, 60 * MINUTE);
    expect(failover.choose(chain, 's', 59 * MINUTE)).toBe('b/m');
    expect(failover.choose(chain, 's', 60 * MINUTE)).toBe('a/m');
  });

  test('takes the others of its provider with it where a second one fails', () => {
    const failover = new Failover();
    failover.failed('a/m', 's', 0);
    expect(failover.choose(['a/m', 'a/n'], 's', 1)).toBe('a/n');
    failover.failed('a/n', 's', 1);
    expect(failover.choose(['a/o', 'b/m'], 's', 2)).toBe('b/m');
    expect(failover.choose(['a/o'], 's', 2)).toBeUndefined();
  });
});
