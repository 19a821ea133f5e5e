/**
 * How sessions behave, well and badly (facts, sections 5 to 7). Each yields the ms until it goes on; what it says goes
 * through the event stream, what it is shows in polls and inspections.
 *
 * A bad one sets `guilt` when it has crossed a limit: from then on it must be acted on.
 */
import type { SimSession } from './simulation.js';

/** Yielded instead of ms: go on when a subagent has ended. */
export const UNTIL_CHILD_ENDS = -1;

export type Behaviour = (s: SimSession) => Generator<number, void>;

let messages = 0;

function* begin(s: SimSession, preparingMs = 0): Generator<number, void> {
  messages += 1;
  const messageID = `u${messages}`;
  s.preparing = true;
  s.mark += 1;
  s.say({ kind: 'session.prompted', messageID, model: 'fake/m1' });
  s.become({ type: 'busy' });
  yield preparingMs;
  ask(s);
}

function ask(s: SimSession): void {
  messages += 1;
  s.preparing = false;
  s.write({ kind: 'session.asking_model', messageID: `m${messages}`, model: 'fake/m1' });
  s.say({ kind: 'session.status', status: { type: 'busy' } });
}

function* text(s: SimSession, pieces: number, longest: number): Generator<number, void> {
  for (let i = 0; i < pieces; i += 1) {
    yield s.random(100, longest);
    s.write({ kind: 'session.progress' });
  }
}

function finish(s: SimSession): void {
  s.write({ kind: 'session.step_finished' });
}

/** As long as a healthy model may think without a word. */
const thinking = (s: SimSession) => s.limits.stall.maxSilence * 0.8;
const RETRY_WAITS = [2_000, 4_000, 8_000, 16_000, 30_000];

function startTool(s: SimSession, tool = 'bash', childID?: string): string {
  messages += 1;
  const callID = `c${messages}`;
  const running = { callID, tool, startedAt: s.now, ...(childID === undefined ? {} : { childID }) };
  s.tools.set(callID, running);
  s.write({ kind: 'tool.running', tool: running });
  return callID;
}
function endTool(s: SimSession, callID: string): void {
  s.tools.delete(callID);
  s.write({ kind: 'tool.ended', callID });
}

function* answers(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, s.random(1, 8), thinking(s));
  finish(s);
  yield 20;
}

function* works(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, 2, 5_000);
  const calls = [startTool(s), ...(s.random(0, 1) ? [startTool(s)] : [])];
  yield s.random(100, s.limits.stall.maxToolTime * 0.55);
  for (const call of calls) endTool(s, call);
  finish(s);
  ask(s);
  yield* text(s, 2, thinking(s));
  finish(s);
}

function* asksAPerson(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, 1, 5_000);
  const call = startTool(s);
  yield 80;
  messages += 1;
  const requestID = `r${messages}`;
  s.requests.set(requestID, { requestID, on: 'permission' });
  s.say({ kind: 'request.asked', request: { requestID, on: 'permission' } });
  yield s.random(1_000, 4 * 60_000);
  s.requests.delete(requestID);
  s.say({ kind: 'request.answered', requestID });
  yield s.random(100, s.limits.stall.maxToolTime * 0.55);
  endTool(s, call);
  finish(s);
}

const delegates = (behaviour: Behaviour): Behaviour =>
  function* (s) {
    yield* begin(s);
    yield* text(s, 1, 5_000);
    const child = s.child(behaviour);
    const call = startTool(s, 'task', child.id);
    if (child.life !== undefined) yield UNTIL_CHILD_ENDS;
    endTool(s, call);
    finish(s);
    ask(s);
    yield* text(s, 3, thinking(s));
    finish(s);
  };

function* prepares(s: SimSession): Generator<number, void> {
  yield* begin(s, s.limits.stall.maxToolTime * 0.55);
  yield* text(s, 3, thinking(s));
  finish(s);
}

function* compacts(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, 1, 5_000);
  s.write({ kind: 'session.compacting' });
  yield s.random(1_000, thinking(s));
  s.write({ kind: 'session.compacted' });
  ask(s);
  yield* text(s, 3, thinking(s));
  finish(s);
}

/** A few failures within every limit, then well. */
function* recovers(s: SimSession): Generator<number, void> {
  yield* begin(s);
  const failures = Math.min(2, s.limits.retry.maxAttempts - 1);
  for (let attempt = 1; attempt <= failures; attempt += 1) {
    yield s.random(10, 500);
    const nextInMs = RETRY_WAITS[attempt - 1] ?? 0;
    s.become({ type: 'retry', attempt, message: 'Rate limit reached', nextInMs });
    yield nextInMs;
    s.become({ type: 'busy' });
  }
  yield* text(s, 5, 4_000);
  finish(s);
  yield* works(s);
}

