/**
 * Silence, and everything that explains it: tools, people, subagents, preparation, compaction, and time in which nobody
 * listened.
 */
import { describe, expect, test } from 'vitest';
import { MINUTE, policyWith, SECOND, type World, world } from '../driver.js';

const BUSY = { type: 'busy' } as const;
/** The stream is cut and back within `ms`, with the session still busy. */
const reconnect = (w: World, ms = SECOND): World =>
  w.lost().advance(ms).poll({ s: BUSY }).connected();

describe('a silent session', () => {
  test('is looked at closely first, and aborted when nothing explains the silence', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE);
    expect(w.acts()).toEqual([{ act: 'inspect', sessionID: 's', directory: '/p' }]);
    expect(w.stuck()).toEqual([]);
    w.advance(SECOND).inspected();
    expect(w.aborts()).toMatchObject([{ reason: 'silence', expect: 'active' }]);
    expect(w.notes('session.stuck')).toMatchObject([
      { limit: 10 * MINUTE, value: 10 * MINUTE + SECOND },
    ]);
  });

  test('is stalled at half of the limit, visible before it is acted on', () => {
    const w = world()
      .prompt()
      .advance(5 * MINUTE - 1);
    expect(w.health()).toBe('busy');
    expect(w.advance(1).health()).toBe('stalled');
    expect(w.text().health()).toBe('busy');
    expect(w.notes('session.health').slice(-2)).toMatchObject([
      { health: 'stalled', silentMs: 5 * MINUTE },
      { health: 'busy', silentMs: 0 },
    ]);
  });

  test('has a time without a sign of life; one that a tool, a person or a retry explains has none', () => {
    const w = world().prompt().advance(MINUTE);
    const shown = () => w.watchdog.session('s', w.at);
    expect(shown()).toMatchObject({ health: 'busy', silentMs: MINUTE });
    w.toolRuns().advance(MINUTE);
    expect(shown()).toMatchObject({ tool: 'bash' });
    expect(shown()).not.toHaveProperty('silentMs');
    const retrying = world()
      .poll({ s: { type: 'retry', attempt: 1, message: 'x' } })
      .advance(SECOND);
    expect(retrying.watchdog.session('s', retrying.at)).not.toHaveProperty('silentMs');
  });

  test('is left alone while it gives signs of life', () => {
    const w = world().prompt();
    for (let i = 0; i < 20; i += 1) w.advance(9 * MINUTE).text();
    expect(w.acts()).toEqual([]);
  });

  test('gives a sign of life with a new message, not with the repetition of one', () => {
    const w = world()
      .prompt()
      .advance(9 * MINUTE)
      .asks('s', 'm1')
      .advance(MINUTE);
    expect(w.acts('inspect')).toHaveLength(1);
    const next = world()
      .prompt()
      .advance(9 * MINUTE)
      .asks('s', 'm2')
      .advance(MINUTE);
    expect(next.acts('inspect')).toHaveLength(0);
  });

  test('is acted on when the inspection fails three times', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE);
    const fail = () =>
      w.tell({ kind: 'session.inspect_failed', sessionID: 's', error: 'no answer' });
    fail().advance(5 * SECOND);
    fail().advance(5 * SECOND);
    expect(w.acts('inspect')).toHaveLength(3);
    expect(w.aborts()).toEqual([]);
    fail();
    expect(w.aborts()).toHaveLength(1);
  });

  test('is not acted on for inspections that fail because the server does not answer at all', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE)
      .alive();
    for (let i = 0; i < 6; i += 1) {
      w.probeFails(1).tell({ kind: 'session.inspect_failed', sessionID: 's', error: 'no answer' });
      w.tell({ kind: 'stream.alive' }).probeFails(1, 1);
    }
    expect(w.aborts()).toEqual([]);
  });

  test('is inspected again when the inspection is never answered', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE)
      .advance(MINUTE);
    expect(w.acts('inspect')).toHaveLength(2);
  });

  test('is judged by an inspection of its own, not by one from before it fell silent', () => {
    const w = world().poll({ s: BUSY }).inspected('s', { mark: 'early' }).advance(SECOND).text();
    w.advance(10 * MINUTE).inspected('s', { mark: 'late' });
    expect(w.aborts()).toHaveLength(1);
  });

  test('is alive where its transcript moves without an event', () => {
    const w = world().poll({ s: BUSY }).inspected('s', { mark: 'a' });
    w.advance(10 * MINUTE).inspected('s', { mark: 'b' });
    expect(w.aborts()).toEqual([]);
    w.advance(10 * MINUTE).inspected('s', { mark: 'b' });
    expect(w.aborts()).toHaveLength(1);
  });

  test('is never acted on with maxSilence 0', () => {
    const w = world({ policy: { stall: { maxSilence: 0 } } }).prompt();
    expect(w.advance(600 * MINUTE).acts()).toEqual([]);
  });

  test('in an attempt that made progress and then hung is caught by silence', () => {
    const w = world()
      .prompt()
      .fails('s', 1)
      .advance(2 * SECOND)
      .status('s', 'busy')
      .text();
    w.advance(10 * MINUTE).inspected();
    expect(w.stuck()).toEqual(['silence']);
  });

  test('in a long announced wait is not silent before the attempt is due', () => {
    const policy = { retry: { maxWait: 0, maxDuration: 0 }, stall: { maxSilence: MINUTE } };
    const w = world({ policy })
      .prompt()
      .fails('s', 1, { nextInMs: 30 * MINUTE });
    expect(w.advance(30 * MINUTE).acts()).toEqual([]);
    expect(w.advance(MINUTE).acts('inspect')).toHaveLength(1);
  });
});

