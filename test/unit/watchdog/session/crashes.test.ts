/** After the server died, runs are continued one after the other, and the run that kills it is found. */
import { describe, expect, test } from 'vitest';
import { MINUTE, type PolicyChange, policyWith, SECOND, type World, world } from '../driver.js';

const on = (recover: PolicyChange['recover'] = {}): PolicyChange => ({
  recover: { afterRestart: 'continue', ...recover },
});
const continues = (w: World) => w.acts('continue').map(({ sessionID }) => sessionID);
const quarantined = (w: World) =>
  w.notes('session.quarantined').map(({ sessionID, crashes }) => `${sessionID} ${crashes}`);
const goesOn = (w: World, id: string) =>
  w.prompt(id).tell({ kind: 'continue.done', sessionID: id, model: 'fake/m1' });
const atWork = (w: World, ...ids: string[]) => {
  for (const id of ids) w.prompt(id).text(id);
  return w;
};
/** There is a pause before the second restart. */
const crash = (w: World) =>
  w
    .exits()
    .advance(5 * SECOND)
    .restartDone()
    .connected();

describe('after a crash', () => {
  test('the runs go on one after the other: when the last has finished a step, has ended, or works for a minute', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b', 'c', 'd'));
    expect(w.acts('continue')).toMatchObject([{ sessionID: 'a', because: 'crash' }]);
    goesOn(w, 'a').advance(10 * SECOND);
    expect(continues(w)).toEqual(['a']);
    w.stepFinished('a').advance(SECOND);
    expect(continues(w)).toEqual(['a', 'b']);
    goesOn(w, 'b').status('b', 'idle').advance(SECOND);
    expect(continues(w)).toEqual(['a', 'b', 'c']);
    goesOn(w, 'c').advance(MINUTE + SECOND);
    expect(continues(w)).toEqual(['a', 'b', 'c', 'd']);
  });

  test('a subagent does not go on, also where an answer that came after the crash was the first to say what it is', () => {
    const w = atWork(world({ policy: on() }), 'a', 'child').exits();
    w.inspected('child', { info: { parentID: 'a' } }, w.at - 100);
    w.advance(5 * SECOND)
      .restartDone()
      .connected();
    goesOn(w, 'a').stepFinished('a').advance(MINUTE);
    expect(continues(w)).toEqual(['a']);
  });

  test('no more go on after a reload that switches it off', () => {
    const w = goesOn(crash(atWork(world({ policy: on() }), 'a', 'b')), 'a');
    w.tell({ kind: 'policy.changed', policy: policyWith() });
    expect(w.watchdog.crashes.atWork().map(({ sessionID }) => sessionID)).toEqual(['a']);
    w.stepFinished('a').advance(10 * MINUTE);
    expect(continues(w)).toEqual(['a']);
  });

  test('one that could not be continued holds up no other', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b'));
    w.tell({ kind: 'continue.failed', sessionID: 'a', error: 'answered 500' }).advance(SECOND);
    expect(continues(w)).toEqual(['a', 'b']);
  });

  test('all go on at once after a restart that was decided', () => {
    const w = atWork(world({ policy: on() }), 'a', 'b', 'c');
    w.tell({ kind: 'restart.requested', reason: 'manual' }).restartDone();
    expect(w.acts('continue').map(({ because }) => because)).toEqual([
      'restart',
      'restart',
      'restart',
    ]);
  });

  test('after a decided restart too, one that came to its own end meanwhile is left alone', () => {
    const w = atWork(world({ policy: on() }), 'a').tell({
      kind: 'restart.requested',
      reason: 'manual',
    });
    w.advance(SECOND).stepFinished('a').status('a', 'idle').restartDone();
    // Nobody heard of that end, so the transcript is asked.
    expect(w.acts('continue')).toMatchObject([{ sessionID: 'a', cutMessageID: 'm1' }]);
    w.tell({ kind: 'continue.failed', sessionID: 'a', error: 'used', superseded: true });
    expect(w.notes('session.continue_failed')).toEqual([]);
  });

  test('in a pause all go on when it ends, unless somebody has used the session meanwhile', () => {
    const w = atWork(world({ policy: on() }), 'a', 'b').tell({ kind: 'acts.paused' });
    w.tell({ kind: 'restart.requested', reason: 'manual' }).restartDone().connected();
    w.advance(MINUTE).prompt('b').text('b').stepFinished('b').status('b', 'idle');
    expect(continues(w)).toEqual([]);
    w.tell({ kind: 'acts.resumed' });
    // A prompt may have been missed, so the transcript is asked as well.
    expect(w.acts('continue')).toMatchObject([
      { sessionID: 'a', because: 'restart', cutMessageID: 'm1' },
    ]);
    w.advance(10 * MINUTE)
      .tell({ kind: 'acts.paused' })
      .tell({ kind: 'acts.resumed' });
    expect(continues(w)).toEqual(['a']);
  });

  test('in a pause what a restart and then a crash have cut goes on when it ends', () => {
    const w = atWork(world({ policy: on() }), 'a').tell({ kind: 'acts.paused' });
    w.tell({ kind: 'restart.requested', reason: 'manual' }).restartDone().connected();
    crash(atWork(w.advance(MINUTE), 'b'));
    expect(continues(w)).toEqual([]);
    w.tell({ kind: 'acts.resumed' });
    goesOn(w, 'a').stepFinished('a').advance(SECOND);
    expect(continues(w)).toEqual(['a', 'b']);
  });

  test('one whose prompt fell into a pause goes on when it ends, unless a person wants it aborted', () => {
    const policy = on({ maxPerSession: 1 });
    const w = crash(atWork(world({ policy }), 'a', 'b')).tell({ kind: 'acts.paused' });
    w.tell({ kind: 'continue.skipped', sessionID: 'a' }).advance(10 * MINUTE);
    expect(continues(w)).toEqual(['a']);
    w.tell({ kind: 'acts.resumed' }).advance(SECOND);
    expect(continues(w)).toEqual(['a', 'a']);
    const unwanted = crash(atWork(world({ policy }), 'a')).tell({ kind: 'acts.paused' });
    unwanted.tell({ kind: 'abort.requested', by: 'command', sessionID: 'a' });
    unwanted.tell({ kind: 'continue.skipped', sessionID: 'a' }).abortWithdrawn('a', 'idle');
    expect(continues(unwanted.tell({ kind: 'acts.resumed' }).advance(MINUTE))).toEqual(['a']);
    // In a dry run nothing is ever sent.
    const dry = crash(atWork(world({ policy }), 'a', 'b'));
    expect(continues(dry.tell({ kind: 'continue.skipped', sessionID: 'a' }).advance(1))).toEqual([
      'a',
      'b',
    ]);
  });

  test('in a pause that ends while the server is down, they go on when it is back', () => {
    const w = atWork(world({ policy: on(), acts: false }), 'a').tell({ kind: 'acts.paused' });
    w.exits().tell({ kind: 'acts.resumed' }).advance(MINUTE);
    expect(continues(w)).toEqual([]);
    expect(continues(w.probeOk())).toEqual(['a']);
  });

  test('a run behind which a prompt waited goes on, and answers both', () => {
    const w = atWork(world({ policy: on() }), 'a');
    w.tell({ kind: 'session.prompted', sessionID: 'a', messageID: 'behind', directory: '/p' });
    expect(continues(crash(w))).toEqual(['a']);
  });

  test('a run that a person was having aborted as the server died does not go on', () => {
    const w = atWork(world({ policy: on() }), 'a', 'b');
    w.tell({ kind: 'abort.requested', by: 'command', sessionID: 'a' });
    expect(continues(crash(w))).toEqual(['b']);
  });

  test('a run that a person has aborted since does not go on, be it in its turn or with the server', () => {
    const abort = (w: World, sessionID: string) =>
      w.tell({ kind: 'abort.requested', by: 'command', sessionID });
    const inTurn = crash(atWork(world({ policy: on() }), 'a', 'b', 'c'));
    abort(inTurn, 'b').abortWithdrawn('b', 'idle');
    goesOn(inTurn, 'a').stepFinished('a').advance(SECOND);
    expect(continues(inTurn)).toEqual(['a', 'c']);
    const down = abort(atWork(world({ policy: on() }), 'a', 'b').exits(), 'a');
    expect(down.watchdog.crashes.atWork().map(({ sessionID }) => sessionID)).toEqual(['b']);
    down
      .advance(5 * SECOND)
      .restartDone()
      .connected();
    expect(continues(down)).toEqual(['b']);
  });

  test('a run whose turn came just before the next crash has its turn again, where nobody aborted it', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b'));
    expect(w.watchdog.crashes.atWork().map(({ sessionID }) => sessionID)).toEqual(['a', 'b']);
    crash(w.tell({ kind: 'continue.failed', sessionID: 'a', error: 'refused' }).advance(1));
    expect(w.acts('continue').map(({ sessionID }) => sessionID)).toEqual(['a', 'b', 'b']);
    expect(w.acts('continue').at(-1)).toMatchObject({ onlyIfOpen: true });
    expect(quarantined(w)).toEqual([]);
    const unwanted = crash(atWork(world({ policy: on() }), 'a'));
    unwanted.tell({ kind: 'abort.requested', by: 'command', sessionID: 'a' });
    expect(continues(crash(unwanted.abortWithdrawn('a', 'idle')))).toEqual(['a']);
    // The run that was seen to begin is cut like any other.
    const seen = crash(atWork(world({ policy: on({ quarantineAfter: 0 }) }), 'a'));
    expect(continues(crash(goesOn(seen, 'a')))).toEqual(['a', 'a']);
  });

  describe('where the server cannot be reached', () => {
    const failed = (w: World, sessionID: string, unreachable: 'unsent' | 'sent') =>
      w.tell({ kind: 'continue.failed', sessionID, error: 'read ECONNRESET', unreachable });

    test('the next waits until it is known whether the last one has brought it down', () => {
      const w = crash(atWork(world({ policy: on() }), 'a', 'b', 'c'));
      failed(w, 'a', 'sent').advance(SECOND);
      expect(continues(w)).toEqual(['a']);
      crash(w);
      expect(quarantined(w)).toEqual(['a 2']);
      expect(continues(w)).toEqual(['a', 'b']);
      expect(continues(failed(w, 'b', 'sent').advance(MINUTE + SECOND))).toEqual(['a', 'b', 'c']);
    });

    test('one whose prompt was not sent has its turn again when the server is back, and that one counts', () => {
      const w = crash(atWork(world({ policy: on({ maxPerSession: 1 }) }), 'a', 'b'));
      failed(w, 'a', 'unsent').advance(SECOND);
      expect(continues(w)).toEqual(['a']);
      crash(w);
      expect(quarantined(w)).toEqual([]);
      expect(w.acts('continue').map(({ sessionID, count }) => [sessionID, count])).toEqual([
        ['a', 1],
        ['a', 1],
      ]);
    });

    test('one whose prompt was not sent has its turn again, the last, where the server lives on; each such try counts', () => {
      const w = crash(atWork(world({ policy: on({ maxPerSession: 2 }) }), 'a', 'b'));
      failed(w, 'a', 'unsent').advance(2 * MINUTE + SECOND);
      expect(continues(w)).toEqual(['a', 'b']);
      // The next daemon must know of it, too.
      expect(w.watchdog.crashes.atWork().map(({ sessionID }) => sessionID)).toEqual(['b', 'a']);
      goesOn(w, 'b').stepFinished('b').advance(SECOND);
      expect(continues(w)).toEqual(['a', 'b', 'a']);
      failed(w, 'a', 'unsent').advance(10 * MINUTE);
      expect(continues(w)).toEqual(['a', 'b', 'a']);
    });

    test('one whose prompt was not sent has no more turns after a reload that switches it off', () => {
      const w = crash(atWork(world({ policy: on() }), 'a'));
      failed(w, 'a', 'unsent').tell({ kind: 'policy.changed', policy: policyWith() });
      w.advance(10 * MINUTE).tell({ kind: 'policy.changed', policy: policyWith(on()) });
      expect(continues(w.advance(MINUTE))).toEqual(['a']);
    });

    test('one that was given its turn again by the end of the server has one turn, not two', () => {
      const w = crash(atWork(world({ policy: on({ maxPerSession: 3 }) }), 'a', 'b')).exits();
      // The executor gives up only after the end was reported.
      failed(w, 'a', 'unsent')
        .advance(5 * SECOND)
        .restartDone(300)
        .connected();
      expect(continues(w)).toEqual(['a', 'a']);
      expect(w.watchdog.crashes.atWork().map(({ sessionID }) => sessionID)).toEqual(['a', 'b']);
    });

    test('none is lost whose server dies right after a restart that was decided', () => {
      const w = atWork(world({ policy: on() }), 'a', 'b');
      w.tell({ kind: 'restart.requested', reason: 'manual' }).restartDone().connected();
      failed(failed(w, 'b', 'unsent'), 'a', 'unsent').advance(SECOND);
      expect(continues(w)).toEqual(['a', 'b']);
      w.exits(200)
        .advance(5 * SECOND)
        .restartDone(300)
        .connected();
      expect(continues(w)).toEqual(['a', 'b', 'a']);
    });
  });

  test('a session that somebody prompts while it waits for its turn is left to them', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b'));
    w.prompt('b');
    goesOn(w, 'a').stepFinished('a').advance(MINUTE);
    expect(continues(w)).toEqual(['a']);
  });

  test('a session that is seen at work while it waits for its turn is left to whoever set it to work', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b'));
    // The prompt itself was missed, because the stream was not connected yet.
    w.status('b', 'busy').status('b', 'idle');
    goesOn(w, 'a').stepFinished('a').advance(MINUTE);
    expect(continues(w)).toEqual(['a']);
  });

  test('nobody is told to go on who has a newer answer: somebody has used the session', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b'));
    const [act] = w.acts('continue');
    expect(act).toMatchObject({ sessionID: 'a', cutMessageID: 'm1' });
    expect(act).not.toHaveProperty('onlyIfOpen');
    w.tell({ kind: 'continue.failed', sessionID: 'a', error: 'x', superseded: true });
    w.advance(SECOND);
    expect(continues(w)).toEqual(['a', 'b']);
    expect(w.notes('session.continue_failed')).toEqual([]);
  });
});