/** `shows`: pieces of text before each failure; `after`: a part that went well before. */
const failsFor = (options: {
  shows?: number;
  wait?: (attempt: number) => number;
  message?: string;
}): Behaviour =>
  function* (s) {
    const { shows = 0, message = 'Rate limit reached' } = options;
    const wait = options.wait ?? ((attempt: number) => RETRY_WAITS[attempt - 1] ?? 30_000);
    const { maxAttempts, maxDuration, maxWait } = s.limits.retry;
    yield* begin(s);
    let since: number | undefined;
    for (let attempt = 1; ; attempt += 1) {
      yield* text(s, shows, 1_000);
      yield s.random(0, 300);
      const nextInMs = wait(attempt);
      since ??= s.now;
      // Past its duration it is guilty at the next failure, or as soon as an attempt shows nothing.
      const hopeless = message !== 'Rate limit reached';
      if (attempt >= maxAttempts || nextInMs > maxWait || hopeless) guilty(s, s.now, 0);
      else guilty(s, since + maxDuration + shows * 1_000 + 300, maxDuration);
      s.become({ type: 'retry', attempt, message, nextInMs });
      yield nextInMs;
      s.become({ type: 'busy' });
    }
  };

function guilty(s: SimSession, at: number, limit: number): void {
  if (s.guilt === undefined || at < s.guilt.at) s.guilt = { at, limit };
}

function* forever(): Generator<number, void> {
  for (;;) yield 10 * 60_000;
}

function* hangs(s: SimSession): Generator<number, void> {
  yield* begin(s);
  const { maxSilence } = s.limits.stall;
  guilty(s, s.now + maxSilence, maxSilence);
  yield* forever();
}

function* stalls(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, s.random(1, 5), 5_000);
  const { maxSilence } = s.limits.stall;
  guilty(s, s.now + maxSilence, maxSilence);
  yield* forever();
}

/** The first attempts fail, the next one shows something and hangs. */
function* failsThenStalls(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield 100;
  // One short failure may go unheard; its silence does not.
  if (s.limits.retry.maxAttempts === 1) guilty(s, s.now, s.limits.stall.maxSilence);
  s.become({ type: 'retry', attempt: 1, message: 'Rate limit reached', nextInMs: 2_000 });
  yield 2_000;
  s.become({ type: 'busy' });
  yield* text(s, 1, 1_000);
  const { maxSilence } = s.limits.stall;
  guilty(s, s.now + maxSilence, maxSilence);
  yield* forever();
}

function* toolHangs(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, 1, 1_000);
  startTool(s);
  const { maxToolTime } = s.limits.stall;
  guilty(s, s.now + maxToolTime, maxToolTime);
  yield* forever();
}

function* leftBusy(s: SimSession): Generator<number, void> {
  yield* begin(s);
  const child = s.child(answers);
  startTool(s, 'task', child.id);
  if (child.life !== undefined) yield UNTIL_CHILD_ENDS;
  const { maxSilence } = s.limits.stall;
  guilty(s, s.now + maxSilence, maxSilence);
  yield* forever();
}

function* becomesGhost(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, 2, 5_000);
  s.deleted = true;
  s.say({ kind: 'session.deleted' });
  // Where the word is missed, an inspection shows it once the ghost is silent.
  guilty(s, s.now, s.limits.stall.maxSilence);
  yield* forever();
}

/** These must never be aborted. */
export const WELL = {
  answers,
  works,
  asksAPerson,
  delegates: delegates(works),
  delegatesDeeper: delegates(delegates(answers)),
  delegatesToAPerson: delegates(asksAPerson),
  prepares,
  compacts,
} satisfies Record<string, Behaviour>;

/** Never aborted for itself, but part of a pile-up. */
export const FLAKY = { recovers } satisfies Record<string, Behaviour>;

/** These must be aborted in time. */
export const BAD = {
  retries: failsFor({}),
  retriesQuickly: failsFor({ wait: () => 500 }),
  failsMidStream: failsFor({ shows: 2 }),
  waitsForAnHour: failsFor({ wait: () => 3_600_000 }),
  isHopeless: failsFor({ message: 'Insufficient credits' }),
  hangs,
  stalls,
  failsThenStalls,
  toolHangs,
  leftBusy,
  becomesGhost,
  delegatesToHung: delegates(hangs),
  delegatesToRetrying: delegates(failsFor({})),
} satisfies Record<string, Behaviour>;

export const BEHAVIOURS = { ...WELL, ...FLAKY, ...BAD };
export type BehaviourName = keyof typeof BEHAVIOURS;