describe('an inspection that shows nothing new', () => {
  const answering = (w: World) => ({ answeringSince: w.at - 11 * MINUTE });
  const silent = (w: World) =>
    w
      .prompt()
      .advance(10 * MINUTE)
      .inspected();

  for (const [what, of] of [
    ['', () => ({})],
    [' in the middle of an answer', answering],
  ] as const) {
    test(`leaves a silent run wedged after a cut of the stream${what}`, () => {
      const policy = { restart: { waitForHealthy: 60 * MINUTE } };
      const w = silent(world({ policy }).prompt('h').toolRuns('h'));
      for (let tries = 0; tries < 3; tries += 1) w.abortFailed();
      expect(w.health()).toBe('wedged');
      w.forget().lost().advance(SECOND).poll({ s: BUSY, h: BUSY }).connected();
      w.inspected('s', of(w));
      expect(w.health()).toBe('wedged');
      expect(w.notes('session.recovered')).toEqual([]);
      w.status('h', 'idle');
      expect(w.acts('restart')).toHaveLength(1);
    });

    test(`leaves the decision of a pause as it is after a cut of the stream${what}`, () => {
      const w = silent(world().tell({ kind: 'acts.paused' })).abortSkipped();
      reconnect(w.forget().advance(2 * MINUTE)).inspected('s', of(w));
      expect(w.health()).toBe('stuck');
      expect(w.notes('session.recovered')).toEqual([]);
    });
  }

  test('is followed by the abort after a pause, also if the stream was cut in the pause', () => {
    const w = silent(world().tell({ kind: 'acts.paused' })).abortSkipped();
    reconnect(w.forget().advance(2 * MINUTE)).inspected();
    w.advance(MINUTE).tell({ kind: 'acts.resumed' }).inspected();
    expect(w.notes('session.recovered')).toEqual([]);
    expect(w.aborts()).toHaveLength(1);
  });

  test('is followed by the abort that the server was too ill for', () => {
    const w = silent(world({ acts: false }))
      .forget()
      .probeFails(3, 4 * SECOND)
      .abortFailed();
    w.probeOk().inspected();
    expect(w.notes('session.recovered')).toEqual([]);
    expect(w.aborts()).toHaveLength(1);
  });

  test('in the middle of an answer is no proof that a cut of the stream hid no text', () => {
    const w = silent(world({ acts: false }))
      .forget()
      .lost()
      .probeFails(3)
      .abortFailed();
    w.probeOk().connected();
    w.inspected('s', answering(w));
    expect(w.aborts()).toEqual([]);
  });
});

