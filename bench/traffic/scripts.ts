/**
 * What sessions do: ordinary work, which is most of the traffic, healthy sessions that look stuck, and stuck ones.
 *
 * A script yields one frame at a time. The pace of the whole server decides when it continues.
 */

import type { FakeServerState, Step } from './fake-server-state.js';
import type { Simulated } from './simulated.js';

export interface Limits {
  /** `stall.maxSilence`, ms. */
  silence: number;
  /** `stall.maxToolTime`, ms. */
  toolTime: number;
  /** `retry.maxAttempts`, `maxDuration`, `maxWait` (ms). */
  attempts: number;
  retryDuration: number;
  retryWait: number;
  /** `pileup.minDuration`, ms: from then on several retrying sessions may be ended. */
  pileup: number;
  /** opencode's first wait between attempts, ms. It doubles each time. */
  firstWait: number;
}

export interface Part {
  simulated: Simulated;
  state: FakeServerState;
  limits: Limits;
  random(): number;
  /** About how many frames an ordinary run has. */
  length: number;
  /** Starts a subagent's run in a new session. `over` settles when it has ended. */
  delegate(kind: string): { childID: string; over: Promise<unknown> };
}

export type Script = (part: Part) => Generator<Step, void, void>;

const RATE_LIMIT = 'Rate limit reached for requests';
const now = () => performance.now();

function* begin({ simulated }: Part): Generator<Step, void, void> {
  yield simulated.prompt();
  yield simulated.touched();
  yield simulated.busy();
  yield simulated.diff();
  yield simulated.ask();
}

function* end({ simulated }: Part): Generator<Step, void, void> {
  yield simulated.answered('stop');
  yield simulated.busy();
  yield simulated.status(undefined);
  yield simulated.idle();
  yield simulated.touched();
}

function* says({ simulated, random }: Part, deltas: number): Generator<Step, void, void> {
  yield simulated.textBegins();
  for (let i = 0; i < deltas; i += 1) yield simulated.delta(3 + Math.floor(random() * 30));
  yield simulated.textEnds();
}

/** One step that calls a tool. A tenth of them print much, in several updates. */
function* toolStep({ simulated, random }: Part): Generator<Step, void, void> {
  const tool = simulated.tool('bash', { command: 'npm test', description: 'Runs the tests' });
  yield simulated.pending(tool);
  yield simulated.running(tool);
  const prints = random() < 0.1;
  const size = prints ? 500 + Math.floor(random() * 8_000) : 200;
  if (prints) for (let i = 1; i <= 5; i += 1) yield simulated.printed(tool, (size * i) / 5);
  yield { wait: 200 + random() * 2_000 };
  yield simulated.done(tool, size);
  yield simulated.stepFinish('tool-calls');
  yield simulated.answered('tool-calls');
  yield simulated.busy();
  yield simulated.ask();
}

/** Text and tools for about `length` frames. Eight or nine of ten are deltas. */
function* work(part: Part): Generator<Step, void, void> {
  const { simulated, random, length } = part;
  yield simulated.stepStart();
  for (let left = length * (0.5 + random()); left > 0; ) {
    const deltas = Math.ceil(Math.min(left, 20 + random() * 120));
    yield* says(part, deltas);
    left -= deltas + 10;
    if (left <= 0) break;
    yield* toolStep(part);
    yield simulated.stepStart();
  }
  yield simulated.stepFinish('stop');
}

function* inTool(part: Part, ms: number): Generator<Step, void, void> {
  const { simulated } = part;
  const tool = simulated.tool('bash', { command: 'sleep 600' });
  yield simulated.pending(tool);
  yield simulated.running(tool);
  yield { wait: ms };
  yield simulated.done(tool, 20);
  yield simulated.stepFinish('tool-calls');
}

