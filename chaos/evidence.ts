/** What was seen while chaos ran: the only thing that the laws judge by, and what the timeline file holds. */
import type { LogLine } from '../test/support/daemon.js';
import type { KindName } from './kinds.js';
import type { FaultName } from './schedule.js';

export type { LogLine };

/** Why the daemon cannot be expected to do its work just now. */
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
  /** `note`: what became of it; `broken`: what it was answered with, where that is wrong in itself. */
  | { kind: 'fault.ended'; fault: FaultName; id: number; note?: string; broken?: string }
  | { kind: 'daemon.started'; generation: number; pid: number }
  /** `expected`: we did it. */
  | {
      kind: 'daemon.ended';
      generation: number;
      code: number | null;
      signal: string | null;
      expected: boolean;
      stderr: string;
    }
  | { kind: 'log'; generation: number; line: LogLine }
  /** Not JSON, so nobody's tool can read it. */
  | { kind: 'log.broken'; generation: number; text: string }
  /** An abort request as it left the daemon. */
  | { kind: 'wire.abort'; sessionID: string }
  /** A prompt of the daemon's as it left it. */
  | { kind: 'wire.prompt'; sessionID: string }
  /** The living `opencode serve` processes, on every change. */
  | { kind: 'servers'; processes: Process[] }
  /** Processes of this world that are older than its server, where there are any. */
  | { kind: 'old.processes'; news: boolean; server: Process; processes: Process[] }
  /** What lives when everything was told to stop. */
  | { kind: 'left.over'; processes: Process[] }
  /** `sessionID` is known to belong to this scenario; `child`: it is its subagent's. */
  | { kind: 'session.known'; sessionID: string; title: string; scenario: KindName; child: boolean }
  /** Its run has begun, as far as can be told: opencode took the prompt. */
  | { kind: 'session.begun'; sessionID: string }
  /** A person did something to it: from here its limit counts. */
  | { kind: 'session.ripe'; sessionID: string }
  /** A person has prompted it once more, or has tried to. */
  | { kind: 'session.prompted'; sessionID: string }
  | { kind: 'session.ended'; sessionID: string; finish: string }
  /** Its server process is gone, and it with it. */
  | { kind: 'session.cut'; sessionID: string }
  /** Empty: everything works, and the daemon has no excuse. */
  | { kind: 'excuses'; excuses: Excuse[] }
  /** `GET /readyz`. */
  | { kind: 'ready'; ready: boolean }
  /** Anything that the daemon shows or that others can see: searched for secrets. */
  | { kind: 'shown'; where: string; text: string }
  | { kind: 'tick' }
);

/** Takes evidence; when it came is added. */
export type Emit = (
  e: Evidence extends infer E ? (E extends Evidence ? Omit<E, 'at'> : never) : never,
) => void;

export interface Violation {
  at: number;
  law: string;
  what: string;
}

/** One invariant: it is told everything, says what is wrong once, and counts how often it looked. */
export abstract class Law {
  abstract readonly name: string;
  readonly violations: Violation[] = [];
  checks = 0;
  readonly #said = new Set<string>();

  abstract take(e: Evidence): void;

  /** Nothing more will come. */
  finish(_at: number): void {}

  /** `key`: the same thing is said once. */
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