describe('a running tool', () => {
  test('explains any silence', () => {
    const w = world()
      .prompt()
      .toolRuns()
      .advance(59 * MINUTE);
    expect(w.acts()).toEqual([]);
    expect(w.health()).toBe('busy');
  });

  test('is limited from its own start, not from when it was last heard of', () => {
    const w = world().prompt();
    const startedAt = w.at;
    w.advance(9 * MINUTE)
      .toolRuns('s', { startedAt })
      .advance(30 * MINUTE)
      .toolRuns('s', { startedAt });
    w.advance(21 * MINUTE - 1);
    expect(w.acts()).toEqual([]);
    w.advance(1).inspected('s', { tools: [{ callID: 'c1', tool: 'bash', startedAt }] });
    expect(w.notes('session.stuck')).toMatchObject([{ reason: 'tool_time', tool: 'bash' }]);
    expect(w.aborts()).toHaveLength(1);
  });

  test('that the inspection does not find has ended: silence counts from there', () => {
    const w = world()
      .prompt()
      .toolRuns()
      .advance(60 * MINUTE);
    expect(w.acts('inspect')).toHaveLength(1);
    w.inspected('s', { tools: [] });
    expect(w.stuck()).toEqual(['silence']);
  });

  test('is not charged for the time that a person took to answer', () => {
    const w = world()
      .prompt()
      .toolRuns()
      .asked()
      .advance(120 * MINUTE)
      .answered();
    w.advance(59 * MINUTE);
    expect(w.stuck()).toEqual([]);
    expect(w.acts()).toEqual([]);
  });

  test('is not charged for it by an inspection either, which knows only the wire time', () => {
    const w = world().prompt().toolRuns().asked();
    const tools = [{ callID: 'c1', tool: 'bash', startedAt: w.at }];
    w.advance(120 * MINUTE)
      .answered()
      .advance(30 * MINUTE);
    reconnect(w).inspected('s', { tools });
    expect(w.advance(20 * MINUTE).stuck()).toEqual([]);
  });

  test('is not charged for a wait that began before the daemon did', () => {
    const w = world().poll({ s: BUSY });
    w.inspected('s', {
      tools: [{ callID: 'c1', tool: 'bash', startedAt: w.at - 300 * MINUTE }],
      requests: [{ requestID: 'r1', on: 'permission' }],
    });
    w.advance(MINUTE)
      .answered()
      .advance(59 * MINUTE);
    expect(w.stuck()).toEqual([]);
  });

  test('is not charged for a wait that was over when its run was found', () => {
    const w = world().advance(MINUTE).answered('s', 'r1').poll({ s: BUSY });
    const tools = [{ callID: 'c1', tool: 'bash', startedAt: w.at - 64 * 60 * MINUTE }];
    w.inspected('s', { tools });
    w.advance(59 * MINUTE);
    expect(w.stuck()).toEqual([]);
    w.advance(MINUTE).inspected('s', { tools });
    expect(w.stuck()).toEqual(['tool_time']);
  });

  test('is not charged for an old request that the lists show before an inspection does', () => {
    const w = world().advance(MINUTE).poll({ s: BUSY }).asked();
    const tools = [{ callID: 'c1', tool: 'bash', startedAt: w.at - 64 * 60 * MINUTE }];
    w.inspected('s', { tools, requests: [{ requestID: 'r1', on: 'permission' }] });
    w.advance(5 * MINUTE)
      .answered()
      .advance(59 * MINUTE);
    expect(w.stuck()).toEqual([]);
    expect(w.acts('inspect')).toHaveLength(1);
  });

  test('is not charged for a wait that came and went while the stream was cut', () => {
    const w = world().prompt().advance(MINUTE);
    const tools = [{ callID: 'c1', tool: 'bash', startedAt: w.at + SECOND }];
    reconnect(w, 120 * MINUTE).inspected('s', { tools, mark: 'new' });
    w.advance(59 * MINUTE);
    expect(w.stuck()).toEqual([]);
    w.advance(MINUTE).inspected('s', { tools, mark: 'new' });
    expect(w.stuck()).toEqual(['tool_time']);
  });

  test('is not charged for a wait whose beginning went unheard', () => {
    const w = world()
      .prompt()
      .toolRuns()
      .advance(120 * MINUTE - 61 * MINUTE)
      .answered('s', 'unknown');
    expect(w.notes('session.answered')).toEqual([]);
    w.advance(59 * MINUTE);
    expect(w.acts()).toEqual([]);
    const found = world()
      .prompt()
      .advance(MINUTE)
      .answered('s', 'unknown')
      .advance(10 * MINUTE);
    found.inspected('s', {
      tools: [{ callID: 'c', tool: 'bash', startedAt: found.at - 100 * MINUTE }],
    });
    expect(found.stuck()).toEqual([]);
  });

  test('that ended while the stream was cut explains nothing after it', () => {
    const w = world().prompt().toolRuns().advance(MINUTE);
    reconnect(w).inspected('s', { tools: [] });
    expect(w.advance(10 * MINUTE).acts('inspect')).toHaveLength(2);
    expect(w.inspected('s', { tools: [] }).stuck()).toEqual(['silence']);
  });

  test('that ended while the stream was cut is dropped although text was heard before the look came back', () => {
    const w = world().prompt().toolRuns().advance(MINUTE);
    reconnect(w);
    const asked = w.at;
    w.advance(50).text().advance(50).inspected('s', { tools: [] }, asked);
    w.advance(10 * MINUTE);
    expect(w.acts('inspect')).toHaveLength(2);
  });
});

