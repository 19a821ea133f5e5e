/**
 * How sessions behave, well and badly (facts, sections 5 to 7). Each generator yields the ms until it continues. What
 * it says goes through the event stream, its state shows in polls and inspections.
 *
 * A bad one sets `guilt` when it has exceeded a limit: from then on the watchdog must act on it.
 */
import type { FinishedStep } from '../../../src/watchdog/observation.js';
import { DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import type { SimSession } from './simulation.js';

const { loop: DEFAULT_LOOPS } = DEFAULT_POLICY;

/** Yielded instead of ms: continue when a subagent has ended. */
export const UNTIL_CHILD_ENDS = -1;

export type Behaviour = (s: SimSession) => Generator<number, void>;

let messages = 0;

/** Ids grow with time, as opencode's do. */
function newMessage(s: SimSession): string {
  messages += 1;
  s.lastMessageID = `msg_${String(messages).padStart(12, '0')}`;
  return s.lastMessageID;
}

function* begin(s: SimSession, preparingMs = 0): Generator<number, void> {
  const messageID = newMessage(s);
  s.preparing = true;
  s.mark += 1;
  s.say({ kind: 'session.prompted', messageID, model: 'fake/m1' });
  s.become({ type: 'busy' });
  yield preparingMs;
  ask(s);
}

function ask(s: SimSession): void {
  s.preparing = false;
  s.write({ kind: 'session.asking_model', messageID: newMessage(s), model: 'fake/m1' });
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

/** How long a healthy model may think without output, ms. */
const thinking = (s: SimSession) => s.limits.stall.maxSilence * 0.8;
/**
 * Until when a session that goes on may still be taken for silent, ms: the watchdog hears of it, and without an event
 * stream an inspection counts for ten seconds.
 */
const KNOWN_AFTER = 12_000;
const RETRY_WAITS = [2_000, 4_000, 8_000, 16_000, 30_000];

function startTool(s: SimSession, tool = 'bash', childID?: string, input?: string): string {
  messages += 1;
  const callID = `c${messages}`;
  if (input !== undefined) s.inputs.set(callID, input);
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
  const { maxToolTime } = s.limits.stall;
  yield* begin(s, maxToolTime * 0.55);
  // If the event between the two is lost, 2.x cannot tell the first request from the preparation. So both together must
  // fit into one limit.
  yield* text(s, 1, Math.min(thinking(s), maxToolTime * 0.4));
  yield* text(s, 2, thinking(s));
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

/** Fails a few times within every limit, then works. */
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

/** `shows`: pieces of text before each failure. `wait`: the wait after each attempt, ms. */
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
      // After its duration it is guilty at the next failure, or as soon as an attempt shows nothing.
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

/** Its quota is back in a few minutes. When it continues then, the quota may be spent again. */
function* waitsForItsQuota(s: SimSession): Generator<number, void> {
  const { maxWait } = s.limits.retry;
  s.goesOn = () => (s.random(0, 2) === 0 ? waitsForItsQuota : WELL.answers)(s);
  yield* failsFor({ wait: () => s.random(maxWait + 1, maxWait + 40_000) })(s);
}

/** Kills the server each time that it is continued. */
function* killsTheServer(s: SimSession): Generator<number, void> {
  s.goesOn = killsTheServer;
  yield* begin(s);
  yield* text(s, 1, 5_000);
  startTool(s);
  yield s.random(10, 8_000);
  s.sim.killServer();
}

function* hangs(s: SimSession): Generator<number, void> {
  yield* begin(s);
  guilty(s, s.now + s.unansweredMs, s.unansweredMs);
  yield* forever();
}

function* stalls(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, s.random(1, 5), 5_000);
  const { maxSilence } = s.limits.stall;
  guilty(s, s.now + maxSilence, maxSilence);
  yield* forever();
}

/** Silent for longer than its limit. Then it goes on by itself. */
function* wakesUp(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, 2, 5_000);
  const { maxSilence } = s.limits.stall;
  guilty(s, s.now + maxSilence, maxSilence);
  const { guilt } = s;
  yield maxSilence + s.random(0, 40_000);
  s.write({ kind: 'session.progress' });
  s.sim.after(KNOWN_AFTER, () => {
    if (s.guilt === guilt) s.guilt = undefined;
  });
  yield* text(s, 40, 5_000);
  finish(s);
}

/** The first attempts fail. The next one shows something and hangs. */
function* failsThenStalls(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield 100;
  // The one short failure may go unnoticed. The silence afterwards does not.
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
  // If the event is missed, an inspection shows the deletion once the ghost is silent.
  guilty(s, s.now, s.limits.stall.maxSilence);
  yield* forever();
}

// --- what is lively: healthy, or going nowhere -------------------------------------------------------------------

/** The longest time for one of these steps, ms. */
const STEP_MS = 3_000;

function* step(
  s: SimSession,
  what: Partial<FinishedStep>,
  beforeEnd: () => void = () => {},
): Generator<number, void> {
  ask(s);
  yield s.random(50, STEP_MS);
  // In 2.x only the events of a call tell how long it took.
  if (s.isOfOpencode2 && what.toolMs !== undefined) {
    const call = startTool(s, what.tool ?? 'grep', undefined, what.fingerprint);
    yield what.toolMs + 100;
    endTool(s, call);
  }
  messages += 1;
  beforeEnd();
  s.write({
    kind: 'session.step_finished',
    step: {
      messageID: `m${messages}`,
      empty: false,
      tools: 1,
      toolErrors: 0,
      hasText: false,
      fileChanges: 0,
      tool: 'grep',
      ...what,
    },
  });
}

function* compaction(s: SimSession, beforeEnd: () => void = () => {}): Generator<number, void> {
  s.write({ kind: 'session.compacting', auto: true });
  yield s.random(50, STEP_MS);
  beforeEnd();
  s.write({ kind: 'session.compacted' });
}

/** The same step for ever, or these steps in turn. Guilty with the last step of round `limit`. */
const repeats = (limit: (s: SimSession) => number, ...steps: Partial<FinishedStep>[]): Behaviour =>
  function* (s) {
    yield* begin(s);
    const whole = limit(s) * steps.length;
    for (let done = 0; ; done += 1) {
      const isLast = done + 1 === whole;
      yield* step(s, steps[done % steps.length] ?? {}, () => {
        if (isLast) guilty(s, s.now, whole * STEP_MS);
      });
    }
  };
const maxRepeats = (s: SimSession) => s.limits.loop.maxRepeats;
const EMPTY: Partial<FinishedStep> = { empty: true, tools: 0, tool: undefined, finish: 'unknown' };

function* compactsForEver(s: SimSession): Generator<number, void> {
  yield* begin(s);
  const { maxCompactions } = s.limits.loop;
  for (let done = 1; ; done += 1) {
    yield* step(s, { fingerprint: `a ${done}` });
    yield* compaction(s, () => {
      if (done === maxCompactions) guilty(s, s.now, 2 * maxCompactions * STEP_MS);
    });
  }
}

function* saysTheSame(s: SimSession): Generator<number, void> {
  yield* begin(s);
  for (let textRepeats = 1; ; textRepeats += 4) {
    yield* text(s, 5, 2_000);
    if (textRepeats >= s.limits.loop.maxTextRepeats) guilty(s, s.now, 12_000);
    s.write({ kind: 'session.text_sampled', textRepeats });
  }
}

function* overspends(s: SimSession): Generator<number, void> {
  yield* begin(s);
  const { cost } = s.limits.budget.run;
  for (let spent = 1; ; spent += 1) {
    yield* step(s, { fingerprint: `costs ${spent}`, costUsd: 1 }, () => {
      if (spent === cost) guilty(s, s.now, cost * STEP_MS);
    });
  }
}

/** This many of these steps in turn, then an answer. */
const inTurn = (rounds: number, next: (nth: number) => Partial<FinishedStep>): Behaviour =>
  function* (s) {
    yield* begin(s);
    for (let nth = 0; nth < rounds; nth += 1) yield* step(s, next(nth));
    ask(s);
    yield* text(s, 2, 5_000);
    finish(s);
  };

function* compactsNowAndThen(s: SimSession): Generator<number, void> {
  yield* begin(s);
  for (let nth = 0; nth < 6; nth += 1) {
    for (let each = 0; each < 3; each += 1) yield* step(s, { fingerprint: `${nth} ${each}` });
    yield* compaction(s);
  }
}

function* saysMuchAlike(s: SimSession): Generator<number, void> {
  yield* begin(s);
  for (const textRepeats of [1, 1, 3, 1, 11, 1]) {
    yield* text(s, 5, 2_000);
    s.write({ kind: 'session.text_sampled', textRepeats });
  }
}

function* isDeletedInTheMiddle(s: SimSession): Generator<number, void> {
  yield* begin(s);
  yield* text(s, 2, 5_000);
  // The run is ended before the delete: by the client on 1.x, by the server itself on 2.x.
  s.interrupted = true;
  s.end();
  s.deleted = true;
  s.say({ kind: 'session.deleted' });
}

/** Just below the limit, then something else. */
const ALMOST = (limit: number) => limit - 1;

/** These must never be aborted. */
export const WELL = {
  pollsWithOtherResults: inTurn(20, (nth) => ({ fingerprint: `pods ${nth}` })),
  pollsThatWait: inTurn(20, () => ({ fingerprint: 'pods', toolMs: 5_000 })),
  testsAfterEdits: inTurn(30, (nth) => ({ fingerprint: nth % 2 === 0 ? `edit ${nth}` : 'test' })),
  triesAgainAndAgain: inTurn(28, (nth) => ({
    fingerprint:
      nth % DEFAULT_LOOPS.maxRepeats < ALMOST(DEFAULT_LOOPS.maxRepeats) ? 'ls' : `${nth}`,
  })),
  isEmptyNowAndThen: inTurn(25, (nth) =>
    nth % DEFAULT_LOOPS.maxEmptySteps < ALMOST(DEFAULT_LOOPS.maxEmptySteps)
      ? EMPTY
      : { fingerprint: `${nth}` },
  ),
  callsWithoutFinish: inTurn(20, (nth) => ({ fingerprint: `f${nth}`, finish: 'unknown' })),
  compactsNowAndThen,
  saysMuchAlike,
  spendsWithin: inTurn(15, (nth) => ({ fingerprint: `costs ${nth}`, costUsd: 1 })),
  answers,
  works,
  asksAPerson,
  delegates: delegates(works),
  delegatesDeeper: delegates(delegates(answers)),
  delegatesToAPerson: delegates(asksAPerson),
  isDeletedInTheMiddle,
  prepares,
  compacts,
} satisfies Record<string, Behaviour>;

/** Never aborted for their own sake, but part of a pile-up. */
export const FLAKY = { recovers } satisfies Record<string, Behaviour>;

/** These come back when they are continued. On their own they are never aborted, or aborted at once. */
export const COMING_BACK = { waitsForItsQuota, killsTheServer } satisfies Record<string, Behaviour>;

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
  saysNothing: repeats((s) => s.limits.loop.maxEmptySteps, EMPTY),
  repeatsACall: repeats(maxRepeats, { fingerprint: 'grep' }),
  goesInACycle: repeats(maxRepeats, { fingerprint: 'a' }, { fingerprint: 'b' }),
  editsBackAndForth: repeats(
    maxRepeats,
    { tool: 'edit', fileChanges: 1, fingerprint: 'there' },
    { tool: 'edit', fileChanges: 1, fingerprint: 'back' },
    { fingerprint: 'read' },
  ),
  compactsForEver,
  saysTheSame,
  overspends,
  delegatesToALoop: delegates(repeats(maxRepeats, { fingerprint: 'grep' })),
  delegatesToHung: delegates(hangs),
  delegatesToRetrying: delegates(failsFor({})),
} satisfies Record<string, Behaviour>;

/** These may be aborted for a while, and never after that. */
export const LATE = { wakesUp } satisfies Record<string, Behaviour>;

export const BEHAVIOURS = { ...WELL, ...FLAKY, ...BAD, ...LATE, ...COMING_BACK };
export type BehaviourName = keyof typeof BEHAVIOURS;
