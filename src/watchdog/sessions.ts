/**
 * The sessions' side of the state machine: what each observation changes in a session, and what follows from it.
 *
 * Judgement is in `judgement.ts`, what is done about a stuck run in `troubles.ts`.
 */
import { SessionBook } from './book.js';
import type { Interrupted, RestartReason } from './decision.js';
import {
  type Crossing,
  deadlineOf,
  healthOf,
  judge,
  needsInspection,
  oldestUnhandled,
  type Surroundings,
} from './judgement.js';
import type {
  ActObservation,
  PendingRequest,
  RunningTool,
  SessionObservation,
  SessionStatus,
} from './observation.js';
import { type Inspection, newRun, type Run, type Session } from './session.js';
import {
  abortEnded,
  abortIfPossible,
  declareStuck,
  fieldsOf,
  recovered,
  sayStuck,
  type TroubleContext,
  takeBack,
} from './troubles.js';

/** A close look that failed is tried again after this many ms ... */
const INSPECT_AGAIN = 5_000;
/** ... and after so many failures in a row, what the events said must do. */
const MAX_INSPECT_FAILURES = 3;
/** A look that was never answered is asked for again after this many ms. */
const INSPECT_LOST = 60_000;
/** A close look older than this (ms) proves nothing about now. */
const INSPECTION_FRESH = 10_000;
/** A run that is back within this many ms of its verified abort, unprompted, shows that the abort was lost (facts, section 6). */
const LOST_ABORT_WINDOW = 60_000;

type OfOneSession = Exclude<
  SessionObservation | ActObservation,
  { kind: 'status.polled' | 'directory.disposed' }
>;

export class SessionWatch {
  readonly book = new SessionBook();
  /** The sessions with an open retry episode, and the wedged ones: what the server is judged by. */
  readonly episodes = new Set<Session>();
  readonly wedged = new Set<Session>();
  readonly #context: TroubleContext;
  /** Called with each new deadline; the watchdog keeps the earliest. */
  readonly #wakeAt: (at: number) => void;
  /** The event stream is connected and resynced: silence means silence. */
  #listening = false;
  #streamCutAt = Number.NEGATIVE_INFINITY;

  constructor(context: TroubleContext, wakeAt: (at: number) => void) {
    this.#context = context;
    this.#wakeAt = wakeAt;
  }

  /**
   * Text is most of the traffic: for a run without trouble it moves one number. False where more is to be done.
   */
  plainProgress(sessionID: string, at: number): boolean {
    const session = this.book.find(sessionID);
    const run = session?.run;
    if (run === undefined || session?.health !== 'busy') return false;
    if (run.episode || run.preparing || run.error) return false;
    run.progressAt = at;
    return true;
  }

  streamLost(at: number): void {
    this.#listening = false;
    this.#streamCutAt = at;
  }

  /**
   * After a reconnect a session's silence counts from now, unless its transcript proves that nothing was missed: a run
   * that was silent for long already is looked at, and where its mark has not moved, its silence reaches back.
   */
  resynced(at: number): void {
    this.#listening = true;
    const { maxSilence } = this.#context.policy.stall;
    for (const session of this.book.active) {
      const { run } = session;
      if (run === undefined) continue;
      const from = run.silentBeforeResync ?? run.progressAt;
      if (maxSilence > 0 && at - from > maxSilence / 4) {
        run.silentBeforeResync = from;
        this.#inspect(session, run, at);
      }
      run.progressAt = at;
      this.review(session, at);
    }
  }

  polled(o: Extract<SessionObservation, { kind: 'status.polled' }>): void {
    for (const [id, status] of o.statuses) {
      const session = this.book.enter(id, o.at);
      // An event that came after the poll was sent knows better.
      if (session.eventStatusAt > o.startedAt) continue;
      const known = session.run;
      this.#status(session, status, o.directory, o.at);
      // Its beginning was not seen: tools may be running and people may have been asked.
      if (known === undefined && session.run) this.#inspect(session, session.run, o.at);
      this.review(session, o.at);
    }
    for (const session of [...this.book.active]) {
      const { run } = session;
      if (run?.directory !== o.directory || o.statuses.has(session.id)) continue;
      if (session.eventStatusAt > o.startedAt || run.startedAt > o.startedAt) continue;
      this.#endRun(session, o.at);
    }
  }