describe('a session that waits for a person', () => {
  test('waits as long as the person takes, and says so once', () => {
    const w = world()
      .prompt()
      .toolRuns()
      .asked()
      .asked()
      .advance(600 * MINUTE);
    expect(w.notes('session.waiting')).toMatchObject([{ on: 'permission', requestID: 'r1' }]);
    expect(w.acts()).toEqual([]);
    expect(w.health()).toBe('waiting');
    w.answered();
    expect(w.notes('session.answered')).toMatchObject([{ by: 'person', forMs: 600 * MINUTE }]);
    expect(w.health()).toBe('busy');
  });

  test('that was found by an inspection is left alone', () => {
    const w = world()
      .prompt()
      .advance(10 * MINUTE);
    w.inspected('s', { requests: [{ requestID: 'r9', on: 'question' }] });
    expect(w.health()).toBe('waiting');
    expect(w.advance(600 * MINUTE).aborts()).toEqual([]);
  });

  test('is not seen in the next run where the inspection was begun in the run before', () => {
    const w = world().prompt().asked();
    const startedAt = w.at;
    w.advance(500).answered().status('s', 'idle').prompt();
    const requests = [{ requestID: 'r1', on: 'permission' as const }];
    w.advance(200).inspected('s', { requests }, startedAt);
    expect(w.health()).toBe('busy');
  });

  test('whose answer was missed while the stream was cut waits no more', () => {
    const w = world().prompt().asked().advance(MINUTE);
    reconnect(w).inspected('s', { requests: [] });
    expect(w.health()).toBe('busy');
    expect(w.notes('session.answered')).toHaveLength(1);
  });

  test('for two answers too long is told with each answer how many are left', () => {
    const w = world({ policy: { waiting: { maxDuration: MINUTE } } })
      .prompt()
      .asked()
      .advance(SECOND)
      .asked('s', 'question', 'r2')
      .advance(MINUTE)
      .asked('s', 'question', 'r3');
    expect(w.stuck()).toEqual(['waiting', 'waiting']);
    w.answered('s', 'r1').answered('s', 'r2').answered('s', 'r3');
    // The third is no older than its limit.
    expect(w.notes('session.answered').map(({ overdue }) => overdue)).toEqual([
      1,
      undefined,
      undefined,
    ]);
  });

  test('is reported once with waiting.action report', () => {
    const w = world({ policy: { waiting: { maxDuration: MINUTE } } })
      .prompt()
      .asked();
    w.advance(30 * MINUTE);
    expect(w.stuck()).toEqual(['waiting']);
    expect(w.acts()).toEqual([]);
    expect(w.health()).toBe('waiting');
  });

  test('is answered no with waiting.action reject, and the run goes on', () => {
    const waiting = { maxDuration: MINUTE, action: 'reject' } as const;
    const w = world({ policy: { waiting } }).prompt().asked('s', 'question').advance(MINUTE);
    expect(w.acts()).toEqual([
      {
        act: 'reject',
        sessionID: 's',
        directory: '/p',
        request: { requestID: 'r1', on: 'question' },
      },
    ]);
    w.answered().advance(MINUTE);
    expect(w.notes('session.answered')).toMatchObject([{ by: 'watchdog', forMs: MINUTE }]);
    expect(w.acts('reject')).toHaveLength(1);
  });

  describe('whose rejection', () => {
    const REJECT = { maxDuration: MINUTE, action: 'reject' } as const;
    const pending = { requests: [{ requestID: 'r1', on: 'permission' as const }] };
    const rejecting = () =>
      world({ policy: { waiting: REJECT } })
        .prompt()
        .asked()
        .advance(MINUTE);
    const fails = (w: World) =>
      w.tell({ kind: 'reject.failed', sessionID: 's', requestID: 'r1', error: 'no answer' });
    const skipped = (w: World) =>
      w.tell({ kind: 'reject.skipped', sessionID: 's', requestID: 'r1' });

    test('fails is rejected again after a while, and reported once', () => {
      const w = fails(rejecting()).inspected('s', pending);
      w.advance(29 * SECOND);
      expect(w.acts('reject')).toHaveLength(1);
      w.advance(SECOND);
      expect(w.acts('reject')).toHaveLength(2);
      expect(w.stuck()).toEqual(['waiting']);
      fails(w)
        .inspected('s', pending)
        .advance(30 * SECOND);
      expect(w.acts('reject')).toHaveLength(3);
    });

    test('fails because a person was quicker is not rejected again', () => {
      const w = fails(rejecting());
      expect(w.acts('inspect')).toHaveLength(1);
      w.inspected().advance(MINUTE);
      expect(w.acts('reject')).toHaveLength(1);
      expect(w.notes('session.answered')).toMatchObject([{ by: 'person' }]);
    });

    test('a pause left undone is rejected when the pause ends, and reported once', () => {
      const w = world({ policy: { waiting: REJECT } }).tell({ kind: 'acts.paused' });
      skipped(w.prompt().asked().advance(MINUTE)).advance(60 * MINUTE);
      expect(w.acts('reject')).toHaveLength(1);
      w.tell({ kind: 'acts.resumed' });
      expect(w.acts('reject')).toHaveLength(2);
      expect(w.stuck()).toEqual(['waiting']);
    });

    test('a dry run left undone is not decided again and again', () => {
      expect(
        skipped(rejecting())
          .advance(60 * MINUTE)
          .acts('reject'),
      ).toHaveLength(1);
    });
  });

  describe('that was reported', () => {
    const reported = () =>
      world({ policy: { waiting: { maxDuration: MINUTE } } })
        .prompt()
        .asked()
        .advance(MINUTE);
    const reload = (w: World, action: 'reject' | 'abort') =>
      w.tell({
        kind: 'policy.changed',
        policy: policyWith({ waiting: { maxDuration: MINUTE, action } }),
      });

    test('is rejected after a reload with action reject, and not reported again', () => {
      const w = reload(reported(), 'reject');
      expect(w.acts('reject')).toHaveLength(1);
      expect(w.stuck()).toEqual(['waiting']);
    });

    test('is aborted after a reload with action abort, and not reported again', () => {
      const w = reload(reported(), 'abort');
      w.inspected('s', { requests: [{ requestID: 'r1', on: 'permission' }] });
      expect(w.aborts()).toMatchObject([{ reason: 'waiting' }]);
      expect(w.stuck()).toEqual(['waiting']);
    });
  });

  test('is aborted with waiting.action abort, after an inspection', () => {
    const waiting = { maxDuration: MINUTE, action: 'abort' } as const;
    const w = world({ policy: { waiting } }).prompt().asked().advance(MINUTE);
    expect(w.acts().map((each) => each.act)).toEqual(['inspect']);
    w.inspected('s', { requests: [{ requestID: 'r1', on: 'permission' }] });
    expect(w.aborts()).toMatchObject([{ reason: 'waiting' }]);
  });
});