const asking = (kind: 'permission' | 'question'): Script =>
  function* (part) {
    const { simulated, limits, random } = part;
    yield* begin(part);
    yield simulated.stepStart();
    const tool = simulated.tool('bash', { command: 'ls' });
    yield simulated.running(tool);
    const { id, frame } = simulated.asks(kind, tool);
    yield frame;
    yield { wait: limits.silence * (1.2 + random()) };
    yield simulated.answers(kind, id);
    yield simulated.done(tool, 100);
    yield simulated.stepFinish('tool-calls');
    yield* says(part, 20);
    yield simulated.stepFinish('stop');
    yield* end(part);
  };

/** Attempts 1 to `count`, each a retry status and a short busy after its wait. */
function* failing(part: Part, count: number, message = RATE_LIMIT): Generator<Step, void, void> {
  const { simulated, limits } = part;
  for (let attempt = 1; attempt <= count; attempt += 1) {
    const wait = limits.firstWait * 2 ** (attempt - 1);
    yield simulated.retry(attempt, wait, message);
    yield { wait };
    yield simulated.busy();
    yield { wait: Math.min(200, limits.firstWait / 5) };
  }
}

/** Healthy kinds, each with its share of the runs. */
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
      yield part.simulated.stepStart();
      yield* inTool(part, Math.min(part.limits.silence * 2, part.limits.toolTime * 0.7));
      yield* end(part);
    },
  ],
  'waits for a permission': [3, asking('permission')],
  'waits for an answer': [2, asking('question')],
  delegates: [
    4,
    function* (part) {
      const { simulated } = part;
      yield* begin(part);
      yield simulated.stepStart();
      const { childID, over } = part.delegate('slow');
      const tool = simulated.tool('task', {
        description: 'look',
        prompt: 'look',
        agent: 'explore',
      });
      yield simulated.pending(tool);
      yield simulated.running(tool, { sessionId: childID });
      yield { until: over };
      yield simulated.done(tool, 300);
      yield simulated.stepFinish('tool-calls');
      yield* end(part);
    },
  ],
  slow: [
    3,
    function* (part) {
      const { simulated, limits } = part;
      yield* begin(part);
      yield simulated.stepStart();
      yield simulated.textBegins();
      for (let i = 0; i < 4; i += 1) {
        yield { wait: limits.silence * 0.7 };
        yield simulated.delta(20);
      }
      yield simulated.textEnds();
      yield simulated.stepFinish('stop');
      yield* end(part);
    },
  ],
  'recovers from a retry': [
    4,
    function* (part) {
      yield* begin(part);
      yield* failing(part, 3);
      yield part.simulated.stepStart();
      yield* says(part, 30);
      yield part.simulated.stepFinish('stop');
      yield* end(part);
    },
  ],
  'prepares for long': [
    1,
    function* (part) {
      const { simulated, limits } = part;
      yield simulated.prompt();
      yield simulated.busy();
      yield { wait: Math.min(limits.silence * 1.5, limits.toolTime * 0.7) };
      yield simulated.ask();
      yield simulated.stepStart();
      yield* says(part, 20);
      yield simulated.stepFinish('stop');
      yield* end(part);
    },
  ],
  compacts: [
    1,
    function* (part) {
      const { simulated, limits } = part;
      yield* begin(part);
      yield simulated.compaction();
      yield simulated.ask({ summary: true });
      yield { wait: Math.min(limits.silence * 1.1, limits.toolTime * 0.6) };
      yield* says(part, 3);
      yield simulated.compacted();
      yield simulated.stepFinish('stop');
      yield* end(part);
    },
  ],
  'fails at once': [
    1,
    function* (part) {
      const { simulated } = part;
      yield* begin(part);
      yield simulated.refused('Incorrect API key provided', 401);
      yield* end(part);
    },
  ],
  'a person aborts': [
    1,
    function* (part) {
      const { simulated } = part;
      yield* begin(part);
      yield* says(part, 30);
      yield simulated.aborted();
      yield* end(part);
    },
  ],
  'is deleted when done': [
    2,
    function* (part) {
      const { simulated } = part;
      yield* begin(part);
      yield* work(part);
      yield* end(part);
      simulated.session.deleted = true;
      yield simulated.deleted();
    },
  ],
};

