/**
 * The executor of the simulation. Its logic is the product's: the steps of an abort, the answer to a skipped act, what
 * a pause leaves alone. Only the server that it talks to, and the time that this takes, are simulated.
 */
import {
  type AbortStep,
  abortEnd,
  abortSteps,
  describeStatus,
  type SendAnswer,
  type StatusCheck,
  UNSEEN,
} from '../../../src/opencode/actions/abort-steps.js';
import {
  type DisposeStep,
  disposeEnd,
  disposeSteps,
} from '../../../src/opencode/actions/dispose-steps.js';
import type { Act, ContinueAct } from '../../../src/watchdog/decision.js';
import type { Observation, SessionStatus } from '../../../src/watchdog/observation.js';
import { isManual, skipped } from '../../../src/watchdog/skipped.js';

/** What comes of a request: the server's answer, a refused connection, or nothing in time. */
export type Reply<T> = { kind: 'answer'; value: T } | { kind: 'refused' } | { kind: 'timeout' };

/** The simulated server, as the executor sees it. Every answer takes its time. */
export interface SimulatedServer {
  readonly now: number;
  random(from: number, to: number): number;
  after(ms: number, fn: () => void): void;
  observe(o: Observation): void;
  /** Null: there is no such session. */
  directoryOf(sessionID: string, then: (reply: Reply<string | null>) => void): void;
  statusOf(
    sessionID: string,
    withinMs: number,
    then: (reply: Reply<SessionStatus | undefined>) => void,
  ): void;
  abort(sessionID: string, withinMs: number, then: (reply: Reply<true>) => void): void;
  /** The sessions that run in the directory. */
  running(
    directory: string,
    withinMs: number,
    then: (reply: Reply<ReadonlySet<string>>) => void,
  ): void;
  dispose(directory: string, withinMs: number, then: (reply: Reply<true>) => void): void;
  inspect(sessionID: string): void;
  /**
   * Sends a continuation to an ended session. `used`: somebody else was quicker, as `continue.ts` would find out, or it
   * was withdrawn before it was sent.
   */
  prompt(
    act: ContinueAct,
    isWithdrawn: () => boolean,
    then: (reply: Reply<'began' | 'used'>) => void,
  ): void;
  restart(): void;
  readonly isPaused: boolean;
}

type AbortAct = Extract<Act, { act: 'abort' }>;
type DisposeAct = Extract<Act, { act: 'dispose' }>;

export class SimulatedExecutor {
  readonly #server: SimulatedServer;
  /** The abort that was begun last, by session. */
  readonly #aborts = new Map<string, { withdrawn: boolean }>();
  /** The continuation that was begun last, by session. */
  readonly #continuations = new Map<string, { withdrawn: boolean }>();

  #isKilled = false;

  constructor(server: SimulatedServer) {
    this.#server = server;
  }

  /** Its daemon was killed: from now on the results of its acts go nowhere. */
  kill(): void {
    this.#isKilled = true;
  }

  #tell(o: Observation): void {
    if (!this.#isKilled) this.#server.observe(o);
  }

  do(act: Act): void {
    const server = this.#server;
    switch (act.act) {
      case 'inspect':
        server.inspect(act.sessionID);
        return;
      case 'withdraw': {
        const abort = this.#aborts.get(act.sessionID);
        if (abort) abort.withdrawn = true;
        return;
      }
      case 'give_up':
        return;
      default: {
        if (!server.isPaused || isManual(act)) {
          this.#perform(act);
          return;
        }
        // The watchdog is still deciding: the answer comes afterwards.
        const answer = skipped(act, server.now);
        if (answer) server.after(0, () => this.#tell({ ...answer, at: server.now }));
      }
    }
  }

  #perform(act: Act): void {
    if (act.act === 'abort') this.#abort(act);
    else if (act.act === 'dispose') this.#dispose(act);
    else if (act.act === 'continue') this.#continue(act);
    else if (act.act === 'start' || act.act === 'restart') this.#server.restart();
  }