describe('a session that delegates', () => {
  const task = { callID: 't', tool: 'task', childID: 'c' };
  const delegating = () =>
    world().prompt('s').toolRuns('s', task).info('c', { parentID: 's' }).prompt('c');

  test('is delegating as soon as its subagent is at work', () => {
    expect(delegating().health('s')).toBe('delegating');
  });

  test('is never touched while its subagent is active, at any depth', () => {
    const w = delegating().toolRuns('c', { callID: 'u', tool: 'task', childID: 'd' }).prompt('d');
    for (let i = 0; i < 20; i += 1) w.advance(9 * MINUTE).text('d');
    expect(w.health('s')).toBe('delegating');
    expect(w.health('c')).toBe('delegating');
    expect(w.acts()).toEqual([]);
  });

  test('has its stuck leaf aborted, and goes on itself', () => {
    const w = delegating().fails('c', 5);
    expect(w.acts('abort').map((each) => each.sessionID)).toEqual(['c']);
    w.abortDone('c').toolEnds('s', 't').stepFinished('s').asks('s', 'next').text('s');
    expect(w.health('s')).toBe('busy');
    expect(w.aborts('s')).toEqual([]);
  });

  test('and is left busy after its subagent ended is silent from there on', () => {
    const w = delegating()
      .advance(30 * MINUTE)
      .text('c')
      .status('c', 'idle')
      .forget();
    w.advance(10 * MINUTE - 1);
    expect(w.acts()).toEqual([]);
    w.advance(1).inspected('s', { tools: [{ ...task, startedAt: 1_000_000 }] });
    expect(w.aborts('s')).toMatchObject([{ reason: 'silence' }]);
  });

  test('through a tool that does not name its subagent is not limited by that tool', () => {
    const w = world().prompt('s').toolRuns('s', { callID: 't', tool: 'task' });
    w.info('c', { parentID: 's' }).prompt('c');
    for (let i = 0; i < 10; i += 1) w.advance(9 * MINUTE).text('c');
    expect(w.acts()).toEqual([]);
  });
});

