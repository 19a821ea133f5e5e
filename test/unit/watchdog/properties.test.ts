/**
 * Properties that hold in every history: in those of a simulated opencode with a truth of its own, and in plain
 * nonsense.
 *
 * `WATCHDOG_HISTORIES=1000000` runs that many of each. A failure prints the history's seed, and leaves its observations
 * in a file that `replay` can read.
 */
import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FORMAT_VERSION, type Header, toLine } from '../../../src/recording/format.js';
import { type Act, isNote, type Note, PARKED_ENDS } from '../../../src/watchdog/decision.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import type { Policy } from '../../../src/watchdog/policy.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';
import { BAD, type BehaviourName, COMING_BACK, FLAKY, LATE, WELL } from './behaviours.js';
import { policyWith } from './driver.js';
import { type AbortOf, type History, HORIZON, type SimSession, Simulation } from './simulation.js';
import { WaysBackTruth } from './ways-back-truth.js';

/** In the suite about 10,000 histories altogether. The long run asks for a million. */
const RUNS = Number(process.env.WATCHDOG_HISTORIES ?? 1_500);
/** Fewer, because these histories are the longest, and dense in what they test. */
const RETURNING_RUNS = Math.ceil(RUNS / 3);
const NONSENSE_RUNS = Number(process.env.WATCHDOG_HISTORIES ?? 5_000);
/** The suite runs the same histories every time. The nightly run uses new ones each night, and prints its seed. */
const SEED = process.env.WATCHDOG_HISTORIES === undefined ? { seed: 20_261_122 } : {};
const TIMEOUT = 120_000 + RUNS * 20;

/**
 * The time that monitor and executor may need on top of a limit: latencies, a poll that comes first, a repeated
 * inspection.
 */
const SLACK = 3_000;

const policies: fc.Arbitrary<Policy> = fc
  .record({
    maxAttempts: fc.constantFrom(1, 3, 5, 100),
    maxDuration: fc.constantFrom(20_000, 60_000),
    minSessions: fc.constantFrom(2, 3, 1_000),
    minDuration: fc.constantFrom(5_000, 30_000),
    maxRestarts: fc.constantFrom(1, 2, 4),
  })
  .map(({ maxAttempts, maxDuration, minSessions, minDuration, maxRestarts }) =>
    policyWith({
      retry: { maxAttempts, maxDuration, maxWait: 120_000 },
      stall: { maxSilence: 60_000, maxToolTime: 100_000 },
      abort: { dispose: true },
      budget: { run: { cost: 20, tokens: 0, steps: 0 } },
      pileup: { minSessions, minDuration, rest: 120_000 },
      restart: {
        maxRestarts,
        window: 90_000,
        backoff: { initial: 1_000, max: 10_000 },
        cooldown: 20_000,
      },
    }),
  );

const at = fc.nat(120_000);
const WORKING: readonly AbortOf[] = ['works'];
const ENDING: readonly AbortOf[] = ['works', 'works', 'slow'];
const ANY_ABORT: readonly AbortOf[] = ['works', 'works', 'works', 'fails', 'lost', 'slow'];
const sessionsOf = (names: readonly string[], aborts: readonly AbortOf[]) =>
  fc.array(
    fc.record({
      behaviour: fc.constantFrom(...(names as BehaviourName[])),
      at,
      abort: fc.constantFrom(...aborts),
    }),
    { minLength: 1, maxLength: 6 },
  );
type Kind = History['disturbances'][number]['kind'];
const upTo = (maxLength: number, ...kinds: Kind[]) =>
  fc.array(
    fc.record({
      kind: fc.constantFrom(...kinds),
      at: fc.nat(HORIZON - 60_000),
      ms: fc.nat({ max: 40_000 }),
    }),
    { maxLength },
  );
