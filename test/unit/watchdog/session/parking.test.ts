/** Runs that wait for their quota: parked, continued when it is back, a few at a time, and never in a person's way. */
import { describe, expect, test } from 'vitest';
import { MINUTE, type PolicyChange, SECOND, type World, world } from '../driver.js';

const HOUR = 60 * MINUTE;
const on = (recover: PolicyChange['recover'] = {}): PolicyChange => ({
  recover: { afterQuota: 'continue', ...recover },
});
/** Its next attempt is an hour away, so it is aborted. */
const spent = (w: World, id = 's', nextInMs = HOUR): World =>
  w.prompt(id).fails(id, 1, { nextInMs }).status(id, 'idle').abortDone(id);
const continues = (w: World) => w.acts('continue').map(({ sessionID }) => sessionID);
const unparked = (w: World) =>
  w.notes('session.unparked').map(({ sessionID, outcome }) => `${sessionID} ${outcome}`);
const began = (w: World, id: string) =>
  w.prompt(id).tell({ kind: 'continue.done', sessionID: id, model: 'fake/m1' });

describe('a run whose quota comes back at a known time', () => {
  test('is not parked unless that is asked for', () => {
    const w = spent(world()).advance(2 * HOUR);
    expect(w.notes('session.parked')).toEqual([]);
    expect(continues(w)).toEqual([]);
  });

  test('is parked, said with its time, and continued then', () => {
    const w = spent(world({ policy: on() }));
    expect(w.notes('session.parked')).toMatchObject([{ sessionID: 's', untilInMs: HOUR }]);
    expect(w.watchdog.parked(w.at)).toMatchObject([{ sessionID: 's', inMs: HOUR, forMs: 0 }]);
    w.advance(HOUR);
    expect(continues(w)).toEqual([]);
    w.advance(5 * SECOND);
    expect(w.acts('continue')).toMatchObject([
      { sessionID: 's', because: 'quota', directory: '/p', model: 'fake/m1', count: 1 },
    ]);
    began(w, 's');
    expect(unparked(w)).toEqual(['s continued']);
    expect(w.notes('session.continued')).toHaveLength(1);
    expect(w.watchdog.parked(w.at)).toEqual([]);
  });

  test('goes on on time if the machine was suspended meanwhile', () => {
    const w = spent(world({ policy: on() })).advance(10 * MINUTE);
    w.tell({ kind: 'gap', ms: 40 * MINUTE }).advance(9 * MINUTE);
    expect(continues(w)).toEqual([]);
    w.advance(MINUTE + 5 * SECOND);
    expect(continues(w)).toEqual(['s']);
    const late = spent(world({ policy: on() })).advance(10 * MINUTE);
    late.tell({ kind: 'gap', ms: 8 * HOUR }).advance(SECOND);
    expect(continues(late)).toEqual(['s']);
  });

  test('goes on after the pause into which its prompt fell', () => {
    const w = spent(world({ policy: on({ maxPerSession: 1 }) })).advance(HOUR + 5 * SECOND);
    w.tell({ kind: 'acts.paused' }).tell({ kind: 'continue.skipped', sessionID: 's' });
    expect(continues(w.advance(10 * MINUTE))).toEqual(['s']);
    expect(continues(w.tell({ kind: 'acts.resumed' }))).toEqual(['s', 's']);
    expect(unparked(began(w, 's'))).toEqual(['s continued']);
    const dry = spent(world({ policy: on() })).advance(HOUR + 5 * SECOND);
    expect(unparked(dry.tell({ kind: 'continue.skipped', sessionID: 's' }))).toEqual(['s let_go']);
  });

  test('is taken for used by somebody if there is a message newer than its own last one', () => {
    const w = spent(world({ policy: on() })).advance(HOUR + 10 * SECOND);
    expect(w.acts('continue')).toMatchObject([{ lastMessageID: 'm1' }]);
  });

  test('is not taken for used by somebody because of messages that it wrote in a cut of the stream', () => {
    const policy = on();
    const w = world({ policy }).prompt().lost().advance(MINUTE);
    // Its steps m2 to m7 went by unheard.
    w.connected().fails('s', 1, { nextInMs: HOUR }).status('s', 'idle').abortDone();
    w.advance(HOUR + 10 * SECOND);
    expect(w.acts('continue')).toHaveLength(1);
    expect(w.acts('continue')[0]).not.toHaveProperty('lastMessageID');
    const heard = world({ policy }).prompt().lost().advance(MINUTE).connected().asks('s', 'm8');
    heard.fails('s', 1, { nextInMs: HOUR }).status('s', 'idle').abortDone();
    heard.advance(HOUR + 10 * SECOND);
    expect(heard.acts('continue')).toMatchObject([{ lastMessageID: 'm8' }]);
  });

  test('is parked by a time that only the text names', () => {
    const w = world({ policy: on() }).prompt();
    w.fails('s', 1, { message: 'Monthly quota exceeded, resets in 3 hours' });
    w.status('s', 'idle').abortDone();
    expect(w.stuck()).toEqual(['hopeless']);
    expect(w.notes('session.parked')).toMatchObject([{ untilInMs: 3 * HOUR }]);
  });

  test('is not parked where nobody says when', () => {
    const w = world({ policy: on() }).prompt().fails('s', 1, { message: 'insufficient credit' });
    w.status('s', 'idle').abortDone();
    expect(w.stuck()).toEqual(['hopeless']);
    expect(w.notes('session.parked')).toEqual([]);
  });

  test('goes on at once with another model where there is one', () => {
    const w = spent(world({ policy: on({ afterAbort: 'continue', models: ['other/m2'] }) }));
    expect(w.notes('session.parked')).toEqual([]);
    expect(w.acts('continue')).toMatchObject([{ because: 'abort', model: 'other/m2' }]);
  });

  test('of a subagent is its parent’s matter', () => {
    const w = world({ policy: on() }).info('s', { parentID: 'p' });
    expect(spent(w).notes('session.parked')).toEqual([]);
  });

  test('later than maxPark is not parked', () => {
    const w = spent(world({ policy: on({ maxPark: HOUR / 2 }) }));
    expect(w.notes('session.parked')).toEqual([]);
  });
});