describe('a run whose model was not asked yet', () => {
  test('is preparing: plugins install, and maxToolTime is its limit', () => {
    const w = world();
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'u' }).status('s', 'busy');
    w.advance(60 * MINUTE - 1);
    expect(w.acts()).toEqual([]);
    w.advance(1).inspected('s', { preparing: true });
    expect(w.notes('session.stuck')).toMatchObject([{ reason: 'tool_time', tool: '(preparing)' }]);
  });

  test('stands still while the server is frozen', () => {
    const w = world({ acts: false });
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'u' }).status('s', 'busy');
    w.advance(50 * MINUTE)
      .probeOk()
      .probeFails(3);
    expect(w.watchdog.server.health()).toBe('unresponsive');
    w.advance(20 * MINUTE)
      .probeOk()
      .advance(9 * MINUTE);
    expect(w.acts('inspect')).toEqual([]);
    w.advance(2 * MINUTE).inspected('s', { preparing: true });
    expect(w.aborts()).toMatchObject([{ reason: 'tool_time' }]);
  });

  test('is not seen in the run after one whose prompt was repeated at its end', () => {
    const w = world().prompt().status('s', 'idle');
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'u1' }).status('s', 'busy');
    expect(w.advance(10 * MINUTE).acts('inspect')).toHaveLength(1);
  });

  test('is not seen where a second prompt waits behind a hung answer', () => {
    const w = world().prompt();
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'second' });
    w.advance(10 * MINUTE).inspected('s', { preparing: true });
    expect(w.stuck()).toEqual(['silence']);
  });

  test('is over when its first message came before busy', () => {
    const w = world();
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'u' });
    w.asks('s', 'm')
      .status('s', 'busy')
      .advance(10 * MINUTE);
    expect(w.acts('inspect')).toHaveLength(1);
  });
});

describe('a compaction', () => {
  test('explains silence until it ends', () => {
    const w = world().prompt().tell({ kind: 'session.compacting', sessionID: 's' });
    w.advance(50 * MINUTE);
    expect(w.acts()).toEqual([]);
    w.tell({ kind: 'session.compacted', sessionID: 's' }).advance(10 * MINUTE);
    expect(w.acts('inspect')).toHaveLength(1);
  });

  test('whose end may have been missed explains nothing any more', () => {
    const w = world().prompt().tell({ kind: 'session.compacting', sessionID: 's' });
    reconnect(w)
      .inspected()
      .advance(10 * MINUTE);
    expect(w.inspected().stuck()).toEqual(['silence']);
  });
});

describe('time in which nobody listened', () => {
  test('is not held against a session: silence counts from the resync', () => {
    const w = world()
      .prompt()
      .advance(9 * MINUTE);
    reconnect(w, 5 * MINUTE).advance(9 * MINUTE);
    expect(w.aborts()).toEqual([]);
    expect(w.advance(MINUTE).inspected().aborts()).toHaveLength(1);
  });

  test('does not count while the stream is lost', () => {
    const w = world()
      .prompt()
      .lost()
      .advance(60 * MINUTE);
    expect(w.acts()).toEqual([]);
  });

  test('does not hide a hung session behind a flapping stream: an unmoved transcript reaches back', () => {
    const w = world().prompt();
    for (let i = 0; i < 12 && w.aborts().length === 0; i += 1) {
      w.advance(MINUTE);
      reconnect(w).inspected('s', { mark: 'same' });
    }
    // Inspections begin at a quarter of the limit. From the first one on the silence is proven.
    expect(w.aborts()).toMatchObject([{ reason: 'silence' }]);
    expect(w.at - 1_000_000).toBeLessThanOrEqual(14 * MINUTE);
  });

  test('is not made up for by what was written in it: the transcript moved while nobody listened', () => {
    const w = world().lost().poll({ s: BUSY }).inspected('s', { mark: 'a' }).advance(MINUTE);
    w.connected()
      .advance(10 * MINUTE)
      .inspected('s', { mark: 'b' });
    expect(w.aborts()).toHaveLength(1);
  });

  test('reaches back no further than the first inspection that proves it', () => {
    const w = world().prompt();
    reconnect(w, 9 * MINUTE).inspected('s', { mark: 'same' });
    w.advance(SECOND);
    reconnect(w).inspected('s', { mark: 'same' });
    w.advance(9 * MINUTE);
    expect(w.acts('abort')).toEqual([]);
    w.advance(MINUTE).inspected('s', { mark: 'same' });
    expect(w.acts('abort')).toHaveLength(1);
  });

  test('is not held against a session where the server was frozen', () => {
    const w = world({ acts: false })
      .prompt()
      .advance(9 * MINUTE)
      .probeFails(3);
    expect(w.watchdog.server.health()).toBe('unresponsive');
    w.advance(20 * MINUTE).probeOk();
    expect(w.acts()).toEqual([]);
    w.advance(9 * MINUTE);
    expect(w.acts()).toEqual([]);
    w.advance(MINUTE).inspected();
    expect(w.aborts()).toHaveLength(1);
  });
});