const HANG: Step = { wait: 2 ** 30 };

/** Stuck kinds, all equally frequent. */
const stuck: Record<string, Script> = {
  attempts: function* (part) {
    const { simulated, limits } = part;
    yield* begin(part);
    const pileup = now() + limits.pileup;
    // If several sessions retry at once, this one may be ended before its last attempt.
    simulated.stuck(Number.POSITIVE_INFINITY, pileup);
    yield* failing(part, limits.attempts - 1);
    const at = now();
    simulated.stuck(at, Math.min(at, pileup));
    yield simulated.retry(limits.attempts, limits.firstWait * 16, RATE_LIMIT);
    yield HANG;
  },
  duration: function* (part) {
    const { simulated, limits } = part;
    yield* begin(part);
    const at = now();
    simulated.stuck(at + limits.retryDuration, at + limits.pileup);
    // These are opencode's own waits. A longer one would be a time that the provider named, which does not count for
    // the episode's age.
    for (let attempt = 1; ; attempt += 1) {
      const wait = limits.firstWait * 2 ** (attempt - 1);
      yield simulated.retry(attempt, wait, RATE_LIMIT);
      yield { wait };
      yield simulated.busy();
      yield { wait: limits.retryDuration * 0.2 };
    }
  },
  wait: function* (part) {
    const { simulated, limits } = part;
    yield* begin(part);
    simulated.stuck(now());
    yield simulated.retry(1, Math.max(3_600_000, limits.retryWait * 2), RATE_LIMIT);
    yield HANG;
  },
  hopeless: function* (part) {
    const { simulated, limits } = part;
    yield* begin(part);
    simulated.stuck(now());
    yield simulated.retry(
      1,
      limits.firstWait,
      'insufficient_quota: You exceeded your current quota',
    );
    yield HANG;
  },
  hang: function* (part) {
    const { simulated, limits } = part;
    yield* begin(part);
    simulated.stuck(simulated.unansweredUntil(limits));
    yield HANG;
  },
  stall: function* (part) {
    const { simulated, limits } = part;
    yield* begin(part);
    yield simulated.stepStart();
    yield simulated.textBegins();
    for (let i = 0; i < 40; i += 1) yield simulated.delta(20);
    simulated.stuck(simulated.session.saidAt + limits.silence);
    yield HANG;
  },
  'tool time': function* (part) {
    const { simulated, limits } = part;
    yield* begin(part);
    yield simulated.stepStart();
    const tool = simulated.tool('bash', { command: 'sleep infinity' });
    yield simulated.pending(tool);
    simulated.stuck(now() + limits.toolTime);
    yield simulated.running(tool);
    yield HANG;
  },
  ghost: function* (part) {
    const { simulated } = part;
    yield* begin(part);
    yield* says(part, 10);
    simulated.session.deleted = true;
    simulated.stuck(now());
    yield simulated.deleted();
    yield HANG;
  },
  'subagent hangs': function* (part) {
    const { simulated } = part;
    yield* begin(part);
    yield simulated.stepStart();
    const { childID, over } = part.delegate('hang');
    const tool = simulated.tool('task', { description: 'look', prompt: 'look', agent: 'explore' });
    yield simulated.running(tool, { sessionId: childID });
    yield { until: over };
    yield simulated.failed(tool, 'Task cancelled');
    yield simulated.stepFinish('tool-calls');
    yield* end(part);
  },
};

export const scripts = new Map<string, Script>([
  ...Object.entries(healthy).map(([kind, [, script]]) => [kind, script] as const),
  ...Object.entries(stuck),
]);

/** Only in 1.x: a delete in 2.x ends the run first. */
const ONLY_IN_1: ReadonlySet<string> = new Set(['ghost']);

/** Chooses the next run's kind. A share of `stuckShare` is stuck. */
export function chooseKind(random: () => number, stuckShare: number, api: 1 | 2): string {
  if (random() < stuckShare) {
    const kinds = Object.keys(stuck).filter((kind) => api === 1 || !ONLY_IN_1.has(kind));
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
