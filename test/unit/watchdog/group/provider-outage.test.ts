/** Provider outages: several sessions on one model ended badly, and the next one retries too. */
import { describe, expect, test } from 'vitest';
import { MINUTE, SECOND, UNSAID, type World, world } from '../driver.js';

const abortOne = (w: World, id: string, model = 'fake/m1') =>
  w.prompt(id, { model }).fails(id, 5).abortDone(id);
const giveUp = (w: World, id: string) => w.prompt(id).fails(id, 4).error(id).status(id, 'idle');

describe('a provider outage', () => {
  test('is said once when aborting did not help', () => {
    const w = world();
    for (const id of ['a', 'b', 'c']) abortOne(w, id).advance(SECOND);
    expect(w.notes('provider.outage')).toEqual([]);
    w.prompt('d').fails('d', 1, { message: 'Overloaded' }).fails('d', 2).prompt('e').fails('e', 1);
    expect(w.notes('provider.outage')).toEqual([
      {
        note: 'provider.outage',
        provider: 'fake',
        model: 'm1',
        sessions: 4,
        message: 'Overloaded',
      },
    ]);
  });

  test('counts runs that opencode gave up on', () => {
    const w = world();
    for (const id of ['a', 'b', 'c']) giveUp(w, id).advance(SECOND);
    expect(w.prompt('d').fails('d', 1).notes('provider.outage')).toHaveLength(1);
  });

  test('is said when a pile-up restart did not help', () => {
    const w = world();
    for (const id of ['a', 'b', 'c']) w.prompt(id).fails(id, 1);
    w.advance(30 * SECOND);
    expect(w.acts('restart')).toHaveLength(1);
    expect(w.notes('provider.outage')).toEqual([]);
    w.restartDone().connected().prompt('d').fails('d', 1);
    expect(w.notes('provider.outage')).toHaveLength(1);
  });

  test('is not seen in one session that fails again and again', () => {
    const w = world();
    for (let i = 0; i < 5; i += 1) abortOne(w, 'a').advance(SECOND);
    expect(w.prompt('a').fails('a', 1).notes('provider.outage')).toEqual([]);
  });

  test('is not seen where a step finished in between', () => {
    const w = world();
    for (const id of ['a', 'b']) abortOne(w, id).advance(SECOND);
    w.prompt('ok').text('ok').stepFinished('ok');
    abortOne(w, 'c').prompt('d').fails('d', 1);
    expect(w.notes('provider.outage')).toEqual([]);
  });

  test('is not seen over different models, nor over a longer time than rest', () => {
    const w = world();
    for (const id of ['a', 'b', 'c']) abortOne(w, id, `fake/${id}`).advance(SECOND);
    expect(w.prompt('d').fails('d', 1).notes('provider.outage')).toEqual([]);
    const slow = world();
    for (const id of ['a', 'b', 'c']) abortOne(slow, id).advance(10 * MINUTE);
    expect(slow.prompt('d').fails('d', 1).notes('provider.outage')).toEqual([]);
  });

  test('is not seen in aborts that had nothing to do with the provider', () => {
    const w = world({ policy: { stall: { maxRunTime: MINUTE } } });
    for (const id of ['a', 'b', 'c']) w.prompt(id);
    w.advance(MINUTE);
    for (const id of ['a', 'b', 'c']) w.abortDone(id);
    expect(w.prompt('d').fails('d', 1).notes('provider.outage')).toEqual([]);
  });

  test('lets restarts rest: pile-ups on it are answered by aborts, its limits hold', () => {
    const w = world({ policy: { pileup: { rest: 20 * MINUTE } } });
    for (const id of ['a', 'b', 'c']) abortOne(w, id);
    for (const id of ['d', 'e', 'f']) w.prompt(id).fails(id, 1, { nextInMs: UNSAID });
    w.forget().advance(30 * SECOND);
    expect(w.acts('restart')).toEqual([]);
    expect(w.acts('abort').map((each) => each.sessionID)).toEqual(['d', 'e', 'f']);
  });

  test('does not rest the restarts of a pile-up on other models', () => {
    const w = world();
    for (const id of ['a', 'b', 'c']) abortOne(w, id);
    w.prompt('d').fails('d', 1, { nextInMs: UNSAID });
    for (const id of ['e', 'f', 'g']) {
      w.prompt(id, { model: 'other/m' }).fails(id, 1, { nextInMs: UNSAID });
    }
    expect(w.advance(30 * SECOND).acts('restart')).toMatchObject([{ reason: 'pileup' }]);
  });

  test('is not said in the middle of a first pile-up, which must still lead to a restart', () => {
    const w = world({
      policy: {
        retry: { maxAttempts: 100, maxDuration: 0 },
        restart: { waitForHealthy: 0 },
      },
    }).prompt('well');
    const six = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const id of six) w.prompt(id).fails(id, 1, { nextInMs: UNSAID });
    w.advance(30 * SECOND);
    for (const id of ['a', 'b', 'c']) w.abortDone(id);
    for (const id of ['d', 'e', 'f']) w.fails(id, 2);
    w.advance(5 * SECOND);
    expect(w.notes('provider.outage')).toEqual([]);
    expect(w.acts('restart')).toHaveLength(1);
  });

  test('is over with the first finished step on it', () => {
    const w = world();
    for (const id of ['a', 'b', 'c']) abortOne(w, id);
    w.prompt('d').fails('d', 1).advance(MINUTE);
    w.prompt('other', { model: 'fake/m2' }).stepFinished('other');
    expect(w.notes('provider.back')).toEqual([]);
    w.prompt('e').stepFinished('e').stepFinished('e');
    expect(w.notes('provider.back')).toEqual([
      { note: 'provider.back', provider: 'fake', model: 'm1', outageMs: MINUTE },
    ]);
    expect(w.prompt('f').fails('f', 1).notes('provider.outage')).toHaveLength(1);
  });
});