describe('several of one provider', () => {
  test('go on one first, and the others, a few at a time, once it has worked', () => {
    const w = world({ policy: on() });
    for (const id of ['a', 'b', 'c', 'd', 'e']) spent(w, id);
    w.advance(HOUR + 10 * SECOND);
    expect(continues(w)).toEqual(['a']);
    began(w, 'a').advance(MINUTE).text('a');
    expect(continues(w)).toEqual(['a']);
    w.stepFinished('a');
    expect(continues(w)).toEqual(['a', 'b', 'c', 'd']);
    began(w, 'b').stepFinished('b');
    expect(continues(w)).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('all wait for the new time where the first fails again', () => {
    const w = world({ policy: on({ maxPerSession: 3 }) });
    for (const id of ['a', 'b']) spent(w, id);
    w.advance(HOUR + 10 * SECOND);
    began(w, 'a').fails('a', 1, { nextInMs: HOUR }).status('a', 'idle').abortDone('a');
    w.advance(HOUR - MINUTE);
    expect(continues(w)).toEqual(['a']);
    w.advance(2 * MINUTE);
    expect(continues(w)).toEqual(['a', 'b']);
  });

  test('of another provider wait for none of them', () => {
    const w = spent(world({ policy: on() }), 'a');
    w.prompt('z', { model: 'other/m' }).fails('z', 1, { nextInMs: HOUR });
    w.status('z', 'idle').abortDone('z');
    w.advance(HOUR + 10 * SECOND);
    expect(continues(w)).toEqual(['a', 'z']);
  });
});

describe('a parked run', () => {
  test.each<[string, (w: World) => World, string]>([
    ['superseded when its person prompts', (w) => w.prompt(), 's superseded'],
    [
      'superseded when a run begins whose prompt went unheard',
      (w) => w.status('s', 'busy'),
      's superseded',
    ],
    ['let go when its session is deleted', (w) => w.deleted(), 's let_go'],
    [
      'let go when a person aborts the session',
      (w) => w.tell({ kind: 'abort.requested', sessionID: 's', by: 'command' }),
      's let_go',
    ],
  ])('is %s', (_, happens, end) => {
    const w = happens(spent(world({ policy: on() })).advance(MINUTE)).advance(2 * HOUR);
    expect(unparked(w)).toEqual([end]);
    expect(continues(w)).toEqual([]);
  });

  test('is superseded where the server shows that somebody used the session', () => {
    const w = spent(world({ policy: on() })).advance(HOUR + 5 * SECOND);
    const error = 'somebody has used the session meanwhile';
    w.tell({ kind: 'continue.failed', sessionID: 's', error, superseded: true }).advance(HOUR);
    expect(unparked(w)).toEqual(['s superseded']);
    expect(continues(w)).toEqual(['s']);
  });

  test('is let go when a person aborts it while it is being told to go on, and is not told again', () => {
    const w = spent(world({ policy: on() })).advance(HOUR + 5 * SECOND);
    w.tell({ kind: 'abort.requested', sessionID: 's', by: 'command' });
    w.tell({ kind: 'continue.failed', sessionID: 's', error: 'answered 500' }).advance(HOUR);
    expect(unparked(w)).toEqual(['s let_go']);
    expect(continues(w)).toEqual(['s']);
  });

  test('is tried three times where the server does not take the prompt, and let go', () => {
    const w = spent(world({ policy: on() })).advance(HOUR + 5 * SECOND);
    for (let tries = 0; tries < 3; tries += 1) {
      w.tell({ kind: 'continue.failed', sessionID: 's', error: 'answered 500' }).advance(MINUTE);
    }
    expect(continues(w)).toEqual(['s', 's', 's']);
    expect(unparked(w)).toEqual(['s let_go']);
  });

  test('is let go after maxPark, counted from when it was parked first', () => {
    const w = world({ policy: on({ maxPark: 90 * MINUTE, maxPerSession: 9 }) });
    spent(w).advance(HOUR + 5 * SECOND);
    began(w, 's').fails('s', 1, { nextInMs: HOUR }).status('s', 'idle').abortDone();
    expect(w.notes('session.parked')).toHaveLength(1);
  });

  test('waits for a server that is down, and for the end of a pause', () => {
    const w = spent(world({ policy: on() }))
      .exits()
      .tell({ kind: 'acts.paused' });
    w.advance(HOUR + 10 * SECOND);
    expect(continues(w)).toEqual([]);
    w.restartDone().tell({ kind: 'acts.resumed' });
    expect(continues(w)).toEqual(['s']);
  });

  test('of an earlier daemon waits on, and is continued at once where its time has passed', () => {
    const run = { directory: '/p', model: 'fake/m1', count: 0, lastMessageID: 'm7' };
    const w = world({ policy: on() }).tell({
      kind: 'parked.restored',
      runs: [
        { sessionID: 'late', ...run, inMs: -MINUTE, forMs: HOUR },
        { sessionID: 'soon', ...run, model: 'other/m', inMs: MINUTE, forMs: HOUR },
      ],
    });
    w.advance(SECOND);
    expect(w.acts('continue')).toMatchObject([{ sessionID: 'late', lastMessageID: 'm7' }]);
    w.advance(2 * MINUTE);
    expect(continues(w)).toEqual(['late', 'soon']);
  });
});