  disposed(directory: string, at: number): void {
    for (const session of [...this.book.active]) {
      if (session.run?.directory === directory) this.#endRun(session, at);
    }
  }

  observe(o: OfOneSession): void {
    const session = this.book.enter(o.sessionID, o.at);
    const { run } = session;
    switch (o.kind) {
      case 'session.info':
        this.book.learn(session, o.info);
        break;
      case 'session.status': {
        // An idle for another directory than the run's is no evidence (facts, section 6).
        const elsewhere = run?.directory !== undefined && o.directory !== run.directory;
        if (o.status.type === 'idle' && o.directory !== undefined && elsewhere) return;
        session.eventStatusAt = o.at;
        this.#status(session, o.status, o.directory, o.at);
        break;
      }
      case 'session.prompted':
        if (session.lastPrompt?.messageID === o.messageID) return;
        session.lastPrompt = { messageID: o.messageID, at: o.at };
        session.lastAbort = undefined;
        session.lastFailure = undefined;
        if (run) run.model = o.model ?? run.model;
        break;
      case 'session.asking_model':
        if (run === undefined) break;
        run.model = o.model ?? run.model;
        run.agent = o.agent ?? run.agent;
        run.preparing = false;
        if (run.askedMessageID !== o.messageID) run.progressAt = o.at;
        run.askedMessageID = o.messageID;
        break;
      case 'session.progress':
        if (run) this.#progressed(session, run, o.at);
        break;
      case 'session.step_finished':
        if (run) this.#stepFinished(session, run, o.at);
        break;
      case 'tool.running':
        if (run === undefined) break;
        this.#toolRuns(session, run, o.tool, o.at);
        if (o.tool.childID !== undefined) this.#adopt(session, o.tool.childID, o.at);
        break;
      case 'tool.ended':
        if (run === undefined) break;
        run.tools.delete(o.callID);
        this.#progressed(session, run, o.at);
        break;
      case 'request.asked':
        if (run) this.#asked(session, run, o.request, o.at);
        break;
      case 'request.answered':
        if (run) this.#answered(session, run, o.requestID, o.at);
        break;
      case 'session.compacting':
        if (run) run.compactingSince ??= o.at;
        break;
      case 'session.compacted':
        if (run === undefined) break;
        run.compactingSince = undefined;
        this.#progressed(session, run, o.at);
        break;
      case 'session.error':
        this.#error(session, o);
        break;
      case 'session.deleted':
        session.deleted = true;
        if (run === undefined) this.book.forget(session);
        break;
      case 'session.inspected':
        this.#inspected(session, o);
        break;
      case 'session.inspect_failed':
        if (run?.inspection) {
          const failures = run.inspection.failures + 1;
          run.inspection = { state: 'failed', at: o.at, failures };
        }
        break;
      default:
        if (abortEnded(this.#context, session, o)) this.#endRun(session, o.at);
    }
    this.review(session, o.at);
  }

  /** Judges one session now: acts on a crossed limit, says a change of health, and sets when to look again. */
  review(session: Session, at: number): void {
    const { run } = session;
    if (run === undefined) return;
    const { policy } = this.#context;
    const around = this.#around(session);
    if (run.trouble === undefined) {
      this.#waitedTooLong(session, run, at);
      const crossing = judge(session, run, policy, around, at);
      if (crossing === undefined) this.#wake(deadlineOf(session, run, policy, around, at), at);
      else if (this.#confirmed(session, run, crossing, at)) {
        declareStuck(this.#context, session, run, crossing, at);
      }
    } else {
      abortIfPossible(this.#context, session, run, at);
    }
    this.#setHealth(session, at);
    this.#file(session);
  }

  /** A pile-up is answered by an abort of each session in it. */
  abortPiled(session: Session, limit: number, at: number): void {
    const { run } = session;
    if (run?.episode === undefined || run.trouble !== undefined) return;
    const value = at - run.episode.startedAt;
    declareStuck(this.#context, session, run, { reason: 'pileup', limit, value }, at);
    this.#setHealth(session, at);
  }

  #file(session: Session): void {
    const { run } = session;
    if (run?.episode) this.episodes.add(session);
    else this.episodes.delete(session);
    if (run?.trouble?.phase === 'wedged') this.wedged.add(session);
    else this.wedged.delete(session);
  }

  /** What a restart of the server would cut now. */
  interrupted(): Interrupted[] {
    return [...this.book.active].map((session) => ({
      ...fieldsOf(session),
      health: session.health,
    }));
  }

  /** The server process is gone: so is every run. */
  cut(interrupted: readonly Interrupted[], restartReason: RestartReason, at: number): void {
    for (const each of interrupted)
      this.#context.say({ note: 'session.interrupted', restartReason, ...each });
    for (const session of [...this.book.active]) {
      session.aborting = undefined;
      if (session.run) session.run.error = undefined;
      this.#endRun(session, at);
      session.lastAbort = undefined;
    }
    this.#listening = false;
  }

  #around(session: Session): Surroundings {
    return { delegating: this.book.isDelegating(session), listening: this.#listening };
  }

  #wake(deadline: number | undefined, at: number): void {
    // A deadline in the past would wake for ever: whatever is due was judged just now.
    if (deadline !== undefined) this.#wakeAt(Math.max(deadline, at + 1));
  }

  #status(
    session: Session,
    status: SessionStatus,
    directory: string | undefined,
    at: number,
  ): void {
    if (status.type === 'idle') {
      this.#endRun(session, at);
      return;
    }
    const run = session.run ?? this.#beginRun(session, directory, at);
    if (directory !== undefined) run.directory = directory;
    if (status.type === 'busy') {
      if (run.status === 'busy') return;
      run.status = 'busy';
      run.statusAt = at;
      return;
    }
    const { episode } = run;
    const repeated = run.status === 'retry' && episode?.attempts === status.attempt;
    if (!repeated) run.statusAt = at;
    run.status = 'retry';
    run.preparing = false;
    run.episode = {
      startedAt: episode?.startedAt ?? at,
      attempts: Math.max(episode?.attempts ?? 0, status.attempt),
      message: status.message,
      nextAt: status.nextInMs === undefined ? undefined : at + status.nextInMs,
      needsPerson: status.needsPerson ?? false,
      holds: episode?.holds ?? 0,
      progressed: false,
    };
    this.#abortWasLost(session, run, at);
  }

  /** A run that comes back after a verified abort, unprompted, is the old one: that abort was lost. */
  #abortWasLost(session: Session, run: Run, at: number): void {
    const last = session.lastAbort;
    if (last === undefined || run.trouble !== undefined || session.aborting?.run === run) return;
    session.lastAbort = undefined;
    if (at - last.at > LOST_ABORT_WINDOW || this.#streamCutAt > last.at) return;
    // Its tries go on counting, so that it is wedged in the end and not aborted for ever.
    run.trouble = { phase: 'pending', reason: last.reason, since: at, tries: last.tries };
  }

  #beginRun(session: Session, directory: string | undefined, at: number): Run {
    const run = newRun(at, directory ?? session.info.directory);
    // Its prompt was seen, so its first message will be too: until then the model was not asked.
    run.preparing = this.#listening && session.lastPrompt !== undefined;
    session.run = run;
    session.lastFailure = undefined;
    this.book.activate(session);
    return run;
  }

  #endRun(session: Session, at: number): void {
    const { run } = session;
    if (run === undefined) return;
    const ours = session.aborting !== undefined || run.error?.name === 'MessageAbortedError';
    if (run.error !== undefined && !ours)
      this.#failed(session, run.error, run.episode?.attempts ?? 0);
    const parent = this.book.activeParent(session);
    session.lastPrompt = undefined;
    this.book.deactivate(session);
    session.run = undefined;
    this.#setHealth(session, at, run);
    this.#file(session);
    if (session.deleted && session.aborting === undefined) this.book.forget(session);
    if (parent?.run) {
      // The subagent's end is the parent's life sign: from here on the parent must go on.
      parent.run.progressAt = Math.max(parent.run.progressAt, at);
      this.review(parent, at);
    }
  }