describe('a session that brings the server down', () => {
  test('is quarantined also where the server died before any event of its new run came', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b'));
    w.tell({ kind: 'continue.done', sessionID: 'a', model: 'fake/m1' });
    crash(w);
    expect(quarantined(w)).toEqual(['a 2']);
    expect(continues(w)).toEqual(['a', 'b']);
  });

  test('is quarantined after two crashes in a row, and the others go on', () => {
    const w = crash(atWork(world({ policy: on({ maxPerSession: 5 }) }), 'a', 'poison', 'b', 'c'));
    const seen: string[] = [];
    for (let turns = 0; turns < 20; turns += 1) {
      const next = continues(w)[seen.length];
      if (next === undefined) break;
      seen.push(next);
      goesOn(w, next).advance(SECOND);
      if (next === 'poison') crash(w);
      else w.stepFinished(next).stepFinished(next).status(next, 'idle').advance(SECOND);
    }
    expect(seen).toEqual(['a', 'poison', 'b', 'c']);
    expect(quarantined(w)).toEqual(['poison 2']);
    expect([...w.watchdog.crashes.quarantined.keys()]).toEqual(['poison']);
  });

  test('is not quarantined where it has finished a step in between', () => {
    const w = crash(atWork(world({ policy: on() }), 'a'));
    goesOn(w, 'a').stepFinished('a');
    crash(w);
    expect(quarantined(w)).toEqual([]);
    expect(continues(w)).toEqual(['a', 'a']);
  });

  test('is not quarantined where nothing is continued', () => {
    const w = crash(atWork(world(), 'a'));
    crash(atWork(w, 'a'));
    expect(quarantined(w)).toEqual([]);
  });

  test('is free again when a person prompts it', () => {
    const w = crash(atWork(world({ policy: on() }), 'a'));
    goesOn(w, 'a');
    crash(w);
    expect([...w.watchdog.crashes.quarantined.keys()]).toEqual(['a']);
    w.advance(MINUTE).prompt('a');
    expect([...w.watchdog.crashes.quarantined.keys()]).toEqual([]);
  });

  test('is not continued by the other rules either', () => {
    const policy = on({ afterAbort: 'continue', maxPerSession: 9, quarantineAfter: 1 });
    const w = crash(atWork(world({ policy }), 'a'));
    expect(quarantined(w)).toEqual(['a 1']);
    w.status('a', 'busy').fails('a', 5).status('a', 'idle').abortDone('a');
    expect(continues(w)).toEqual([]);
  });
});

