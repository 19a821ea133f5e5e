/**
 * A scripted world around the watchdog, so that a test reads like a story: what opencode says, how time passes, what
 * the executor reports, and then what was decided.
 */
import { type Act, type Decision, isNote, type Note } from '../../../src/watchdog/decision.js';
import type {
  Observation,
  PendingRequest,
  RunningTool,
  SessionInfo,
  SessionStatus,
} from '../../../src/watchdog/observation.js';
import { DEFAULT_POLICY, type Policy } from '../../../src/watchdog/policy.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;

/**
 * Shorter than the defaults, so that a story stays short. `session/hopeless-retries.test.ts` tests the defaults
 * themselves.
 */
const SHORT: PolicyChange = {
  retry: { maxAttempts: 5, maxDuration: MINUTE },
  pileup: { minDuration: 30 * SECOND },
  // `group/disposal.test.ts` tests the step between abort and restart.
  abort: { dispose: false },
};

/** The default policy with short limits for retries, overlaid with the groups that a test cares about. */
export type PolicyChange = { [G in keyof Policy]?: Partial<Policy[G]> };
export function policyWith(change: PolicyChange = {}): Policy {
  const merged: Record<string, object> = {};
  for (const [group, values] of Object.entries(DEFAULT_POLICY)) {
    const name = group as keyof Policy;
    merged[group] = { ...values, ...SHORT[name], ...change[name] };
  }
  return merged as unknown as Policy;
}

export interface WorldOptions {
  policy?: PolicyChange;
  acts?: boolean;
  /** False: nothing answers yet and nothing is connected. */
  attached?: boolean;
}

/** For `nextInMs`: opencode does not say when it tries again. */
export const UNSAID = Number.POSITIVE_INFINITY;

type Where = { directory?: string | undefined };
type Retry = Omit<Extract<SessionStatus, { type: 'retry' }>, 'type'>;
type Inspected = Extract<
  Extract<Observation, { kind: 'session.inspected' }>['result'],
  { found: true }
>;

/** More ticks than any real story needs in one `advance`. Beyond that the state machine spins. */
const MAX_TICKS = 10_000;

export function world(options: WorldOptions = {}): World {
  return new World(options);
}

export class World {
  readonly watchdog: Watchdog;
  readonly decisions: Decision[] = [];
  at = 1_000_000;

  constructor({ policy, acts = true, attached = true }: WorldOptions) {
    this.watchdog = new Watchdog({ policy: policyWith(policy), acts });
    if (!attached) return;
    this.tell({ kind: 'server.attached', running: true, pid: 100, version: '1.18.33' });
    this.connected();
    this.decisions.length = 0;
  }

  // --- time ------------------------------------------------------------------------------------------------------

  /** Lets time pass. On the way the watchdog gets a tick at each deadline, as from its timer. */
  advance(ms: number): this {
    const end = this.at + ms;
    for (let ticks = 0; ; ticks += 1) {
      if (ticks > MAX_TICKS) throw new Error('the watchdog spins: too many deadlines');
      const { deadline } = this.watchdog;
      if (deadline === undefined || deadline > end) break;
      this.at = Math.max(this.at, deadline);
      this.tell({ kind: 'tick' });
    }
    this.at = end;
    return this;
  }

  /** Sends one observation, at the present time unless it has its own. */
  tell(o: Untimed): this {
    const observation = { at: this.at, ...o } as Observation;
    this.decisions.push(...this.watchdog.observe(observation));
    const { deadline } = this.watchdog;
    if (deadline !== undefined && deadline <= observation.at) {
      throw new Error(`deadline ${deadline} is not after ${observation.at} (${observation.kind})`);
    }
    return this;
  }

  // --- what was decided ------------------------------------------------------------------------------------------

