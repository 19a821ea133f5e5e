/**
 * What a script can make a session do, in 1.x or in 2.x. Each call changes the server's state and returns the frame for
 * it.
 */
import type { FakeServerState, FakeSession } from './fake-server-state.js';
import type { Frame } from './frames.js';
import type { Limits } from './scripts.js';

export interface Tool {
  name: string;
  callID: string;
  partID: string;
  start: number;
  input: object;
}

export type RequestKind = 'permission' | 'question';

/** If this API has no frame for a call, it returns a frame without text. */
export interface Simulated {
  readonly session: FakeSession;
  /** Undefined means idle. */
  status(value: string | undefined): Frame;
  busy(): Frame;
  retry(attempt: number, nextInMs: number, message: string, action?: object): Frame;
  touched(): Frame;
  prompt(): Frame;
  diff(): Frame;
  /** The model gets its request. */
  ask(extra?: object): Frame;
  answered(finish: 'stop' | 'tool-calls'): Frame;
  idle(): Frame;
  stepStart(): Frame;
  stepFinish(reason: 'stop' | 'tool-calls'): Frame;
  textBegins(): Frame;
  delta(chars: number): Frame;
  textEnds(): Frame;
  compaction(): Frame;
  compacted(): Frame;
  tool(name: string, input: object): Tool;
  pending(tool: Tool): Frame;
  running(tool: Tool, metadata?: { sessionId: string }): Frame;
  /** A tool that has printed `chars` so far. */
  printed(tool: Tool, chars: number): Frame;
  done(tool: Tool, chars: number): Frame;
  failed(tool: Tool, error: string): Frame;
  asks(kind: RequestKind, tool: Tool): { id: string; frame: Frame };
  answers(kind: RequestKind, id: string): Frame;
  /** The provider refuses the request, and opencode does not try again. */
  refused(message: string, statusCode: number): Frame;
  /** Somebody ends the run. */
  aborted(): Frame;
  deleted(): Frame;
  /** From `at` (`performance.now()`) on the run is stuck. From `from` on another rule may end it earlier. */
  stuck(at: number, from?: number): void;
  /** When (`performance.now()`) a first request without an answer counts as stuck. */
  unansweredUntil(limits: Limits): number;
}

/** How a version of opencode reports. */
export interface Dialect {
  readonly api: 1 | 2;
  created(session: FakeSession): Frame;
  simulate(state: FakeServerState, session: FakeSession): Simulated;
}