const disturbancesOf = (...kinds: Kind[]) => upTo(4, ...kinds);
const restarts = fc.array(fc.constantFrom('done' as const, 'alive' as const, 'dead' as const), {
  minLength: 1,
  maxLength: 4,
});
const ALL = [...Object.keys(WELL), ...Object.keys(FLAKY), ...Object.keys(BAD)];
/** Texts are sampled from deltas that contain words, and the simulated ones contain none (text-sampler.test.ts). */
const SAMPLED: ReadonlySet<string> = new Set(['saysMuchAlike', 'saysTheSame']);

/** Everything may go wrong. */
const anything: fc.Arbitrary<History> = fc.record({
  seed: fc.integer(),
  policy: policies,
  sessions: sessionsOf(ALL, ANY_ABORT),
  disturbances: disturbancesOf(
    ...(['cut', 'exit', 'freeze', 'gap', 'restart', 'pause', 'manual'] as const),
    ...(['streamless', 'reload'] as const),
  ),
  restarts,
});
/**
 * Sessions that were stuck go on while nothing may be done about them, and nobody hears of it. (Aborts that fail take so
 * long that a session may go on meanwhile: without an event stream nobody could know.)
 */
const goingOn: fc.Arbitrary<History> = fc.record({
  seed: fc.integer(),
  policy: policies,
  sessions: sessionsOf([...Object.keys(LATE), 'answers'], WORKING),
  disturbances: fc
    .tuple(fc.nat(60_000), fc.integer({ min: 60_000, max: 220_000 }))
    .map(([streamless, pause]) => [
      { kind: 'streamless', at: streamless, ms: 40_000 },
      { kind: 'pause', at: pause, ms: 40_000 },
    ]),
  restarts,
});
/** The server keeps serving. Only the stream is cut, and nothing piles up. */
const onlyCuts: fc.Arbitrary<History> = fc.record({
  seed: fc.integer(),
  policy: policies.map((policy) => ({
    ...policy,
    pileup: { ...policy.pileup, minSessions: 1_000 },
  })),
  sessions: sessionsOf(ALL, WORKING),
  disturbances: disturbancesOf('cut', 'gap', 'manual'),
  restarts: fc.constant(['done' as const]),
});

/** Runs are cut by crashes and restarts, aborted by the watchdog and by people, and continued. */
const continued: fc.Arbitrary<History> = fc.record({
  seed: fc.integer(),
  policy: policies.map((policy) => ({
    ...policy,
    recover: {
      ...policy.recover,
      afterAbort: 'continue' as const,
      afterRestart: 'continue' as const,
    },
  })),
  sessions: sessionsOf(ALL, ENDING),
  disturbances: disturbancesOf('exit', 'restart', 'manual', 'pause', 'exit'),
  restarts,
});

const RETURNING = Object.keys(COMING_BACK);

/** Quotas come back, runs kill the server, people come back first, daemons are killed. */
const comingBack: fc.Arbitrary<History> = fc.record({
  seed: fc.integer(),
  policy: fc
    .tuple(policies, fc.constantFrom('none' as const, 'continue' as const), fc.boolean())
    .map(([policy, afterAbort, isPatient]) => ({
      ...policy,
      recover: {
        ...policy.recover,
        afterAbort,
        afterRestart: 'continue' as const,
        afterQuota: 'continue' as const,
        maxPerSession: 4,
        ...(!isPatient && { maxPark: 130_000 }),
      },
    })),
  sessions: sessionsOf([...RETURNING, ...RETURNING, ...RETURNING, ...ALL], ENDING),
  disturbances: upTo(
    8,
    ...(['exit', 'restart', 'manual', 'pause', 'cut', 'delete', 'daemon', 'both'] as const),
    ...(['prompt', 'prompt', 'prompt'] as const),
  ),
  restarts,
});

/** A run that began just before may be cut: nobody could have known of it. */
const FRESH_MS = 1_000;

/**
 * Something has told the watchdog of this run. While the stream is lost and a slow server answers no check, a run that
 * begins is known to nobody for seconds.
 */
function isKnownToRun({ id, begunAt }: SimSession, { observed }: Simulation): boolean {
  return observed.some(
    (o) =>
      o.at >= begunAt &&
      (o.kind === 'status.polled' ? o.statuses.has(id) : 'sessionID' in o && o.sessionID === id),
  );
}

