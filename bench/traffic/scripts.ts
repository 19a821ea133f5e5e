/**
 * What sessions do: the work that is most of the traffic, the healthy ones that look stuck, and the stuck ones.
 *
 * A script says one frame at a time; the pace of the whole town decides when it goes on.
 */
import type { Actor } from './actor.js';
import * as frames from './frames.js';
import type { Step, Town } from './town.js';

export interface Limits {
  /** `stall.maxSilence`, ms. */
  silence: number;
  /** `stall.maxToolTime`, ms. */
  toolTime: number;
  /** `retry.maxAttempts`, `maxDuration`, `maxWait` (ms). */
  attempts: number;
  retryDuration: number;
  retryWait: number;
  /** `pileup.minDuration`, ms: several retrying sessions may be ended from here on. */
  pileup: number;
  /** opencode's first wait between attempts, ms; it doubles. */
  firstWait: number;
}

export interface Part {
  actor: Actor;
  town: Town;
  limits: Limits;
  random(): number;
  /** Frames of an ordinary run, about. */
  length: number;
  /** A subagent's run of a new session; settles when it is over. */
  delegate(kind: string): { childID: string; over: Promise<unknown> };
}

export type Script = (part: Part) => Generator<Step, void, void>;

const RATE_LIMIT = 'Rate limit reached for requests';
const now = () => performance.now();

function* begin({ actor }: Part): Generator<Step, void, void> {
  yield actor.prompt();
  yield actor.touched();
  yield actor.busy();
  yield frames.diff(actor.session);
  yield actor.ask();
}

function* end({ actor }: Part): Generator<Step, void, void> {
  yield actor.answered('stop');
  yield actor.busy();
  yield actor.status(undefined);
  yield frames.idle(actor.session);
  yield actor.touched();
}

function* says({ actor, random }: Part, deltas: number): Generator<Step, void, void> {
  yield actor.textBegins();
  for (let i = 0; i < deltas; i += 1) yield actor.delta(3 + Math.floor(random() * 30));
  yield actor.textEnds();
}

/** One step that calls a tool; a tenth of them print much, in several updates. */
function* toolStep({ actor, random }: Part): Generator<Step, void, void> {
  const tool = actor.tool('bash', { command: 'npm test', description: 'Runs the tests' });
  yield actor.pending(tool);
  yield actor.running(tool);
  const prints = random() < 0.1;
  const size = prints ? 500 + Math.floor(random() * 8_000) : 200;
  if (prints) for (let i = 1; i <= 5; i += 1) yield actor.printed(tool, (size * i) / 5);
  yield { wait: 200 + random() * 2_000 };
  yield actor.done(tool, size);
  yield actor.stepFinish('tool-calls');
  yield actor.answered('tool-calls');
  yield actor.busy();
  yield actor.ask();
}

/** Text and tools for about `length` frames, eight or nine of ten of them deltas. */
function* work(part: Part): Generator<Step, void, void> {
  const { actor, random, length } = part;
  yield actor.stepStart();
  for (let left = length * (0.5 + random()); left > 0; ) {
    const deltas = Math.ceil(Math.min(left, 20 + random() * 120));
    yield* says(part, deltas);
    left -= deltas + 10;
    if (left <= 0) break;
    yield* toolStep(part);
    yield actor.stepStart();
  }
  yield actor.stepFinish('stop');
}

function* inTool(part: Part, ms: number): Generator<Step, void, void> {
  const { actor } = part;
  const tool = actor.tool('bash', { command: 'sleep 600' });
  yield actor.pending(tool);
  yield actor.running(tool);
  yield { wait: ms };
  yield actor.done(tool, 20);
  yield actor.stepFinish('tool-calls');
}

const asking = (kind: 'permission' | 'question'): Script =>
  function* (part) {
    const { actor, limits, random } = part;
    yield* begin(part);
    yield actor.stepStart();
    const tool = actor.tool('bash', { command: 'ls' });
    yield actor.running(tool);
    const { id, frame } = actor.asks(kind, tool);
    yield frame;
    yield { wait: limits.silence * (1.2 + random()) };
    yield actor.answers(kind, id);
    yield actor.done(tool, 100);
    yield actor.stepFinish('tool-calls');
    yield* says(part, 20);
    yield actor.stepFinish('stop');
    yield* end(part);
  };