describe('a run that is found by a poll', () => {
  test('is looked at: tools may be running and people may have been asked', () => {
    const w = world().poll({ s: BUSY });
    expect(w.acts('inspect')).toHaveLength(1);
    w.inspected('s', { tools: [{ callID: 'c', tool: 'bash', startedAt: w.at - 50 * MINUTE }] });
    w.advance(60 * MINUTE);
    expect(w.acts('inspect')).toHaveLength(2);
    w.poll({ s: BUSY });
    expect(w.acts('inspect')).toHaveLength(2);
  });

  test('in retry since before the daemon started is aborted like any other', () => {
    const w = world().poll({ s: { type: 'retry', attempt: 7, message: 'x', nextInMs: 9_000 } });
    expect(w.aborts()).toMatchObject([{ reason: 'attempts', directory: '/p' }]);
  });
});

describe('a ghost', () => {
  test('is a run that goes on after its session was deleted', () => {
    const w = world().prompt().fails('s', 1).deleted();
    expect(w.aborts()).toMatchObject([{ reason: 'ghost', expect: 'active', directory: '/p' }]);
    w.abortDone();
    expect(w.watchdog.sessions(w.at)).toEqual([]);
  });

  test('is a status entry whose session is not found', () => {
    const w = world().poll({ s: BUSY }).inspected('s', 'gone');
    expect(w.aborts()).toMatchObject([{ reason: 'ghost' }]);
  });

  test('is forgotten with its run, also where the stream shows the end first', () => {
    const w = world().prompt().deleted().status('s', 'idle').abortDone().prompt();
    expect(w.aborts()).toHaveLength(1);
    expect(w.health()).toBe('busy');
  });

  test('is not made of a run that ended with its session, where an older answer still lists it', () => {
    const w = world().prompt();
    const startedAt = w.at;
    w.advance(10).status('s', 'idle').deleted().poll({ s: BUSY }, { startedAt });
    expect(w.watchdog.sessions(w.at)).toEqual([]);
    // A newer answer overrides any event.
    w.advance(10).poll({ s: BUSY });
    expect(w.health()).toBe('busy');
  });

  test('is not made of an idle session that is deleted, or not found', () => {
    const w = world().prompt().status('s', 'idle').deleted();
    expect(w.acts()).toEqual([]);
    w.prompt().status('s', 'idle').inspected('s', 'gone').prompt();
    expect(w.acts()).toEqual([]);
  });
});

describe('the limit of a whole run', () => {
  test('holds whatever the run does', () => {
    const w = world({ policy: { stall: { maxRunTime: 30 * MINUTE } } }).prompt();
    for (let i = 0; i < 10; i += 1) w.advance(3 * MINUTE).text();
    expect(w.aborts()).toMatchObject([{ reason: 'run_time' }]);
    w.text().text();
    expect(w.aborts()).toHaveLength(1);
  });
});

describe('a disposed directory', () => {
  test('takes its runs with it', () => {
    const w = world().prompt('s').prompt('t', { directory: '/q' });
    w.advance(MINUTE).tell({ kind: 'directory.disposed', directory: '/p' });
    expect([w.health('s'), w.health('t')]).toEqual(['idle', 'busy']);
  });

  test('leaves a run alone that may have begun after the dispose: the next poll tells', () => {
    const w = world().prompt('s').prompt('t').advance(SECOND);
    for (const id of ['s', 't']) w.error(id, 'MessageAbortedError').status(id, 'idle');
    w.advance(300).prompt('s').prompt('t').advance(1_200);
    w.tell({ kind: 'directory.disposed', directory: '/p' });
    expect([w.health('s'), w.health('t')]).toEqual(['busy', 'busy']);
    expect(w.notes('directory.disposed')).toMatchObject([{ interrupted: [] }]);
    w.advance(SECOND).poll({ s: BUSY });
    expect([w.health('s'), w.health('t')]).toEqual(['busy', 'idle']);
  });
});