/** What must hold whatever happens, checked at each act. */
class Laws {
  readonly #restarts: number[] = [];
  #acting = false;
  /** Whether the restart under way counts for the budget. */
  #counted = false;
  readonly #aborting = new Set<string>();
  /** Sessions whose run an abort or a dispose has ended, or is about to end, and the log says so. */
  readonly #saidEnded = new Set<string>();

  constructor(
    readonly policy: Policy,
    /** The watchdog that runs now. */
    readonly watchdog: () => Watchdog,
  ) {}

  /** The new daemon does not know what the old one was doing. */
  nextDaemon(): void {
    this.#restarts.length = 0;
    this.#acting = false;
    this.#aborting.clear();
    this.#saidEnded.clear();
  }

  /** Whoever reads that the watchdog has aborted a run finds the act that did it. */
  noted(note: Note, now: number): void {
    if (note.note === 'session.aborted') this.#saidEnded.add(note.sessionID);
    if (note.note === 'directory.disposing') {
      for (const id of note.interrupted) this.#saidEnded.add(id);
    }
    if (note.note !== 'session.ended') return;
    const { sessionID: id, outcome, reason } = note;
    const isSaid = this.#saidEnded.delete(id);
    // The result of an abort that is under way is yet to come.
    if (outcome !== 'aborted' || reason === undefined || isSaid || this.#aborting.has(id)) return;
    throw new Error(`${id} is said to be aborted for ${reason}, and not by what, at ${now}`);
  }

  /** Called before the watchdog gets the observation. */
  observed(o: Observation): void {
    switch (o.kind) {
      case 'restart.done':
      case 'restart.failed':
      case 'restart.skipped':
        // A skipped restart is not counted.
        if (o.kind === 'restart.skipped' && this.#acting && this.#counted) this.#restarts.pop();
        // A restart that has ended, whether it worked or not, has ended every abort too, unless the old server keeps
        // serving.
        if (o.kind === 'restart.done' || (o.kind === 'restart.failed' && !o.serverAlive)) {
          if (this.#acting) this.#aborting.clear();
        }
        this.#acting = false;
        return;
      case 'server.exited':
        this.#aborting.clear();
        return;
      case 'abort.done':
      case 'abort.failed':
      case 'abort.withdrawn':
      case 'abort.skipped':
        this.#aborting.delete(o.sessionID);
    }
  }

  /** `waitForHealthy` lasts longer than a history, so no healthy run may be cut. */
  disposed(session: SimSession, sim: Simulation): void {
    const { now, sessions } = sim;
    const isParent = [...sessions.values()].some(({ parentID }) => parentID === session.id);
    const isFresh = now - session.begunAt <= FRESH_MS || !isKnownToRun(session, sim);
    if (session.guilt !== undefined || session.retried || isParent || isFresh) return;
    throw new Error(`${session.id} was healthy, cut by a dispose at ${now}`);
  }

  /** A person may try it on any server that runs. The watchdog itself does so only if the server is well. */
  #canBeAborted({ sessionID, reason }: Extract<Act, { act: 'abort' }>, now: number): void {
    const { kind } = this.watchdog().server.state;
    if (reason === 'manual' || kind === 'healthy' || kind === 'restarting') return;
    throw new Error(`${sessionID}: an abort while the server is ${kind}, at ${now}`);
  }

  decided(act: Act, now: number): void {
    switch (act.act) {
      case 'abort':
        if (this.#aborting.has(act.sessionID)) {
          throw new Error(`${act.sessionID}: a second abort while one is under way, at ${now}`);
        }
        // Within one batch of decisions an abort may come before the restart that makes it void, never after it.
        if (this.#acting) throw new Error(`an abort after a restart was decided, at ${now}`);
        this.#canBeAborted(act, now);
        this.#aborting.add(act.sessionID);
        return;
      case 'start':
      case 'restart': {
        if (this.#acting) throw new Error(`a restart while one is under way, at ${now}`);
        this.#acting = true;
        this.#counted = act.act === 'restart' && act.reason !== 'manual';
        if (!this.#counted) return;
        this.#restarts.push(now);
        const { maxRestarts, window } = this.policy.restart;
        const recent = this.#restarts.filter((each) => now - each <= window).length;
        if (recent > maxRestarts) {
          throw new Error(`${recent} restarts within ${window} ms, at ${now}`);
        }
      }
    }
  }
}

/** Runs one history under the laws. `onAct` checks what this kind of history must not show. */
function live(
  history: History,
  onAct: (act: Act, sim: Simulation) => void = () => {},
  /** May return a check for the end of the history. */
  begin: (sim: Simulation) => (() => void) | undefined = () => undefined,
): Simulation {
  let laws: Laws | undefined;
  const sim = new Simulation(history, (act, s) => {
    laws?.decided(act, s.now);
    onAct(act, s);
  });
  laws = new Laws(history.policy, () => sim.watchdog);
  sim.onNextDaemon = () => laws.nextDaemon();
  const finish = begin(sim);
  const observe = sim.observe.bind(sim);
  sim.observe = (o) => {
    laws.observed(o);
    observe(o);
  };
  sim.onDisposed = (session) => laws.disposed(session, sim);
  const { onNote } = sim;
  sim.onNote = (note) => {
    laws.noted(note, sim.now);
    if (note.note === 'session.aborted' && sim.sessions.get(note.sessionID)?.aborts === 0) {
      throw new Error(`${note.sessionID} was never sent an abort that worked, at ${sim.now}`);
    }
    onNote(note);
  };
  try {
    sim.run();
    finish?.();
  } catch (error) {
    throw new Error(`${String(error)}\nobservations: ${keep(sim.observed, history.policy)}`, {
      cause: error,
    });
  }
  return sim;
}

/**
 * Writes the observations as a recording, so that `replay` can show them. There is one file: the last (and smallest)
 * failing history stays.
 */
function keep(observed: readonly Observation[], policy: Policy): string {
  const file = join(tmpdir(), `watchdog-history-${process.pid}.ndjson`);
  const header: Header = {
    recording: 'opencode-watchdog',
    format: FORMAT_VERSION,
    version: 'test',
    startedAt: new Date().toISOString(),
    acts: true,
    policy: { ...policy },
    about: 'a random history that broke a law',
  };
  const lines = [JSON.stringify(header), ...observed.map((o) => toLine(o, (text) => text))];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

/**
 * The watchdog has been told that it is a subagent. If it has not, `continueSession` reads that and refuses before
 * anything is sent.
 */
const isKnownSubagent = (id: string, { observed }: Simulation): boolean =>
  observed.some((o) => {
    if (!('sessionID' in o) || o.sessionID !== id) return false;
    if (o.kind === 'session.info') return o.info.parentID !== undefined;
    return o.kind === 'session.inspected' && o.result.found && o.result.info.parentID !== undefined;
  });

/** The histories of 2.x are those of 1.x, written in its frames and read by its reader, so a part of them is enough. */
const SHARE_OF = { 1: 1, 2: 0.1 } as const;

describe.each([1, 2] as const)('in every history of a simulated opencode %i.x', (api) => {
  const check = (arbitrary: fc.Arbitrary<History>, property: (history: History) => void) =>
    fc.assert(
      fc.property(
        arbitrary.map((history) => (api === 1 ? history : onOpencode2(history))),
        property,
      ),
      { numRuns: Math.round(RUNS * SHARE_OF[api]), ...SEED },
    );

  test('no healthy session is touched, aborts and restarts are one at a time and within their budget', {
    timeout: TIMEOUT,
  }, () => {
    check(fc.oneof({ weight: 4, arbitrary: anything }, goingOn), (history) => {
      live(history, (act, sim) => {
        // A person may abort a healthy session.
        if (act.act !== 'abort' || act.reason === 'manual') return;
        const session = sim.sessions.get(act.sessionID);
        if (session && !session.retried && session.guilt === undefined && !isOver(sim, act)) {
          throw new Error(`${act.sessionID} was healthy, aborted for ${act.reason} at ${sim.now}`);
        }
      });
    });
  });

  test('nothing is continued twice, and nothing that runs, is a person’s or a subagent’s is continued', {
    timeout: TIMEOUT,
  }, () => {
    let continues = 0;
    check(continued, (history) => {
      /** When a person had a session's run aborted, as an index into the observations. */
      const askedAt = new Map<string, number>();
      const continuedAt = new Map<string, number>();
      live(history, (act, sim) => {
        if (act.act === 'abort' && act.reason === 'manual') {
          askedAt.set(act.sessionID, sim.observed.length);
        }
        if (act.act !== 'continue') return;
        continues += 1;
        if (act.count > history.policy.recover.maxPerSession) {
          throw new Error(`${act.sessionID} is continued for the ${act.count}th time`);
        }
        const before = continuedAt.get(act.sessionID);
        if (
          before !== undefined &&
          endSince(act.sessionID, sim, before, 'continue.') === undefined
        ) {
          throw new Error(`${act.sessionID} is continued twice, at ${sim.now}`);
        }
        continuedAt.set(act.sessionID, sim.observed.length);
        const session = sim.sessions.get(act.sessionID);
        const why = isUnwanted(act.sessionID, sim, askedAt.get(act.sessionID))
          ? 'a person has aborted it'
          : session?.parentID !== undefined && isKnownSubagent(act.sessionID, sim)
            ? 'it is a subagent'
            : session?.status.type !== 'idle'
              ? 'it runs'
              : undefined;
        if (why !== undefined) {
          throw new Error(`${act.sessionID} is continued at ${sim.now}, and ${why}`);
        }
      });
    });
    expect(continues).toBeGreaterThan(0);
  });

  test('one that recovers is left alone, and every stuck one is acted on within its limit and verifyTimeout', {
    timeout: TIMEOUT,
  }, () => {
    check(onlyCuts, (history) => {
      let missed: string | undefined;
      const acted = new Set<string>();
      const sim = live(history, (act, s) => {
        if (act.act === 'restart') throw new Error(`a restart at ${s.now}`);
        if (act.act !== 'abort' || act.reason === 'manual') return;
        acted.add(act.sessionID);
        const session = s.sessions.get(act.sessionID);
        if (session?.guilt === undefined && !isOver(s, act)) {
          throw new Error(`${act.sessionID} was within its limits, ${act.reason} at ${s.now}`);
        }
        missed ??= late(s);
      });
      missed ??= late(sim);
      if (missed !== undefined)
        throw new Error(`${missed}\nobservations: ${keep(sim.observed, history.policy)}`);
    });
  });
});

describe('in every history of a simulated opencode 1.x whose daemons die, too', () => {
  test('a parked run is continued, let go or superseded, and nothing is continued that a person or its own end has ended', {
    timeout: TIMEOUT,
  }, () => {
    const seen: Record<string, number> = {};
    const lives = fc.property(comingBack, (history) => {
      let truth: WaysBackTruth | undefined;
      live(
        history,
        (act) => {
          if (act.act === 'continue' && act.because === 'quota') truth?.told(act.sessionID);
        },
        (sim) => {
          const own = new WaysBackTruth(sim);
          truth = own;
          const { onNextDaemon } = sim;
          sim.onNextDaemon = () => {
            onNextDaemon();
            own.nextDaemon();
          };
          return () => own.finish();
        },
      );
      for (const [what, times] of Object.entries(truth?.seen ?? {})) {
        seen[what] = (seen[what] ?? 0) + times;
      }
    });
    fc.assert(lives, { numRuns: RETURNING_RUNS, ...SEED });
    for (const what of [...PARKED_ENDS, 'quarantined', 'daemon', ...ENDED_BY]) {
      expect(seen[what], `${what}, in ${JSON.stringify(seen)}`).toBeGreaterThan(0);
    }
  });
});

function onOpencode2({ sessions, ...history }: History): History {
  return { ...history, api: 2, sessions: sessions.filter((each) => !SAMPLED.has(each.behaviour)) };
}

/** The kinds of continuation that the histories must contain. */
const ENDED_BY = ['watchdog', 'server'].map((by) => `continued after ${by}`);

/** How an act on a session ended: by its own outcome, or with the server. */
function endSince(id: string, { observed }: Simulation, from: number, act: 'abort.' | 'continue.') {
  return observed.slice(from).find((o) => {
    if (o.kind === 'server.exited' || o.kind === 'restart.done') return true;
    return o.kind.startsWith(act) && 'sessionID' in o && o.sessionID === id;
  });
}

/** A person's abort has worked, or the server has ended before it could. A prompt after that begins another run. */
function isUnwanted(id: string, sim: Simulation, askedAt: number | undefined): boolean {
  if (askedAt === undefined) return false;
  const end = endSince(id, sim, askedAt, 'abort.');
  if (end === undefined || !ENDS_A_RUN.has(end.kind)) return false;
  const later = sim.observed.slice(sim.observed.indexOf(end) + 1);
  return !later.some((o) => o.kind === 'session.prompted' && o.sessionID === id);
}

const ENDS_A_RUN: ReadonlySet<Observation['kind']> = new Set([
  'abort.done',
  'server.exited',
  'restart.done',
]);

/** The session's run has really ended, and the news is on its way: the last check will find it idle. */
function isOver(sim: Simulation, act: Extract<Act, { act: 'abort' }>): boolean {
  return sim.sessions.get(act.sessionID)?.status.type === 'idle';
}

/** A stuck session whose time is over and that has not been acted on. */
function late(sim: Simulation): string | undefined {
  for (const { id, guilt, aborts } of sim.sessions.values()) {
    if (guilt === undefined || aborts > 0) continue;
    const counted = Math.max(guilt.at, sim.disturbedUntil + guilt.limit);
    const due = counted + sim.history.policy.abort.verifyTimeout + SLACK;
    if (sim.now > due) return `${id} should have been aborted by ${due}, it is ${sim.now}`;
  }
  return undefined;
}

// --- nonsense --------------------------------------------------------------------------------------------------------

const sessionID = fc.constantFrom('a', 'b', 'c', 'd');
const directory = fc.constantFrom('/a', '/b', undefined);
const status = fc.oneof(
  fc.constant({ type: 'idle' as const }),
  fc.constant({ type: 'busy' as const }),
  fc.record({
    type: fc.constant('retry' as const),
    attempt: fc.nat(8),
    message: fc.constantFrom('Rate limit reached', 'Insufficient credits'),
    nextInMs: fc.constantFrom(0, 2_000, 3_600_000),
  }),
);
const tool = fc.record({
  callID: fc.constantFrom('x', 'y'),
  tool: fc.constantFrom('bash', 'task'),
  startedAt: fc.integer({ min: -100_000, max: 400_000 }),
});
const childTool = fc.record({
  callID: fc.constant('z'),
  tool: fc.constant('task'),
  startedAt: fc.nat(400_000),
  childID: sessionID,
});
const request = fc.record({
  requestID: fc.constantFrom('p', 'q'),
  on: fc.constantFrom('permission' as const, 'question' as const),
});
const kind = <K extends string>(name: K) => fc.constant(name);
const of = <T extends Record<string, fc.Arbitrary<unknown>>>(name: string, fields: T) =>
  fc.record({ kind: kind(name), sessionID, directory, ...fields });

/** An observation of any kind, in any order. `at` and `startedAt` are filled in when it is sent. */
const nonsense = fc.oneof(
  { weight: 8, arbitrary: of('session.status', { status }) },
  { weight: 2, arbitrary: of('session.progress', {}) },
  of('session.step_finished', {}),
  of('session.info', { info: fc.record({ parentID: sessionID }, { requiredKeys: [] }) }),
  of('session.asking_model', { messageID: fc.constantFrom('m', 'n'), model: kind('f/m') }),
  of('session.prompted', { messageID: fc.constantFrom('u', 'v') }),
  of('tool.running', { tool: fc.oneof(tool, childTool) }),
  of('tool.ended', { callID: fc.constantFrom('x', 'y', 'z') }),
  of('request.asked', { request }),
  of('request.answered', { requestID: fc.constantFrom('p', 'q') }),
  of('session.compacting', {}),
  of('session.compacted', {}),
  of('session.error', {
    name: fc.constantFrom('APIError', 'MessageAbortedError'),
    message: kind('x'),
  }),
  of('session.deleted', {}),
  of('session.inspected', {
    result: fc.oneof(
      fc.constant({ found: false }),
      fc.record({
        found: fc.constant(true),
        info: fc.constant({}),
        tools: fc.array(fc.oneof(tool, childTool), { maxLength: 2 }),
        requests: fc.array(request, { maxLength: 2 }),
        preparing: fc.boolean(),
        mark: fc.constantFrom('1', '2'),
      }),
    ),
  }),
  of('session.inspect_failed', { error: kind('x') }),
  of('abort.done', { tookMs: fc.nat(10) }),
  of('abort.failed', { error: kind('x') }),
  of('abort.withdrawn', { seen: fc.constantFrom('idle', 'missing', 'busy', 'withdrawn') }),
  of('abort.skipped', {}),
  fc.record({ kind: kind('abort.requested'), sessionID, by: kind('command') }),
  fc.record({ kind: fc.constantFrom('acts.paused' as const, 'acts.resumed' as const) }),
  of('continue.done', { model: kind('f/m') }),
  of('continue.failed', {
    error: kind('x'),
    superseded: fc.boolean(),
    unreachable: fc.constantFrom('sent', 'unsent', undefined),
  }),
  of('continue.skipped', {}),
  of('reject.failed', { requestID: fc.constantFrom('p', 'q'), error: kind('x') }),
  of('reject.skipped', { requestID: fc.constantFrom('p', 'q') }),
  fc.record({
    kind: kind('runs.restored'),
    serverPid: fc.constantFrom(1, 2, undefined),
    runs: fc.array(
      fc.record({ sessionID, count: fc.nat(2), waiting: fc.constantFrom(true, undefined) }),
      { maxLength: 3 },
    ),
    inARow: fc.dictionary(sessionID, fc.nat(3)).map((each) => new Map(Object.entries(each))),
    quarantined: fc.array(fc.record({ sessionID }), { maxLength: 2 }),
  }),
  fc.record({
    kind: kind('parked.restored'),
    runs: fc.array(
      fc.record({
        sessionID,
        model: kind('f/m'),
        count: fc.nat(2),
        inMs: fc.integer({ min: -100_000, max: 100_000 }),
        forMs: fc.nat(100_000),
      }),
      { maxLength: 3 },
    ),
  }),
  fc.record({ kind: kind('policy.changed') }),
  fc.record({
    kind: kind('status.polled'),
    directory: fc.constantFrom('/a', '/b'),
    statuses: fc.dictionary(sessionID, status).map((each) => new Map(Object.entries(each))),
  }),
  fc.record({ kind: kind('directory.disposed'), directory: fc.constantFrom('/a', '/b') }),
  fc.record({
    kind: kind('dispose.done'),
    directory: fc.constantFrom('/a', '/b'),
    tookMs: fc.nat(9),
  }),
  fc.record({
    kind: fc.constantFrom('dispose.skipped' as const, 'dispose.failed' as const),
    directory: fc.constantFrom('/a', '/b'),
    error: kind('x'),
  }),
  fc.record({
    kind: kind('dispose.withdrawn'),
    directory: fc.constantFrom('/a', '/b'),
    seen: fc.constantFrom('idle' as const, 'others' as const),
  }),
  fc.record({
    kind: kind('server.attached'),
    running: fc.boolean(),
    pid: fc.constantFrom(1, 2, undefined),
  }),
  { weight: 2, arbitrary: fc.record({ kind: kind('probe.ok') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind('probe.failed'),
      failure: kind('timeout'),
      error: kind('x'),
    }),
  },
  fc.record({ kind: kind('probe.unauthorized'), status: fc.constant(401) }),
  fc.record({ kind: kind('server.suspended'), pid: fc.constantFrom(1, 2) }),
  fc.record({
    kind: fc.constantFrom('continue_process.done' as const, 'continue_process.skipped' as const),
  }),
  fc.record({ kind: kind('continue_process.failed'), error: kind('x') }),
  fc.record({ kind: kind('server.exited'), pid: fc.constantFrom(1, 2, undefined) }),
  {
    weight: 2,
    arbitrary: fc.record({ kind: kind('restart.done'), pid: fc.nat(3), tookMs: fc.nat(9) }),
  },
  fc.record({ kind: kind('restart.failed'), error: kind('x'), serverAlive: fc.boolean() }),
  fc.record({ kind: kind('restart.skipped') }),
  fc.record({
    kind: kind('restart.requested'),
    reason: fc.constantFrom('manual', 'memory', 'schedule'),
  }),
  fc.record({ kind: kind('usage.within'), reason: kind('memory') }),
  fc.record({ kind: kind('stream.connected'), path: kind('/event') }),
  fc.record({ kind: kind('stream.lost'), reason: kind('end'), silentMs: fc.nat(9) }),
  fc.record({ kind: kind('stream.alive') }),
  fc.record({ kind: kind('stream.resynced') }),
  fc.record({ kind: kind('gap'), ms: fc.nat(100_000) }),
);
/** Everything that is off by default. */
const RECOVERS = {
  afterAbort: 'continue',
  afterRestart: 'continue',
  afterQuota: 'continue',
  models: ['other/m'],
} as const satisfies Partial<Record<keyof Policy['recover'], unknown>>;
/** The time that passes before an observation, and how old its `startedAt` is. */
const step = fc.record({
  o: nonsense,
  after: fc.constantFrom(0, 0, 1, 100, 5_000, 30_000, 100_000),
  age: fc.constantFrom(0, 10, 10_000),
});
/** More ticks in a row than this without an observation are a busy loop. */
const MAX_TICKS = 1_000;

describe('in every sequence of observations, sensible or not', () => {
  test('nothing is thrown, the deadline is ahead, and the laws hold', { timeout: TIMEOUT }, () => {
    const waiting = fc.record({
      maxDuration: fc.constantFrom(0, 20_000),
      action: fc.constantFrom('report' as const, 'reject' as const, 'abort' as const),
    });
    const sequence = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' });
    fc.assert(
      fc.property(policies, waiting, fc.boolean(), sequence, (base, wait, acts, steps) => {
        const recover = { ...base.recover, ...RECOVERS, models: [...RECOVERS.models] };
        const policy = { ...base, waiting: wait, recover };
        const watchdog = new Watchdog({ policy, acts });
        const laws = new Laws(policy, () => watchdog);
        let now = 0;
        const tell = (o: Observation) => {
          laws.observed(o);
          for (const decision of watchdog.observe(o)) {
            if (!isNote(decision)) laws.decided(decision, o.at);
          }
          if (watchdog.deadline !== undefined && watchdog.deadline <= o.at) {
            throw new Error(`deadline ${watchdog.deadline} at ${o.at} (${o.kind})`);
          }
        };
        for (const { o, after, age } of steps) {
          const then = now + after;
          for (let ticks = 0; (watchdog.deadline ?? Number.POSITIVE_INFINITY) <= then; ticks += 1) {
            if (ticks > MAX_TICKS) throw new Error('busy loop');
            now = watchdog.deadline ?? then;
            tell({ kind: 'tick', at: now });
          }
          now = then;
          tell({ ...o, at: now, startedAt: now - age } as unknown as Observation);
        }
      }),
      { numRuns: NONSENSE_RUNS, ...SEED },
    );
  });
});