  #abort(act: AbortAct): void {
    const server = this.#server;
    const { sessionID } = act;
    const state = { withdrawn: false };
    this.#aborts.set(sessionID, state);
    const continuation = this.#continuations.get(sessionID);
    if (continuation !== undefined && act.reason === 'manual') continuation.withdrawn = true;
    const sent: SendAnswer = {
      words: 'was sent and not answered',
      hopeless: false,
      nothingRan: false,
    };
    const steps = abortSteps(
      {
        listsOneDirectory: true,
        now: () => server.now,
        isWithdrawn: () => state.withdrawn,
        isStopping: () => false,
        answer: () => sent,
      },
      act,
    );
    const goOn = (): void => {
      const next = steps.next();
      if (!next.done) {
        this.#step(sessionID, next.value, sent, goOn);
        return;
      }
      // A restart cut the run, and another run of the same session is being aborted by now.
      if (this.#aborts.get(sessionID) !== state) return;
      this.#aborts.delete(sessionID);
      this.#tell(abortEnd(next.value, sessionID, server.now));
    };
    // The watchdog is still deciding.
    server.after(0, goOn);
  }

  #continue(act: ContinueAct): void {
    const server = this.#server;
    const { sessionID } = act;
    const told = (reply: Reply<'began' | 'used'>) => {
      const at = server.now;
      if (reply.kind === 'answer' && reply.value === 'began') {
        this.#tell({ kind: 'continue.done', at, sessionID });
        return;
      }
      const how =
        reply.kind === 'answer'
          ? { superseded: true }
          : { ...(reply.kind === 'refused' && { unreachable: 'unsent' as const }) };
      this.#tell({ kind: 'continue.failed', at, sessionID, error: reply.kind, ...how });
    };
    const state = { withdrawn: false };
    this.#continuations.set(sessionID, state);
    server.after(0, () => server.prompt(act, () => state.withdrawn, told));
  }

  #dispose(act: DisposeAct): void {
    const server = this.#server;
    const sent = { words: 'was sent and not answered', isFinal: false };
    const steps = disposeSteps(
      { now: () => server.now, isStopping: () => false, answer: () => sent },
      act,
    );
    const perform = (step: DisposeStep): void => {
      switch (step.step) {
        case 'check':
          server.running(act.directory, step.withinMs, (reply) => {
            step.take(reply.kind === 'answer' ? reply.value : undefined);
            goOn();
          });
          return;
        case 'send':
          server.dispose(act.directory, step.withinMs, (reply) => {
            if (reply.kind === 'answer') sent.words = 'was answered';
            else if (reply.kind === 'refused')
              Object.assign(sent, { words: 'failed', isFinal: true });
          });
          goOn();
          return;
        case 'wait':
          server.after(step.ms, goOn);
      }
    };
    const goOn = (): void => {
      const next = steps.next();
      if (next.done) this.#tell(disposeEnd(next.value, act.directory, server.now));
      else perform(next.value);
    };
    server.after(0, goOn);
  }

  #step(sessionID: string, step: AbortStep, sent: SendAnswer, goOn: () => void): void {
    const server = this.#server;
    switch (step.step) {
      case 'find':
        server.directoryOf(sessionID, (reply) => {
          step.take(reply.kind === 'answer' ? reply.value : undefined);
          goOn();
        });
        return;
      case 'check': {
        let waited = true;
        const seen = (status: StatusCheck) => {
          if (!waited) return;
          waited = false;
          step.take(status);
          goOn();
        };
        if (step.waitMs !== undefined) server.after(step.waitMs, () => seen(UNSEEN));
        server.statusOf(sessionID, step.withinMs, (reply) =>
          seen(reply.kind === 'answer' ? describeStatus(reply.value) : UNSEEN),
        );
        return;
      }
      case 'send':
        server.abort(sessionID, step.withinMs, (reply) => {
          if (reply.kind === 'answer') sent.words = 'was answered';
          else if (reply.kind === 'refused') {
            sent.words = 'failed: refused';
            sent.hopeless = true;
          }
        });
        goOn();
        return;
      case 'wait':
        server.after(step.ms, goOn);
    }
  }
}