/** Attempts 1 to `count`, each a status and the busy blip after its wait. */
function* failing(part: Part, count: number, message = RATE_LIMIT): Generator<Step, void, void> {
  const { actor, limits } = part;
  for (let attempt = 1; attempt <= count; attempt += 1) {
    const wait = limits.firstWait * 2 ** (attempt - 1);
    yield actor.retry(attempt, wait, message);
    yield { wait };
    yield actor.busy();
    yield { wait: Math.min(200, limits.firstWait / 5) };
  }
}

/** Healthy, with their share of the runs. */
const healthy: Record<string, [share: number, script: Script]> = {
  works: [
    70,
    function* (part) {
      yield* begin(part);
      yield* work(part);
      yield* end(part);
    },
  ],
  'quiet tool': [
    4,
    function* (part) {
      yield* begin(part);
      yield part.actor.stepStart();
      yield* inTool(part, Math.min(part.limits.silence * 2, part.limits.toolTime * 0.7));
      yield* end(part);
    },
  ],
  'waits for a permission': [3, asking('permission')],
  'waits for an answer': [2, asking('question')],
  delegates: [
    4,
    function* (part) {
      const { actor } = part;
      yield* begin(part);
      yield actor.stepStart();
      const { childID, over } = part.delegate('slow');
      const tool = actor.tool('task', { description: 'look', prompt: 'look', agent: 'explore' });
      yield actor.pending(tool);
      yield actor.running(tool, { sessionId: childID });
      yield { until: over };
      yield actor.done(tool, 300);
      yield actor.stepFinish('tool-calls');
      yield* end(part);
    },
  ],
  slow: [
    3,
    function* (part) {
      const { actor, limits } = part;
      yield* begin(part);
      yield actor.stepStart();
      yield actor.textBegins();
      for (let i = 0; i < 4; i += 1) {
        yield { wait: limits.silence * 0.7 };
        yield actor.delta(20);
      }
      yield actor.textEnds();
      yield actor.stepFinish('stop');
      yield* end(part);
    },
  ],
  'recovers from a retry': [
    4,
    function* (part) {
      yield* begin(part);
      yield* failing(part, 3);
      yield part.actor.stepStart();
      yield* says(part, 30);
      yield part.actor.stepFinish('stop');
      yield* end(part);
    },
  ],
  'prepares for long': [
    1,
    function* (part) {
      const { actor, limits } = part;
      yield actor.prompt();
      yield actor.busy();
      yield { wait: Math.min(limits.silence * 1.5, limits.toolTime * 0.7) };
      yield actor.ask();
      yield actor.stepStart();
      yield* says(part, 20);
      yield actor.stepFinish('stop');
      yield* end(part);
    },
  ],
  compacts: [
    1,
    function* (part) {
      const { actor, limits } = part;
      yield* begin(part);
      yield actor.compaction();
      yield actor.ask({ summary: true });
      yield { wait: Math.min(limits.silence * 1.1, limits.toolTime * 0.6) };
      yield* says(part, 3);
      yield frames.compacted(actor.session);
      yield actor.stepFinish('stop');
      yield* end(part);
    },
  ],
  'fails at once': [
    1,
    function* (part) {
      const { actor } = part;
      yield* begin(part);
      yield frames.error(actor.session, {
        name: 'APIError',
        data: { message: 'Incorrect API key provided', statusCode: 401, isRetryable: false },
      });
      yield* end(part);
    },
  ],
  'a person aborts': [
    1,
    function* (part) {
      const { actor } = part;
      yield* begin(part);
      yield* says(part, 30);
      yield frames.error(actor.session, {
        name: 'MessageAbortedError',
        data: { message: 'Aborted' },
      });
      yield* end(part);
    },
  ],
  'is deleted when done': [
    2,
    function* (part) {
      const { session } = part.actor;
      yield* begin(part);
      yield* work(part);
      yield* end(part);
      session.deleted = true;
      yield frames.sessionEvent(session, 'deleted', session.info());
    },
  ],
};

