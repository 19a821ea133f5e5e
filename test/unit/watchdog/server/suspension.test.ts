/** A server process that a signal has stopped. */
import { describe, expect, test } from 'vitest';
import { MINUTE, SECOND, world } from '../driver.js';

const CONTINUE_PROCESS = { act: 'continue_process' };

describe('a server that is stopped by a signal', () => {
  test('is let run at once, not restarted, and is well when it answers', () => {
    const w = world().suspended();
    expect(w.notes('server.suspended')).toEqual([{ note: 'server.suspended', pid: 100 }]);
    expect(w.acts()).toEqual([CONTINUE_PROCESS]);
    w.advance(20).tell({ kind: 'continue_process.done' });
    expect(w.notes('server.continued')).toEqual([]);
    w.advance(30).probeOk();
    expect(w.notes('server.continued')).toMatchObject([{ pid: 100, tookMs: 50 }]);
    expect(w.acts()).toEqual([CONTINUE_PROCESS]);
    expect(w.notes('server.unresponsive')).toEqual([]);
  });

  test('is continued by one act at a time, however often it is seen', () => {
    const w = world().suspended();
    for (let i = 0; i < 10; i += 1) w.advance(SECOND).suspended();
    expect(w.acts()).toEqual([CONTINUE_PROCESS]);
    expect(w.notes('server.suspended')).toHaveLength(1);
  });

  test('is continued three times where it does not help, then restarted by the failing probes', () => {
    const w = world().lost();
    for (let i = 0; i < 5; i += 1) {
      w.suspended().tell({ kind: 'continue_process.failed', error: 'refused' });
    }
    expect(w.acts()).toEqual([CONTINUE_PROCESS, CONTINUE_PROCESS, CONTINUE_PROCESS]);
    expect(w.notes('server.continue_failed')).toMatchObject([{ try: 1 }, { try: 2 }, { try: 3 }]);
    w.probeFails(3);
    expect(w.acts('restart')).toEqual([{ act: 'restart', reason: 'unresponsive' }]);
  });

  test('is forgiven what lies ten seconds back', () => {
    const w = world();
    const stopAndContinue = () => w.suspended().tell({ kind: 'continue_process.done' }).probeOk();
    for (let i = 0; i < 5; i += 1) stopAndContinue();
    expect(w.acts()).toHaveLength(3);
    w.advance(11 * SECOND);
    stopAndContinue();
    expect(w.acts()).toHaveLength(4);
  });

  test('that somebody else lets run is said to run again', () => {
    const w = world().suspended().tell({ kind: 'continue_process.skipped' });
    w.advance(9 * SECOND).probeOk();
    expect(w.notes('server.continued')).toMatchObject([{ tookMs: 9 * SECOND }]);
  });

  test('is left in a dry run or a pause, until its end', () => {
    const w = world().suspended().tell({ kind: 'continue_process.skipped' }).suspended();
    expect(w.acts()).toEqual([CONTINUE_PROCESS]);
    w.tell({ kind: 'policy.changed' }).suspended();
    expect(w.acts()).toEqual([CONTINUE_PROCESS, CONTINUE_PROCESS]);
  });

  describe('and was left in a pause until its probes failed', () => {
    const left = () => {
      const w = world().tell({ kind: 'acts.paused' }).prompt().text().suspended();
      w.tell({ kind: 'continue_process.skipped' }).lost().probeFails(4);
      w.tell({ kind: 'restart.skipped' }).suspended();
      w.tell({ kind: 'continue_process.skipped' });
      return w.forget().advance(SECOND).tell({ kind: 'acts.resumed' });
    };

    test('is let run after the pause, not restarted', () => {
      const w = left().suspended();
      expect(w.acts()).toEqual([CONTINUE_PROCESS]);
      w.tell({ kind: 'continue_process.done' }).probeOk();
      expect(w.acts()).toEqual([CONTINUE_PROCESS]);
      expect(w.watchdog.server.health()).toBe('healthy');
    });

    test('is restarted once as many probes fail after the pause as before it', () => {
      const w = left().suspended().tell({ kind: 'continue_process.done' }).probeFails(2);
      expect(w.acts('restart')).toEqual([]);
      w.probeFails(1);
      expect(w.acts('restart')).toEqual([{ act: 'restart', reason: 'unresponsive' }]);
    });

    test('is not restarted for a probe that was sent in the pause', () => {
      const w = left();
      const startedAt = w.at - 1;
      w.probeFails(2);
      w.advance(5 * SECOND);
      w.tell({ kind: 'probe.failed', startedAt, failure: 'timeout', error: 'no answer' });
      expect(w.acts('restart')).toEqual([]);
    });

    test('is left again in the next pause, and not restarted before its end', () => {
      const w = left().probeFails(3).tell({ kind: 'restart.skipped' }).forget();
      expect(w.probeFails(9).acts()).toEqual([]);
      w.tell({ kind: 'acts.resumed' }).probeFails(3);
      expect(w.acts('restart')).toHaveLength(1);
    });
  });

  describe('and was left in a pause in which the breaker opened, with restart.giveUp exit', () => {
    const restart = { maxRestarts: 1, giveUp: 'exit' as const };
    const GIVE_UP = { act: 'give_up', restarts: 1 };
    const left = () => {
      const w = world({ policy: { restart } }).exits().restartDone(200).connected().advance(MINUTE);
      w.tell({ kind: 'acts.paused' }).suspended(200);
      w.tell({ kind: 'continue_process.skipped' }).lost().probeFails(3);
      expect(w.acts('give_up')).toEqual([GIVE_UP]);
      return w.forget().advance(SECOND);
    };
    const ENDS = [{ kind: 'acts.resumed' }, { kind: 'policy.changed' }] as const;

    test.each(ENDS)('is let run after $kind, and the daemon stays', (end) => {
      const w = left().tell(end).suspended(200);
      expect(w.acts()).toEqual([CONTINUE_PROCESS]);
      w.tell({ kind: 'continue_process.done' }).probeOk();
      expect(w.acts()).toEqual([CONTINUE_PROCESS]);
    });

    test.each(ENDS)('is given up after $kind once as many probes fail anew', (end) => {
      const w = left().tell(end).probeFails(2);
      expect(w.acts()).toEqual([]);
      expect(w.probeFails(1).acts()).toEqual([GIVE_UP]);
      expect(w.probeFails(5).acts()).toEqual([GIVE_UP]);
    });
  });

  test('is let run after a pause whose end comes before the backoff of its restart', () => {
    const policy = { restart: { backoff: { initial: MINUTE, max: MINUTE } } };
    const w = world({ policy }).exits().restartDone(200).connected();
    w.tell({ kind: 'acts.paused' }).suspended(200);
    w.tell({ kind: 'continue_process.skipped' }).lost().forget().probeFails(3);
    expect(w.watchdog.server.health()).toBe('unresponsive');
    expect(w.acts()).toEqual([]);
    w.forget().tell({ kind: 'acts.resumed' }).suspended(200).advance(MINUTE);
    expect(w.acts()).toEqual([CONTINUE_PROCESS]);
  });

  test('is only spoken of where the process is never touched', () => {
    const w = world({ acts: false }).suspended().suspended();
    expect(w.acts()).toEqual([]);
    expect(w.notes('server.suspended')).toHaveLength(1);
  });

  test('is left alone while it is being restarted, and forgotten with its process', () => {
    const w = world().exits().suspended();
    expect(w.notes('server.suspended')).toEqual([]);
    w.restartDone(200).probeOk();
    expect(w.notes('server.continued')).toEqual([]);
    w.suspended(200);
    expect(w.acts('continue_process')).toHaveLength(1);
  });
});