describe('the next daemon', () => {
  const restored = (w: World, more: object = {}) =>
    w.tell({
      kind: 'runs.restored',
      serverPid: 7,
      runs: [
        { sessionID: 'a', directory: '/p', model: 'fake/m1', count: 0 },
        { sessionID: 'b', directory: '/p', count: 0 },
      ],
      inARow: new Map([['a', 1]]),
      quarantined: [{ sessionID: 'q', directory: '/p' }],
      ...more,
    });
  const start = (policy = on()) => world({ policy, attached: false });

  test('continues what was at work when the server died with the last one, where it has no end', () => {
    const w = restored(start()).tell({ kind: 'server.attached', running: false });
    expect(continues(w)).toEqual([]);
    w.restartDone().connected();
    // It was at work in two crashes by now.
    expect(quarantined(w)).toEqual(['a 2']);
    expect(w.acts('continue')).toMatchObject([
      { sessionID: 'b', because: 'crash', onlyIfOpen: true },
    ]);
    const error = 'its last run had come to its end';
    w.tell({ kind: 'continue.failed', sessionID: 'b', error, superseded: true });
    expect(w.notes('session.continue_failed')).toEqual([]);
  });

  test('continues nothing where the same server serves on', () => {
    const w = restored(start()).tell({ kind: 'server.attached', running: true, pid: 7 });
    w.connected().advance(MINUTE);
    expect(continues(w)).toEqual([]);
    expect([...w.watchdog.crashes.quarantined.keys()]).toEqual(['q']);
  });

  test('takes a new process that has the pid of the old one for a new server', () => {
    const attached = (startTime: string) => ({
      kind: 'server.attached' as const,
      running: true,
      pid: 7,
      startTime,
    });
    const known = { serverStart: '100' };
    const other = restored(start(), known).tell(attached('200')).connected();
    expect(quarantined(other)).toEqual(['a 2']);
    expect(continues(other)).toEqual(['b']);
    expect(continues(restored(start(), known).tell(attached('100')).connected())).toEqual([]);
    // Files of earlier versions do not tell it.
    expect(continues(restored(start()).tell(attached('100')).connected())).toEqual([]);
  });

  test('continues nothing, and counts no crash, where the same server is too busy to answer', () => {
    const w = restored(start()).tell({ kind: 'server.attached', running: false, pid: 7 });
    w.probeOk().connected().advance(MINUTE);
    expect(continues(w)).toEqual([]);
    expect(quarantined(w)).toEqual([]);
  });

  describe('where the same server does not answer', () => {
    const silent = (w = start()) =>
      restored(w).tell({ kind: 'server.attached', running: false, pid: 7 });

    test('and is replaced, takes that for a crash, and continues what it cut', () => {
      const w = silent();
      // The daemon after this one must know of them, too.
      expect(w.watchdog.crashes.atWork()).toMatchObject([{ sessionID: 'a' }, { sessionID: 'b' }]);
      w.restartDone(8).connected();
      expect(quarantined(w)).toEqual(['a 2']);
      expect(w.acts('continue')).toMatchObject([{ sessionID: 'b', onlyIfOpen: true }]);
    });

    test('and is replaced by its owner, continues what it cut', () => {
      const w = silent(world({ policy: on(), attached: false, acts: false }));
      w.exits(7).advance(SECOND).probeOk().connected();
      expect(w.watchdog.server.isUnattached).toBe(true);
      expect(w.acts('continue')).toMatchObject([{ sessionID: 'b', onlyIfOpen: true }]);
    });

    test('continues none that a person wants aborted by then', () => {
      const w = silent().tell({ kind: 'abort.requested', by: 'command', sessionID: 'b' });
      expect(continues(w.restartDone(8).connected())).toEqual([]);
    });

    test('and answers in the end, continues nothing', () => {
      const w = silent().restartDone(7).connected().advance(MINUTE);
      expect(continues(w)).toEqual([]);
      expect(quarantined(w)).toEqual([]);
      // What is seen at work in it from now on is cut by its next end, and nothing else.
      expect(w.watchdog.crashes.atWork()).toEqual([]);
      w.exits(7).advance(SECOND).restartDone(8).connected();
      expect(continues(w)).toEqual([]);
    });
  });

  test('takes the end that a stop of the daemon brought for no crash', () => {
    const w = restored(start(), { wasStopped: true });
    w.tell({ kind: 'server.attached', running: false }).restartDone().connected();
    expect(quarantined(w)).toEqual([]);
    // The one that was in an earlier crash comes last.
    expect(continues(w)).toEqual(['b']);
  });

  /** The daemon is killed, and the next one finds what it has stored. */
  const nextAfter = (w: World, pid?: number) => {
    const { crashes } = w.watchdog;
    return restored(start(), {
      serverPid: pid,
      runs: crashes.atWork(),
      inARow: new Map(crashes.inARow),
      quarantined: [],
    });
  };

  test('continues what its predecessor saw being cut, and takes that for one crash', () => {
    const w = nextAfter(atWork(world({ policy: on() }), 'a', 'b').exits());
    w.tell({ kind: 'server.attached', running: false }).restartDone().connected();
    expect(quarantined(w)).toEqual([]);
    expect(w.acts('continue')).toMatchObject([{ sessionID: 'a', onlyIfOpen: true }]);
    w.tell({ kind: 'continue.failed', sessionID: 'a', error: 'x' }).advance(SECOND);
    expect(continues(w)).toEqual(['a', 'b']);
  });

  test('holds a crash against none that waited for its turn', () => {
    const before = crash(atWork(world({ policy: on() }), 'a', 'b', 'c'));
    const w = nextAfter(goesOn(before, 'a'), 200);
    w.tell({ kind: 'server.attached', running: false }).restartDone().connected();
    expect(quarantined(w)).toEqual(['a 2']);
    expect(continues(w)).toEqual(['b']);
  });

  test('continues those that waited for their turn where the same server serves on', () => {
    const before = crash(atWork(world({ policy: on() }), 'a', 'b'));
    const w = nextAfter(goesOn(before, 'a'), 200);
    w.tell({ kind: 'server.attached', running: true, pid: 200 }).connected().advance(SECOND);
    expect(quarantined(w)).toEqual([]);
    expect(continues(w)).toEqual(['b']);
  });

  test('is told of none that fails, waits for a person, or is being aborted by one', () => {
    const w = atWork(world({ policy: on() }), 'well', 'fails', 'asks', 'unwanted');
    w.fails('fails', 1).asked('asks');
    w.tell({ kind: 'abort.requested', by: 'command', sessionID: 'unwanted' });
    expect(w.watchdog.crashes.atWork().map(({ sessionID }) => sessionID)).toEqual(['well']);
  });

  test('is told of one that is well again', () => {
    const w = atWork(world({ policy: on() }), 'a').fails('a', 1);
    const { version } = w.watchdog.crashes;
    w.status('a', 'busy').text('a').stepFinished('a');
    expect(w.watchdog.crashes.atWork()).toHaveLength(1);
    expect(w.watchdog.crashes.version).toBeGreaterThan(version);
  });

  test('is told who is at work, and who waits for a turn', () => {
    const w = crash(atWork(world({ policy: on() }), 'a', 'b', 'c'));
    goesOn(w, 'a');
    expect(w.watchdog.crashes.atWork().map(({ sessionID }) => sessionID)).toEqual(['a', 'b', 'c']);
  });
});
