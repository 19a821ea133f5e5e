/** An abort that a person asks for: decided like every other, for any session, and answered whatever comes of it. */
import { describe, expect, test } from 'vitest';
import { MINUTE, type World, world } from '../driver.js';

const request = (w: World, sessionID = 's') =>
  w.tell({ kind: 'abort.requested', sessionID, by: 'command' });
const answers = (w: World, sessionID = 's') =>
  w.notes('act.done').filter((each) => each.sessionID === sessionID);

describe('an abort that a person asks for', () => {
  test('is sent to a healthy run, in its directory, and is done when the run is seen idle', () => {
    const w = request(world().prompt('s', { directory: '/mine' }));
    expect(w.aborts()).toMatchObject([
      { directory: '/mine', reason: 'manual', try: 1, expect: 'active' },
    ]);
    w.abortDone('s', 40);
    expect(answers(w)).toMatchObject([{ outcome: 'done', tookMs: 40 }]);
    expect(w.notes('session.aborted')).toMatchObject([{ reason: 'manual', tookMs: 40 }]);
    expect(w.health()).toBe('idle');
  });

  test('is sent also where nothing is known of a run, and leaves no trace of a session that is not there', () => {
    const w = request(world());
    expect(w.aborts()).toMatchObject([{ directory: undefined, reason: 'manual' }]);
    w.tell({ kind: 'abort.withdrawn', sessionID: 's', seen: 'missing' });
    expect(answers(w)).toMatchObject([{ outcome: 'unknown' }]);
    expect(w.watchdog.idleSessions).toBe(0);
    request(w, 'quiet').abortWithdrawn('quiet', 'idle');
    expect(answers(w, 'quiet')).toMatchObject([{ outcome: 'idle' }]);
    request(w, 'runs').abortDone('runs', 30);
    expect(answers(w, 'runs')).toMatchObject([{ outcome: 'done', tookMs: 30 }]);
  });

  test('that does not work is told, is tried once, and makes no session wedged', () => {
    const w = request(world().prompt()).abortFailed('s', 'still busy');
    expect(answers(w)).toMatchObject([{ outcome: 'failed', error: 'still busy' }]);
    expect(w.notes('session.abort_failed')).toMatchObject([{ reason: 'manual', try: 1 }]);
    expect(w.aborts()).toHaveLength(1);
    expect(w.health()).toBe('busy');
  });

  test('twice at once is sent once and answered once for both', () => {
    const w = request(request(world().prompt())).abortDone();
    expect(w.aborts()).toHaveLength(1);
    expect(answers(w)).toHaveLength(1);
  });

  test('is answered by the one that is under way already', () => {
    const w = request(world().prompt().fails('s', 5));
    expect(w.aborts()).toMatchObject([{ reason: 'attempts' }]);
    w.abortDone('s', 40);
    expect(answers(w)).toMatchObject([{ outcome: 'done' }]);
    expect(w.aborts()).toHaveLength(1);
  });

  test.each([
    ['continued', { afterAbort: 'continue' }],
    ['parked', { afterQuota: 'continue' }],
  ] as const)(
    'leaves no run to be %s that the one under way was sent against',
    (_what, recover) => {
      const w = world({ policy: { recover } }).prompt();
      w.fails('s', 5, { nextInMs: 60 * MINUTE });
      request(w).status('s', 'idle').abortDone();
      expect(answers(w)).toMatchObject([{ outcome: 'done' }]);
      expect(w.acts('continue')).toEqual([]);
      expect(w.notes('session.parked')).toEqual([]);
    },
  );

  test('follows where the one under way was held back', () => {
    const w = request(world().prompt().fails('s', 5)).abortWithdrawn('s', 'busy');
    expect(w.aborts().map(({ reason, expect }) => [reason, expect])).toEqual([
      ['attempts', 'retry'],
      ['manual', 'active'],
    ]);
    expect(answers(w)).toEqual([]);
    w.abortDone();
    expect(answers(w)).toMatchObject([{ outcome: 'done' }]);
  });

  test('holds the watchdog’s own back until it has ended', () => {
    const w = request(world().prompt()).fails('s', 5);
    expect(w.aborts()).toHaveLength(1);
    w.abortFailed();
    expect(w.aborts().map(({ reason }) => reason)).toEqual(['manual', 'attempts']);
  });

  test('is followed by no continued prompt, and a run that comes later is nobody’s lost abort', () => {
    const w = world({ policy: { recover: { afterAbort: 'continue' } } }).prompt();
    request(w).abortDone();
    w.status('s', 'retry').advance(MINUTE / 4);
    expect(w.acts('continue')).toEqual([]);
    expect(w.aborts()).toHaveLength(1);
  });

  test('is refused with a reason while the server is down or being restarted', () => {
    const down = request(world({ acts: false }).prompt().exits());
    expect(answers(down)).toMatchObject([{ outcome: 'failed', error: /down/ }].map(toMatch));
    const w = world().prompt().fails('s', 5);
    request(w).tell({ kind: 'restart.requested', reason: 'manual' }).abortWithdrawn('s', 'busy');
    expect(answers(w)).toMatchObject([{ outcome: 'failed', error: /restarting/ }].map(toMatch));
    expect(w.aborts()).toHaveLength(1);
  });

  test('is answered where a restart cuts the run meanwhile', () => {
    const own = request(world().prompt().fails('s', 5)).exits();
    expect(answers(own)).toMatchObject([{ outcome: 'idle' }]);
    const manual = request(world().prompt()).exits();
    expect(answers(manual)).toEqual([]);
    manual.abortFailed('s', 'could not connect');
    expect(answers(manual)).toMatchObject([{ outcome: 'done' }]);
  });
});

function toMatch({ outcome, error }: { outcome: string; error: RegExp }) {
  return { outcome, error: expect.stringMatching(error) as unknown };
}

test('an abort that a person asked for before the run was heard of ends that run', () => {
  const policy = { recover: { afterRestart: 'continue' as const } };
  const w = world({ policy }).tell({ kind: 'abort.requested', sessionID: 's', by: 'command' });
  w.prompt().tell({ kind: 'restart.requested', reason: 'manual' }).lost().abortDone();
  expect(w.notes('session.ended')).toMatchObject([{ outcome: 'aborted' }]);
  w.restartDone().connected();
  expect(w.acts('continue')).toEqual([]);
});
