/**
 * The state machine is whole: everything that it decides by is in the recording, so that a replay of the lines decides
 * the same across a reload, a pause, a resume and a person's abort.
 */
import { expect, test } from 'vitest';
import { observationSchema, toLine } from '../../../src/recording/format.js';
import { replay } from '../../../src/recording/replay.js';
import { type Act, type Decision, isNote } from '../../../src/watchdog/decision.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { copyPolicy, DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { isManual, skipped } from '../../../src/watchdog/skipped.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';

const DIRECTORY = '/p';
const LIMIT = 3;

/** A daemon of which every abort works at once, and that records. */
class RecordingDaemon {
  readonly watchdog = new Watchdog({ policy: DEFAULT_POLICY, acts: true });
  readonly lines: string[] = [];
  readonly decided: Decision[] = [];
  #at = 0;

  tell(o: Untimed): this {
    this.#at += 1;
    const observation = { ...o, at: this.#at } as Observation;
    this.lines.push(toLine(observation, (text) => text));
    const decisions = this.watchdog.observe(observation);
    this.decided.push(...decisions);
    for (const decision of decisions) if (!isNote(decision)) this.#perform(decision);
    return this;
  }

  retry(sessionID: string, attempt: number): this {
    const status = { type: 'retry', attempt, message: 'Rate limit reached' } as const;
    return this.tell({ kind: 'session.status', sessionID, directory: DIRECTORY, status });
  }

  aborts(): string[] {
    return this.decided
      .filter(
        (each): each is Extract<Act, { act: 'abort' }> => !isNote(each) && each.act === 'abort',
      )
      .map(({ sessionID, reason }) => `${sessionID} ${reason}`);
  }

  #perform(act: Act): void {
    const left = this.watchdog.pausedAt !== undefined && !isManual(act);
    const answer = left ? skipped(act, this.#at) : undefined;
    if (answer !== undefined) this.tell(answer);
    else if (act.act === 'abort') {
      this.tell({ kind: 'abort.done', sessionID: act.sessionID, tookMs: 1 });
    }
  }
}

type Untimed = Observation extends infer O
  ? O extends Observation
    ? Omit<O, 'at'>
    : never
  : never;

test('a replay decides the same across a reload, a pause, a resume and a person’s aborts', () => {
  const daemon = new RecordingDaemon();
  daemon.tell({ kind: 'server.attached', running: true }).retry('reloaded', LIMIT);
  expect(daemon.aborts()).toEqual([]);

  const stricter = copyPolicy(DEFAULT_POLICY);
  stricter.retry.maxAttempts = LIMIT;
  daemon.tell({ kind: 'policy.changed', policy: stricter });
  expect(daemon.aborts()).toEqual(['reloaded attempts']);

  daemon.tell({ kind: 'acts.paused' }).retry('paused', LIMIT).retry('wished', 1);
  daemon.tell({ kind: 'abort.requested', sessionID: 'wished', by: 'page' });
  daemon.tell({ kind: 'abort.requested', sessionID: 'never seen', by: 'command' });
  const whilePaused = daemon.decided.filter((each) => isNote(each) && each.note === 'act.done');
  expect(whilePaused).toMatchObject([
    { sessionID: 'wished', outcome: 'done' },
    { sessionID: 'never seen', outcome: 'done' },
  ]);
  // Left, not forgotten.
  expect(daemon.watchdog.sessions(100)).toMatchObject([{ sessionID: 'paused', health: 'stuck' }]);

  daemon.tell({ kind: 'acts.resumed' });
  expect(daemon.aborts().at(-1)).toBe('paused attempts');
  expect(daemon.watchdog.sessions(100)).toEqual([]);

  const read = daemon.lines.map((line) => observationSchema.parse(JSON.parse(line)) as Observation);
  const again = [...replay(read, { policy: DEFAULT_POLICY, acts: true, asRecorded: true })];
  expect(again.map(({ decision }) => decision)).toEqual(daemon.decided);
});