const HANG: Step = { wait: 2 ** 30 };

/** Stuck, all equally frequent. */
const stuck: Record<string, Script> = {
  attempts: function* (part) {
    const { actor, limits } = part;
    yield* begin(part);
    const pileup = now() + limits.pileup;
    // Where several retry at once this one may be ended before its last attempt.
    actor.stuck(Number.POSITIVE_INFINITY, pileup);
    yield* failing(part, limits.attempts - 1);
    const at = now();
    actor.stuck(at, Math.min(at, pileup));
    yield actor.retry(limits.attempts, limits.firstWait * 16, RATE_LIMIT);
    yield HANG;
  },
  duration: function* (part) {
    const { actor, limits } = part;
    yield* begin(part);
    const at = now();
    actor.stuck(at + limits.retryDuration, at + limits.pileup);
    for (let attempt = 1; ; attempt += 1) {
      const wait = limits.retryDuration * 0.4;
      yield actor.retry(attempt, wait, RATE_LIMIT);
      yield { wait };
      yield actor.busy();
      yield { wait: 50 };
    }
  },
  wait: function* (part) {
    const { actor, limits } = part;
    yield* begin(part);
    actor.stuck(now());
    yield actor.retry(1, Math.max(3_600_000, limits.retryWait * 2), RATE_LIMIT);
    yield HANG;
  },
  hopeless: function* (part) {
    const { actor, limits } = part;
    yield* begin(part);
    actor.stuck(now());
    yield actor.retry(1, limits.firstWait, 'insufficient_quota: You exceeded your current quota');
    yield HANG;
  },
  hang: function* (part) {
    const { actor, limits } = part;
    yield* begin(part);
    actor.stuck(actor.session.saidAt + limits.silence);
    yield HANG;
  },
  stall: function* (part) {
    const { actor, limits } = part;
    yield* begin(part);
    yield actor.stepStart();
    yield actor.textBegins();
    for (let i = 0; i < 40; i += 1) yield actor.delta(20);
    actor.stuck(actor.session.saidAt + limits.silence);
    yield HANG;
  },
  'tool time': function* (part) {
    const { actor, limits } = part;
    yield* begin(part);
    yield actor.stepStart();
    const tool = actor.tool('bash', { command: 'sleep infinity' });
    yield actor.pending(tool);
    actor.stuck(now() + limits.toolTime);
    yield actor.running(tool);
    yield HANG;
  },
  ghost: function* (part) {
    const { actor } = part;
    yield* begin(part);
    yield* says(part, 10);
    const { session } = actor;
    session.deleted = true;
    actor.stuck(now());
    yield frames.sessionEvent(session, 'deleted', session.info());
    yield HANG;
  },
  'subagent hangs': function* (part) {
    const { actor } = part;
    yield* begin(part);
    yield actor.stepStart();
    const { childID, over } = part.delegate('hang');
    const tool = actor.tool('task', { description: 'look', prompt: 'look', agent: 'explore' });
    yield actor.running(tool, { sessionId: childID });
    yield { until: over };
    yield actor.failed(tool, 'Task cancelled');
    yield actor.stepFinish('tool-calls');
    yield* end(part);
  },
};

export const scripts = new Map<string, Script>([
  ...Object.entries(healthy).map(([kind, [, script]]) => [kind, script] as const),
  ...Object.entries(stuck),
]);

/** What the next run is: `stuckShare` of them are stuck. */
export function chooseKind(random: () => number, stuckShare: number): string {
  if (random() < stuckShare) {
    const kinds = Object.keys(stuck);
    return kinds[Math.floor(random() * kinds.length)] ?? 'hang';
  }
  const shares = Object.entries(healthy);
  let left = random() * shares.reduce((sum, [, [share]]) => sum + share, 0);
  for (const [kind, [share]] of shares) {
    left -= share;
    if (left < 0) return kind;
  }
  return 'works';
}