  acts(): Act[];
  acts<A extends Act['act']>(name: A): Extract<Act, { act: A }>[];
  acts(name?: string): Act[] {
    return this.decisions.filter(
      (each): each is Act => !isNote(each) && (name === undefined || each.act === name),
    );
  }

  notes<N extends Note['note']>(name: N): Extract<Note, { note: N }>[] {
    return this.decisions.filter(
      (each): each is Extract<Note, { note: N }> => isNote(each) && each.note === name,
    );
  }

  /** Abort acts of one session. */
  aborts(sessionID = 's'): Extract<Act, { act: 'abort' }>[] {
    return this.acts('abort').filter((each) => each.sessionID === sessionID);
  }

  stuck(sessionID = 's'): string[] {
    return this.notes('session.stuck')
      .filter((each) => each.sessionID === sessionID)
      .map((each) => each.reason);
  }

  health(sessionID = 's'): string {
    const seen = this.watchdog.sessions(this.at).find((each) => each.sessionID === sessionID);
    return seen?.health ?? 'idle';
  }

  /** Forgets all decisions so far. */
  forget(): this {
    this.decisions.length = 0;
    return this;
  }

  // --- what opencode says ----------------------------------------------------------------------------------------

  status(sessionID: string, type: 'busy' | 'idle', where?: Where): this;
  status(sessionID: string, type: 'retry', retry?: Partial<Retry> & Where): this;
  status(sessionID: string, type: SessionStatus['type'], rest: Partial<Retry> & Where = {}): this {
    const { directory = '/p', nextInMs = 2_000, ...retry } = rest;
    const next = Number.isFinite(nextInMs) ? { nextInMs } : {};
    const status: SessionStatus =
      type === 'retry'
        ? { type, attempt: 1, message: 'Rate limit reached', ...next, ...retry }
        : { type };
    return this.tell({ kind: 'session.status', sessionID, status, directory });
  }

  /** A person prompts: message, busy, and the model gets its request, as 1.18 reports it. */
  prompt(sessionID = 's', { directory = '/p', model = 'fake/m1' } = {}): this {
    this.#messages += 1;
    const n = this.#messages;
    this.tell({ kind: 'session.prompted', sessionID, messageID: `u${n}`, model, directory });
    this.status(sessionID, 'busy', { directory });
    return this.asks(sessionID, `m${n}`, { directory, model });
  }
  #messages = 0;

  asks(sessionID = 's', messageID = 'm', { directory = '/p', model = 'fake/m1' } = {}): this {
    return this.tell({ kind: 'session.asking_model', sessionID, messageID, model, directory });
  }

  /** The nth attempt fails: the short busy, then retry. */
  fails(sessionID: string, attempt: number, rest: Partial<Retry> & Where = {}): this {
    const where = rest.directory === undefined ? {} : { directory: rest.directory };
    return this.status(sessionID, 'busy', where).status(sessionID, 'retry', { attempt, ...rest });
  }

  text(sessionID = 's'): this {
    return this.tell({ kind: 'session.progress', sessionID });
  }
  stepFinished(sessionID = 's'): this {
    return this.tell({ kind: 'session.step_finished', sessionID });
  }
  info(sessionID: string, info: SessionInfo): this {
    return this.tell({ kind: 'session.info', sessionID, info });
  }
  error(sessionID: string, name = 'APIError', more: { statusCode?: number } = {}): this {
    return this.tell({
      kind: 'session.error',
      sessionID,
      name,
      message: 'Rate limit reached',
      ...more,
    });
  }
  deleted(sessionID = 's'): this {
    return this.tell({ kind: 'session.deleted', sessionID });
  }
  toolRuns(sessionID = 's', tool: Partial<RunningTool> = {}): this {
    return this.tell({
      kind: 'tool.running',
      sessionID,
      tool: { callID: 'c1', tool: 'bash', startedAt: this.at, ...tool },
    });
  }
  toolEnds(sessionID = 's', callID = 'c1'): this {
    return this.tell({ kind: 'tool.ended', sessionID, callID });
  }
  asked(sessionID = 's', on: PendingRequest['on'] = 'permission', requestID = 'r1'): this {
    return this.tell({ kind: 'request.asked', sessionID, request: { requestID, on } });
  }
  answered(sessionID = 's', requestID = 'r1'): this {
    return this.tell({ kind: 'request.answered', sessionID, requestID });
  }