describe('a time that comes from the wire', () => {
  const hour = 60 * MINUTE;

  test('is not older for the time that the daemon did not run', () => {
    const w = world().prompt().asks();
    w.tell({ kind: 'gap', ms: 3 * hour });
    // By the wall clock the tool began 3 h and 1 min ago. 1 min of that was observed.
    w.toolRuns('s', { startedAt: w.at - 3 * hour - MINUTE });
    expect(w.advance(58 * MINUTE).acts()).toEqual([]);
    w.advance(2 * MINUTE);
    expect(w.acts('inspect').length).toBeGreaterThan(0);
  });

  test('that lies within a gap begins at its end, and one after it where it says', () => {
    const w = world().prompt().asks();
    w.tell({ kind: 'gap', ms: 3 * hour });
    const at = w.at;
    w.toolRuns('s', { callID: 'within', startedAt: at - hour });
    w.advance(30 * MINUTE).toolRuns('s', { callID: 'after', startedAt: w.at - MINUTE });
    expect(w.advance(29 * MINUTE).acts()).toEqual([]);
    w.advance(MINUTE);
    expect(w.acts('inspect').length).toBeGreaterThan(0);
  });
});

test('a compaction that goes on across a reconnect is seen by the inspection that follows', () => {
  const w = world().prompt().asks().tell({ kind: 'session.compacting', sessionID: 's' });
  w.lost().connected();
  w.inspected('s', { compacting: true });
  expect(w.advance(11 * MINUTE).stuck()).toEqual([]);
  const ended = world().prompt().asks().tell({ kind: 'session.compacting', sessionID: 's' });
  ended.lost().connected();
  ended.inspected('s', { compacting: false }).advance(10 * MINUTE);
  expect(ended.acts('inspect').length).toBeGreaterThan(1);
});

test('a compaction whose end was missed is over, whatever was heard while the transcript was read', () => {
  const w = world().prompt().asks().tell({ kind: 'session.compacting', sessionID: 's' });
  reconnect(w);
  const startedAt = w.at;
  w.advance(SECOND).text().advance(SECOND).inspected('s', { compacting: false }, startedAt);
  const inspections = w.acts('inspect').length;
  expect(w.advance(10 * MINUTE).acts('inspect').length).toBeGreaterThan(inspections);
});

describe('a server that is not responding', () => {
  /** Twenty seconds in which two probes fail and nothing else is received. */
  const starve = (w: World) => w.probeFails(2).advance(10 * SECOND);
  const healthy = (w: World) => w.tell({ kind: 'probe.ok', startedAt: w.at - 1 });
  const well = (w: World, ms: number) => {
    for (let passed = 0; passed < ms; passed += 5 * SECOND) healthy(w.advance(5 * SECOND));
    return w;
  };

  test('does not make its sessions silent: that time is held against none', () => {
    const w = well(world().prompt(), 9 * MINUTE);
    healthy(starve(w));
    well(w, 50 * SECOND);
    expect(w.acts()).toEqual([]);
    w.advance(10 * SECOND);
    expect(w.acts('inspect')).toHaveLength(1);
    w.inspected();
    expect(w.notes('session.stuck')).toMatchObject([{ reason: 'silence', value: 10 * MINUTE }]);
  });

  test('is heard again by the answer to an inspection as by any other word', () => {
    const w = well(world().prompt(), 10 * MINUTE - 15 * SECOND);
    starve(w);
    expect(w.acts('inspect')).toHaveLength(1);
    w.inspected('s', { mark: 'a' });
    expect(w.aborts()).toEqual([]);
    well(w, 15 * SECOND).inspected('s', { mark: 'a' });
    expect(w.aborts()).toHaveLength(1);
  });

  test('is one thing, one whose stream beats or whose polls are answered another: there silence is silence', () => {
    for (const word of ['stream.alive', 'poll'] as const) {
      const w = well(world().prompt(), 10 * MINUTE - 20 * SECOND);
      for (let i = 0; i < 2; i += 1) {
        w.probeFails(1, 9 * SECOND).advance(SECOND);
        if (word === 'poll') w.poll({ s: BUSY });
        else w.tell({ kind: 'stream.alive', heartbeatMs: 10 * SECOND });
      }
      w.inspected();
      expect(w.stuck(), word).toEqual(['silence']);
    }
  });

  test('is not asked to abort, and no abort that failed meanwhile counts', () => {
    const w = world({ policy: { abort: { maxTries: 2 } } }).prompt();
    w.fails('s', 1).fails('s', 2).fails('s', 3).fails('s', 4).fails('s', 5);
    const failed = () => w.tell({ kind: 'abort.failed', sessionID: 's', error: 'no answer' });
    expect(w.aborts()).toHaveLength(1);
    w.probeFails(1);
    failed().advance(4 * SECOND);
    expect(w.aborts()).toHaveLength(1);
    healthy(w).advance(SECOND);
    expect(w.aborts()).toMatchObject([{ try: 1 }, { try: 1 }]);
    failed();
    expect(w.aborts()).toHaveLength(3);
    failed();
    expect(w.notes('session.wedged')).toMatchObject([{ tries: 2 }]);
  });
});
