/**
 * Laws of the ways back, in random histories: no run is continued twice or while a person uses it, and a parked run has
 * one end.
 */
import fc from 'fast-check';
import { test } from 'vitest';
import { type Decision, isNote } from '../../../../src/watchdog/decision.js';
import { MINUTE, type PolicyChange, SECOND, World } from '../driver.js';

const POLICY: PolicyChange = {
  recover: {
    afterAbort: 'continue',
    afterRestart: 'continue',
    afterQuota: 'continue',
    maxPark: 90 * MINUTE,
    maxPerSession: 4,
  },
};
/** Tries for one parked run. */
const TRIES = 3;

const sessionID = fc.constantFrom('a', 'b', 'c');
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant('spend' as const),
      id: sessionID,
      minutes: fc.integer({ min: 6, max: 120 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant('wait' as const),
      minutes: fc.integer({ min: 1, max: 60 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant('answer' as const),
      how: fc.constantFrom(
        'done' as const,
        'failed' as const,
        'superseded' as const,
        'skipped' as const,
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('prompt' as const), id: sessionID }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('finish' as const), id: sessionID }) },
  fc.record({
    does: fc.constantFrom('retry' as const, 'delete' as const, 'abort' as const),
    id: sessionID,
  }),
  fc.record({ does: fc.constantFrom('crash' as const, 'pause' as const, 'resume' as const) }),
);

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

class History {
  readonly world = new World({ policy: POLICY });
  /** Sessions with a continuation that the executor has not answered yet. */
  readonly #asked = new Set<string>();
  /** Sessions parked now, with the number of their continuations. */
  readonly #parked = new Map<string, number>();
  readonly #deleted = new Set<string>();
  #seen = 0;

  do(each: Step) {
    const { world } = this;
    // A deleted session does not come back.
    if ('id' in each && this.#deleted.has(each.id)) return;
    switch (each.does) {
      case 'spend':
        world.prompt(each.id).fails(each.id, 1, { nextInMs: each.minutes * MINUTE });
        world.status(each.id, 'idle').abortDone(each.id);
        break;
      case 'wait':
        for (let n = 0; n < each.minutes; n += 1) {
          world.advance(MINUTE);
          this.check();
        }
        break;
      case 'answer':
        this.#answer(each.how);
        break;
      case 'prompt':
        world.prompt(each.id);
        break;
      case 'finish':
        world.stepFinished(each.id).status(each.id, 'idle');
        break;
      case 'retry':
        world.prompt(each.id).fails(each.id, 5).status(each.id, 'idle').abortDone(each.id);
        break;
      case 'delete':
        this.#deleted.add(each.id);
        world.deleted(each.id);
        break;
      case 'abort':
        world.tell({ kind: 'abort.requested', sessionID: each.id, by: 'command' });
        world.abortWithdrawn(each.id, 'idle');
        break;
      case 'crash':
        world
          .exits()
          .advance(5 * SECOND)
          .restartDone()
          .connected();
        break;
      case 'pause':
        world.tell({ kind: 'acts.paused' });
        break;
      case 'resume':
        world.tell({ kind: 'acts.resumed' });
    }
    this.check();
  }

  #answer(how: 'done' | 'failed' | 'superseded' | 'skipped') {
    const [id] = this.#asked;
    if (id === undefined) return;
    this.#asked.delete(id);
    const of = { sessionID: id };
    if (how === 'done') this.world.prompt(id).tell({ kind: 'continue.done', ...of });
    else if (how === 'skipped') this.world.tell({ kind: 'continue.skipped', ...of });
    else {
      const superseded = how === 'superseded' ? { superseded: true } : {};
      this.world.tell({ kind: 'continue.failed', ...of, error: 'x', ...superseded });
    }
  }

  check() {
    for (const decision of this.world.decisions.slice(this.#seen)) this.#judge(decision);
    this.#seen = this.world.decisions.length;
  }

  #judge(decision: Decision) {
    const { at } = this.world;
    if (!isNote(decision)) {
      if (decision.act !== 'continue') return;
      const { sessionID, because } = decision;
      if (because === 'quota') {
        const tries = this.#parked.get(sessionID);
        if (tries === undefined)
          throw new Error(`${sessionID} is continued and not parked, at ${at}`);
        if (this.#asked.has(sessionID))
          throw new Error(`${sessionID} is continued twice, at ${at}`);
        if (tries >= TRIES) throw new Error(`${sessionID} is tried for ever, at ${at}`);
        this.#parked.set(sessionID, tries + 1);
      }
      this.#asked.add(sessionID);
    } else if (decision.note === 'session.parked') {
      if (this.#parked.has(decision.sessionID)) {
        throw new Error(`${decision.sessionID} is parked twice, at ${at}`);
      }
      this.#parked.set(decision.sessionID, 0);
    } else if (decision.note === 'session.unparked') {
      if (!this.#parked.delete(decision.sessionID)) {
        throw new Error(`${decision.sessionID} waits no more and was not parked, at ${at}`);
      }
    }
  }

  /** Nothing waits for ever: the last parked run is let go when its time is over. */
  finish() {
    this.world.tell({ kind: 'acts.resumed' });
    for (let n = 0; n < 5 * 60; n += 1) {
      this.do({ does: 'wait', minutes: 1 });
      this.do({ does: 'answer', how: 'failed' });
    }
    const left = this.world.watchdog.parked(this.world.at).map((each) => each.sessionID);
    if (left.length > 0) throw new Error(`still parked at the end: ${left.join(', ')}`);
  }
}

test('in every history a parked run is continued, superseded or let go, once, and never twice at a time', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), (steps) => {
      const history = new History();
      for (const each of steps) history.do(each);
      history.finish();
    }),
    { numRuns: 150 },
  );
});
