/** Without an event stream, only equal inspections of the transcript prove silence. */
import { describe, expect, test } from 'vitest';
import { MINUTE, SECOND, type World, world } from '../driver.js';

const BUSY = { type: 'busy' } as const;
type Inspected = Parameters<World['inspected']>[1];

/** A server whose stream never came up, with a session found by a poll. */
const found = (): World =>
  world({ attached: false })
    .tell({ kind: 'server.attached', running: true, pid: 100 })
    .poll({ s: BUSY })
    .unavailable();

/** Time passes in steps. Each inspection is answered with what `inspect` returns at that time, or fails. */
function live(
  w: World,
  ms: number,
  inspect: (at: number) => Inspected | 'fails' = () => ({}),
): World {
  const start = w.at;
  let answered = 0;
  const answer = () => {
    for (; answered < w.acts('inspect').length; answered += 1) {
      const says = inspect(w.at - start);
      if (says === 'fails') w.tell({ kind: 'session.inspect_failed', sessionID: 's', error: 'x' });
      else w.inspected('s', says);
    }
  };
  answer();
  while (w.at < start + ms) {
    w.advance(SECOND).poll({ s: BUSY });
    answer();
  }
  return w;
}

describe('without an event stream', () => {
  test('a session whose transcript stays as it is for the limit is stuck', () => {
    const w = live(found(), 10 * MINUTE - SECOND);
    expect(w.stuck()).toEqual([]);
    live(w, 2 * SECOND);
    expect(w.stuck()).toEqual(['silence']);
    expect(w.aborts()).toMatchObject([{ reason: 'silence' }]);
  });

  test('it is shown as stalled before, and looked at a few times only', () => {
    const w = live(found(), 6 * MINUTE);
    expect(w.health()).toBe('stalled');
    expect(w.acts('inspect').length).toBeLessThanOrEqual(4);
  });

  test('a session whose transcript changes is never touched', () => {
    const w = live(found(), 60 * MINUTE, (at) => ({ mark: `${Math.floor(at / (4 * MINUTE))}` }));
    expect(w.stuck()).toEqual([]);
    expect(w.health()).toBe('busy');
  });

  test('one that changes at last, and then no more, is stuck a limit after the change', () => {
    const w = live(found(), 18 * MINUTE, (at) => ({ mark: at < 9 * MINUTE ? 'a' : 'b' }));
    expect(w.stuck()).toEqual([]);
    live(w, 5 * MINUTE, () => ({ mark: 'b' }));
    expect(w.stuck()).toEqual(['silence']);
  });

  test('an answer under way shows nothing before its end, and proves no silence', () => {
    const w = found();
    const answeringSince = w.at;
    live(w, 50 * MINUTE, () => ({ answeringSince }));
    expect(w.stuck()).toEqual([]);
    live(w, 11 * MINUTE, () => ({ answeringSince }));
    expect(w.stuck()).toEqual(['tool_time']);
  });

  test('an answer that was heard until the stream broke counts from then, however old it is', () => {
    const w = world().prompt('s');
    const answeringSince = w.at;
    for (let i = 0; i < 140; i += 1) w.advance(30 * SECOND).text('s');
    w.lost().unavailable();
    live(w, 50 * MINUTE, () => ({ answeringSince }));
    expect(w.stuck()).toEqual([]);
    live(w, 12 * MINUTE, () => ({ answeringSince }));
    expect(w.stuck()).toEqual(['tool_time']);
  });

  test('an answer is not judged while a stream that was lost is being opened again', () => {
    const w = world({ policy: { stall: { maxToolTime: 20 * SECOND } } }).prompt('s');
    const answeringSince = w.at;
    w.text('s').lost();
    live(w, 30 * SECOND, () => ({ answeringSince }));
    w.inspected('s', { answeringSince }).poll({ s: BUSY });
    expect(w.stuck()).toEqual([]);
    w.unavailable();
    expect(w.stuck()).toEqual(['tool_time']);
  });

  test('a running tool explains the quiet until it has ended', () => {
    const w = found();
    const tools = [{ callID: 'c1', tool: 'bash', startedAt: w.at }];
    live(w, 30 * MINUTE, () => ({ tools }));
    expect(w.stuck()).toEqual([]);
    live(w, 13 * MINUTE, () => ({ mark: 'ended' }));
    expect(w.stuck()).toEqual(['silence']);
  });

  test('a pending permission is waited for', () => {
    const requests = [{ requestID: 'r1', on: 'permission' as const }];
    const w = live(found(), 60 * MINUTE, () => ({ requests }));
    expect(w.health()).toBe('waiting');
    expect(w.stuck()).toEqual([]);
  });

  test('inspections that fail prove nothing', () => {
    const w = live(found(), 60 * MINUTE, () => 'fails');
    expect(w.stuck()).toEqual([]);
    expect(w.acts('inspect').length).toBeGreaterThan(10);
  });

  test('that was there before, silence counts from the first inspection', () => {
    const w = world()
      .prompt()
      .advance(9 * MINUTE)
      .lost()
      .unavailable();
    live(w, 9 * MINUTE);
    expect(w.stuck()).toEqual([]);
    live(w, 2 * MINUTE);
    expect(w.stuck()).toEqual(['silence']);
  });

  test('that comes back, it is what counts again', () => {
    const w = live(found(), 9 * MINUTE)
      .poll({ s: BUSY })
      .connected()
      .forget();
    w.text().advance(9 * MINUTE);
    expect(w.acts('inspect')).toEqual([]);
    expect(w.health()).toBe('stalled');
  });

  describe('a stuck run goes on being looked at', () => {
    const policy = { stall: { maxSilence: 4 * MINUTE }, restart: { waitForHealthy: 60 * MINUTE } };
    const unheard = (...ids: string[]) => {
      const w = world({ policy });
      for (const id of ids) w.prompt(id).text(id);
      return w.lost().unavailable();
    };
    /** The server lives, the transcript of `s` is as `mark` says, and other sessions go on. */
    function serve(w: World, ms: number, mark: () => string, others: string[] = []): World {
      const busy = Object.fromEntries(['s', ...others].map((id) => [id, BUSY]));
      for (const end = w.at + ms; w.at < end; ) {
        const before = w.acts('inspect').length;
        w.advance(5 * SECOND)
          .probeOk()
          .poll(busy);
        for (const { sessionID } of w.acts('inspect').slice(before))
          w.inspected(sessionID, { mark: sessionID === 's' ? mark() : `${w.at}` });
      }
      return w;
    }
    const same = () => 'same';

    test('while a pause leaves it, and one that recovers is not aborted after the pause', () => {
      const w = unheard('s').tell({ kind: 'acts.paused' });
      serve(w, 6 * MINUTE, same).abortSkipped();
      expect(w.stuck()).toEqual(['silence']);
      w.forget();
      serve(w, 10 * MINUTE, () => `${w.at}`);
      expect(w.notes('session.recovered')).toMatchObject([{ reason: 'silence' }]);
      w.forget().tell({ kind: 'acts.resumed' });
      serve(w, MINUTE, () => `${w.at}`);
      expect(w.aborts()).toEqual([]);
    });

    test('while it is wedged, and one that recovers costs no restart', () => {
      const w = serve(unheard('s', 'h'), 6 * MINUTE, same, ['h']);
      for (let tries = 0; tries < 3; tries += 1) w.abortFailed();
      expect(w.health()).toBe('wedged');
      serve(w, 5 * MINUTE, () => `${w.at}`, ['h']);
      expect(w.health()).toBe('busy');
      w.status('h', 'idle').poll({ s: BUSY });
      expect(w.acts('restart')).toEqual([]);
    });

    test('while it is wedged, and one that stays as it is still costs the restart', () => {
      const w = serve(unheard('s', 'h'), 6 * MINUTE, same, ['h']);
      for (let tries = 0; tries < 3; tries += 1) w.abortFailed();
      serve(w, 5 * MINUTE, same, ['h']);
      expect(w.health()).toBe('wedged');
      w.status('h', 'idle').poll({ s: BUSY });
      expect(w.acts('restart')).toHaveLength(1);
    });
  });

  test('nothing is looked at where the server does not answer', () => {
    const w = found();
    w.inspected()
      .probeFails(3)
      .forget()
      .advance(5 * MINUTE);
    expect(w.acts('inspect')).toEqual([]);
  });
});

test('equal inspections around a gap of the stream prove no silence where an answer was under way', () => {
  const gone = (inspect: Inspected) => {
    const w = world().prompt().lost().advance(SECOND).inspected('s', inspect);
    w.advance(9 * MINUTE)
      .poll({ s: BUSY })
      .connected()
      .inspected('s', inspect)
      .forget();
    return w.advance(2 * MINUTE).acts('inspect').length;
  };
  expect(gone({})).toBeGreaterThan(0);
  expect(gone({ answeringSince: 1 })).toBe(0);
});

test('a preparation that a transcript shows after a sign of life counts from that sign', () => {
  const w = world()
    .status('s', 'busy')
    .advance(9 * MINUTE)
    .text('s')
    .advance(SECOND);
  w.lost().connected().advance(SECOND).poll({ s: BUSY });
  w.inspected('s', { preparing: true });
  // An hour after the beginning, but less than an hour after the sign of life.
  w.advance(55 * MINUTE)
    .poll({ s: BUSY })
    .inspected('s', { preparing: true });
  expect(w.stuck()).toEqual([]);
  w.advance(6 * MINUTE)
    .poll({ s: BUSY })
    .inspected('s', { preparing: true });
  expect(w.stuck()).toEqual(['tool_time']);
});
