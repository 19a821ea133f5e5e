/** What was observed during a chaos run. The laws decide by it alone, and the timeline file consists of it. */
import type { LogLine } from '../test/support/daemon.js';
import type { KindName } from './kinds.js';
import type { FaultName } from './schedule.js';

export type { LogLine };

/** Why the daemon cannot be expected to do its work at the moment. */
export type Excuse =
  | 'daemon down'
  | 'daemon frozen'
  | 'server down'
  | 'server frozen'
  | 'server silent'
  | 'network'
  | 'disk'
  | 'provider'
  | 'fault';

export interface Process {
  pid: number;
  /** Start time in clock ticks since boot: with the pid, a process's identity. */
  start: number;
  command: string;
}

export type Evidence = { at: number } & (
  | { kind: 'fault.begun'; fault: FaultName; id: number }
  /** `note`: what came of the fault. `broken`: how the watchdog reacted, if that was wrong in itself. */
  | { kind: 'fault.ended'; fault: FaultName; id: number; note?: string; broken?: string }
  | { kind: 'daemon.started'; generation: number; pid: number }
  /** `expected`: we caused it. */
  | {
      kind: 'daemon.ended';
      generation: number;
      code: number | null;
      signal: string | null;
      expected: boolean;
      stderr: string;
    }
  | { kind: 'log'; generation: number; line: LogLine }
  /** Not JSON, so no tool can read it. */
  | { kind: 'log.broken'; generation: number; text: string }
  /** An abort request as it left the daemon. */
  | { kind: 'wire.abort'; sessionID: string }
  /** A prompt of the daemon, as it left the daemon. */
  | { kind: 'wire.prompt'; sessionID: string }
  /** The living `opencode serve` processes, at every change. */
  | { kind: 'servers'; processes: Process[] }
  /** Processes of this world that are older than its server. May be empty. */
  | { kind: 'old.processes'; news: boolean; server: Process; processes: Process[] }
  /** Processes that still live after everything was told to stop. */
  | { kind: 'left.over'; processes: Process[] }
  /** `sessionID` belongs to this scenario. `child`: it is the session of a subagent. */
  | { kind: 'session.known'; sessionID: string; title: string; scenario: KindName; child: boolean }
  /** The session's run has begun, as far as we know: opencode accepted the prompt. */
  | { kind: 'session.begun'; sessionID: string }
  /** A person did something to it. Its limit counts from now on. */
  | { kind: 'session.ripe'; sessionID: string }
  /** A person has sent it another prompt, and the server has taken it. */
  | { kind: 'session.prompted'; sessionID: string }
  | { kind: 'session.ended'; sessionID: string; finish: string }
  /** Its server process is gone, and its run with it. */
  | { kind: 'session.cut'; sessionID: string }
  /** Empty: everything works, and the daemon has no excuse. */
  | { kind: 'excuses'; excuses: Excuse[] }
  /** `GET /readyz`. */
  | { kind: 'ready'; ready: boolean }
  /** Anything that the daemon shows or that others can see. It is searched for secrets. */
  | { kind: 'shown'; where: string; text: string }
  | { kind: 'tick' }
);

/** Records evidence. The time is added. */
export type Emit = (
  e: Evidence extends infer E ? (E extends Evidence ? Omit<E, 'at'> : never) : never,
) => void;

export interface Violation {
  at: number;
  law: string;
  what: string;
}

/** One invariant. It is given every piece of evidence, reports each violation once, and counts its checks. */
export abstract class Law {
  abstract readonly name: string;
  readonly violations: Violation[] = [];
  checks = 0;
  readonly #said = new Set<string>();

  abstract take(e: Evidence): void;

  /** No more evidence will come. */
  finish(_at: number): void {}

  /** Violations with the same `key` are reported once. */
  protected violated(at: number, what: string, key = what): void {
    if (this.#said.has(key)) return;
    this.#said.add(key);
    this.violations.push({ at, law: this.name, what });
  }

  protected check(holds: boolean, at: number, what: string, key?: string): void {
    this.checks += 1;
    if (!holds) this.violated(at, what, key);
  }
}