  poll(
    statuses: Record<string, SessionStatus>,
    { directory = '/p', startedAt = this.at }: { directory?: string; startedAt?: number } = {},
  ): this {
    return this.tell({
      kind: 'status.polled',
      directory,
      startedAt,
      statuses: new Map(Object.entries(statuses)),
    });
  }

  // --- what the executor reports -------------------------------------------------------------------------------------

  inspected(sessionID = 's', result: Partial<Inspected> | 'gone' = {}, startedAt = this.at): this {
    return this.tell({
      kind: 'session.inspected',
      sessionID,
      startedAt,
      result:
        result === 'gone'
          ? { found: false }
          : {
              found: true,
              info: {},
              tools: [],
              requests: [],
              preparing: false,
              mark: 'mark',
              ...result,
            },
    });
  }
  abortDone(sessionID = 's', tookMs = 40): this {
    return this.tell({ kind: 'abort.done', sessionID, tookMs });
  }
  abortFailed(sessionID = 's', error = 'still retry'): this {
    return this.tell({ kind: 'abort.failed', sessionID, error });
  }
  abortWithdrawn(sessionID: string, seen: 'idle' | 'busy' | 'withdrawn'): this {
    return this.tell({ kind: 'abort.withdrawn', sessionID, seen });
  }
  abortSkipped(sessionID = 's'): this {
    return this.tell({ kind: 'abort.skipped', sessionID });
  }
  restartDone(pid = 200): this {
    return this.tell({ kind: 'restart.done', pid, oldPid: pid - 100, tookMs: 1_500 });
  }
  restartFailed(serverAlive = false): this {
    return this.tell({ kind: 'restart.failed', error: 'it would not start', serverAlive });
  }

  // --- server and stream -----------------------------------------------------------------------------------------

  probeOk(): this {
    return this.tell({ kind: 'probe.ok', startedAt: this.at });
  }
  probeFails(times = 1, everyMs = 5 * SECOND): this {
    for (let i = 0; i < times; i += 1) {
      this.advance(everyMs);
      this.tell({
        kind: 'probe.failed',
        startedAt: this.at - 1,
        failure: 'timeout',
        error: 'no answer',
      });
    }
    return this;
  }
  exits(pid: number | undefined = this.watchdog.server.pid): this {
    return this.tell({ kind: 'server.exited', pid, code: null, signal: 'SIGKILL' });
  }
  /** A signal stopped the process, and a check shows that. */
  suspended(pid = 100): this {
    return this.tell({ kind: 'server.suspended', pid });
  }
  alive(heartbeatMs?: number): this {
    return this.tell({
      kind: 'stream.alive',
      ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
    });
  }
  lost(): this {
    return this.tell({ kind: 'stream.lost', reason: 'end', silentMs: 0 });
  }
  /** The stream has been missing for long, while the server answers. */
  unavailable(): this {
    const reason = 'no answer within 5000 ms';
    return this.tell({
      kind: 'stream.unavailable',
      path: '/global/event',
      reason,
      silentMs: 10_000,
    });
  }
  /** The stream is connected, and the polls that follow are answered. */
  connected(): this {
    this.tell({ kind: 'stream.connected', path: '/global/event' });
    return this.tell({ kind: 'stream.resynced' });
  }
}

/** Distributes over the union, so that each kind keeps its own fields. `at` is optional: the world fills it in. */
type Untimed = Observation extends infer O
  ? O extends Observation
    ? Omit<O, 'at'> & { at?: number }
    : never
  : never;