  #adopt(parent: Session, childID: string, at: number): void {
    const child = this.book.enter(childID, at);
    if (child.info.parentID === undefined) this.book.learn(child, { parentID: parent.id });
  }

  #progressed(session: Session, run: Run, at: number): void {
    run.progressAt = at;
    run.preparing = false;
    run.error = undefined;
    run.silentBeforeResync = undefined;
    if (run.episode) run.episode.progressed = true;
    this.#reconsider(session, run, at);
  }

  #toolRuns(session: Session, run: Run, tool: RunningTool, at: number): void {
    const known = run.tools.get(tool.callID);
    if (known === undefined) this.#progressed(session, run, at);
    // Its start may have been moved on for the time that a person took to answer.
    const startedAt = Math.max(known?.startedAt ?? tool.startedAt, tool.startedAt);
    run.tools.set(tool.callID, { ...tool, startedAt });
  }

  #stepFinished(session: Session, run: Run, at: number): void {
    const { episode, trouble } = run;
    this.#progressed(session, run, at);
    if (episode === undefined) return;
    // A trouble that is being taken back is said to be over when the hands let go.
    if (trouble === undefined) recovered(this.#context, session, run, at);
    run.episode = undefined;
  }

  /** Life after a verdict: does it still stand? */
  #reconsider(session: Session, run: Run, at: number): void {
    const { trouble } = run;
    if (trouble === undefined) return;
    const crossing = judge(session, run, this.#context.policy, this.#around(session), at);
    if (crossing?.reason !== trouble.reason) takeBack(this.#context, session, run, at);
  }

  #asked(session: Session, run: Run, request: PendingRequest, at: number): void {
    if (run.requests.has(request.requestID)) return;
    run.requests.set(request.requestID, { ...request, since: at, handled: undefined });
    run.preparing = false;
    this.#context.say({
      note: 'session.waiting',
      ...fieldsOf(session),
      on: request.on,
      requestID: request.requestID,
    });
  }

  #answered(session: Session, run: Run, requestID: string, at: number): void {
    const request = run.requests.get(requestID);
    if (request === undefined) return;
    run.requests.delete(requestID);
    // opencode starts a tool's clock before it asks: the time that a person took is not the tool's.
    for (const [id, tool] of run.tools) {
      run.tools.set(id, { ...tool, startedAt: Math.min(at, tool.startedAt + at - request.since) });
    }
    this.#context.say({
      note: 'session.answered',
      ...fieldsOf(session),
      on: request.on,
      requestID,
      by: request.handled === 'rejected' ? 'watchdog' : 'person',
      forMs: at - request.since,
    });
    this.#progressed(session, run, at);
  }

  /** `waiting.action` report and reject: each request once. (abort is a verdict like any other.) */
  #waitedTooLong(session: Session, run: Run, at: number): void {
    const { maxDuration, action } = this.#context.policy.waiting;
    if (maxDuration === 0 || action === 'abort') return;
    for (;;) {
      const request = oldestUnhandled(run);
      if (request === undefined || at - request.since < maxDuration) return;
      request.handled = action === 'reject' ? 'rejected' : 'reported';
      const crossing: Crossing = {
        reason: 'waiting',
        limit: maxDuration,
        value: at - request.since,
      };
      sayStuck(this.#context, session, run, crossing, at);
      if (action === 'reject') {
        this.#context.say({
          act: 'reject',
          sessionID: session.id,
          directory: run.directory ?? session.info.directory,
          request: { requestID: request.requestID, on: request.on },
        });
      }
    }
  }

  #error(session: Session, o: Extract<SessionObservation, { kind: 'session.error' }>): void {
    const error = {
      name: o.name,
      message: o.message,
      ...(o.statusCode === undefined ? {} : { statusCode: o.statusCode }),
    };
    if (session.run !== undefined) session.run.error = error;
    // Without a run (an unknown model fails before it is busy) the error is all there is.
    else if (o.name !== 'MessageAbortedError') this.#failed(session, error, 0);
  }

  #failed(session: Session, error: NonNullable<Run['error']>, attempts: number): void {
    const text = `${error.name}: ${error.message}`;
    if (session.lastFailure === text) return;
    session.lastFailure = text;
    this.#context.say({
      note: 'session.failed',
      ...fieldsOf(session),
      error: text,
      ...(error.statusCode === undefined ? {} : { statusCode: error.statusCode }),
      attempts,
    });
  }

  // --- close looks ---------------------------------------------------------------------------------------------

  /** Whether a crossed limit may be acted on; asks for a close look where events alone do not prove it. */
  #confirmed(session: Session, run: Run, crossing: Crossing, at: number): boolean {
    if (!needsInspection(crossing.reason)) return true;
    const look = run.inspection;
    if (look?.state === 'answered' && at - look.at <= INSPECTION_FRESH) return true;
    if (look?.state === 'failed' && look.failures >= MAX_INSPECT_FAILURES) return true;
    const patience = look?.state === 'asked' ? INSPECT_LOST : INSPECT_AGAIN;
    if (look === undefined || look.state === 'answered' || at - look.at >= patience) {
      this.#inspect(session, run, at);
    }
    this.#wake((run.inspection?.at ?? at) + patience, at);
    return false;
  }

  #inspect(session: Session, run: Run, at: number): void {
    const failures = run.inspection?.state === 'failed' ? run.inspection.failures : 0;
    const asked: Inspection = { state: 'asked', at, failures };
    run.inspection = asked;
    this.#context.say({
      act: 'inspect',
      sessionID: session.id,
      directory: run.directory ?? session.info.directory,
    });
  }

  #inspected(
    session: Session,
    o: Extract<SessionObservation, { kind: 'session.inspected' }>,
  ): void {
    const { run } = session;
    const { result } = o;
    if (!result.found) {
      session.deleted = true;
      return;
    }
    this.book.learn(session, result.info);
    if (run === undefined) return;
    run.inspection = { state: 'answered', at: o.at, failures: 0 };
    run.model = result.model ?? run.model;
    const heardSince = run.progressAt > o.startedAt;
    if (!heardSince) {
      // The transcript is as it was at the last look: the silence in between was real.
      if (run.mark === result.mark && run.silentBeforeResync !== undefined) {
        run.progressAt = Math.min(run.progressAt, run.silentBeforeResync);
      } else if (run.mark !== undefined && run.mark !== result.mark) {
        run.progressAt = o.startedAt;
        run.silentBeforeResync = undefined;
      }
      run.preparing = result.preparing;
      run.tools = new Map(result.tools.map((tool) => [tool.callID, tool]));
      for (const tool of result.tools) if (tool.childID) this.#adopt(session, tool.childID, o.at);
    }
    run.mark = result.mark;
    const pending = new Set(result.requests.map((request) => request.requestID));
    for (const request of result.requests) this.#asked(session, run, request, o.at);
    for (const request of [...run.requests.values()]) {
      const old = request.since <= o.startedAt;
      if (old && !pending.has(request.requestID))
        this.#answered(session, run, request.requestID, o.at);
    }
  }

  #setHealth(session: Session, at: number, ended?: Run): void {
    const { run } = session;
    const health = healthOf(run, this.#context.policy, this.#around(session), at);
    const previous = session.health;
    if (health === previous) return;
    const of = run ?? ended;
    const tool = of?.tools.values().next().value?.tool;
    this.#context.say({
      note: 'session.health',
      ...fieldsOf(session),
      health,
      previous,
      forMs: at - session.healthSince,
      ...(of?.episode === undefined ? {} : { attempt: of.episode.attempts }),
      ...(of?.model === undefined ? {} : { model: of.model }),
      ...(tool === undefined ? {} : { tool }),
    });
    session.health = health;
    session.healthSince = at;
  }
}
