/**
 * The one small interface behind which every `server.control` stands: how the opencode process is found, started,
 * stopped and measured. What to do is the watchdog's to decide; that it was really done is proven here.
 */

import type { Finding } from '../identity/identity.js';
import type { ExaminedProcess } from '../table/examine.js';
import type { TreeUsage } from '../table/memory.js';

export type ControlMode =
  | 'spawn'
  | 'adopt'
  | 'external'
  | 'command'
  | 'docker'
  | 'service'
  | 'observe';

/** The proof of identity of a process: a pid alone may be recycled (proc(5): `starttime` is field 22 of stat). */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks since boot, or another value that differs for a recycled pid. */
  startTime: string;
  /** argv, as far as it can be read. */
  command: readonly string[];
}

export interface StartedServer {
  /** The process that listens on the port; a wrapper's child, not the wrapper. Unknown for a remote server. */
  pid?: number;
  version?: string;
  /** From the act's begin to the first healthy answer. */
  tookMs: number;
}

/** Called once a start is under way. `pid`: of the process that was started for it, where it is one of ours. */
export type OnStarting = (pid?: number) => void;

export interface RestartedServer extends StartedServer {
  oldPid?: number;
}

/**
 * What a failed control knows of the server that was there before: true: it serves on; false: it was seen to be gone,
 * or this control ended it; `unknown`: nobody checked, or it cannot be seen. Then the server itself must be asked before
 * anybody believes that it is gone.
 */
export type ServerAlive = boolean | 'unknown';

/** A control that could not do what was asked. `message` says what was tried, what came back and what to do. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly serverAlive: ServerAlive;
  constructor(message: string, options: { serverAlive: ServerAlive; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.serverAlive = options.serverAlive;
  }
}

/**
 * An answer over HTTP: whoever gives it is alive. `strange`: it is not understood; `boots`: it says that it is starting,
 * `certain`: waiting does not change it, `unclear`: it may. `isUnproven`: it wants the password, which nobody gets who is
 * not proven; a server that has just begun to listen is so for a moment.
 */
export interface Answering {
  version?: string;
  strange?: 'boots' | 'certain' | 'unclear';
  isUnproven?: true;
}

/** What a control needs from the outside; injected, so that this room knows neither HTTP nor logs. */
export interface ControlDeps {
  /** One health probe, bounded in time; resolves to null where nothing answers over HTTP. Never rejects. A 401 counts as an answer. */
  isHealthy(signal: AbortSignal): Promise<Answering | null>;
  /** A supervised process ended without being told to. */
  onExit(exit: { pid: number; code: number | null; signal: NodeJS.Signals | null }): void;
  /** A signal has stopped the process (state T), and it is still so: told at each check, until it runs. */
  onSuspended(suspended: { pid: number }): void;
  /** A line of a spawned server's own output, cut to a bounded length. */
  onOutput(line: { stream: 'stdout' | 'stderr'; line: string }): void;
  /** Something a person should know, in a plain sentence. */
  onNotice(
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, unknown>,
  ): void;
}

/** What a control can say of a server that is about to be ended. */
export interface Examination {
  /** The server first, the others by their memory; absent where none is seen. */
  processes?: ExaminedProcess[];
  /** The last lines of its output, oldest first; empty where it is not ours to read. */
  output: string[];
}

export interface ServerControl {
  /** Who serves the port just now, for the guard of the password; absent where no process is seen. Changes nothing. */
  findNow?(): Promise<Finding>;
  readonly mode: ControlMode;
  /** False where this control never touches the process (`observe`): restarts are then not decided at all. */
  readonly acts: boolean;
  /** True where a restarted server goes on by itself with the runs that the restart has cut. */
  readonly resumesRuns?: boolean;
  /** Finds the process that serves the URL's port now, and watches it for its end. Null where none was found or proven. */
  attach(signal: AbortSignal): Promise<ProcessIdentity | null>;
  /** Starts a server where none runs; resolves when it is healthy. @throws ControlError */
  start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer>;
  /** Ends the running server and all that it started, and brings a new one to health. @throws ControlError */
  restart(signal: AbortSignal): Promise<RestartedServer>;
  /** Lets a process that a signal has stopped run on, with what was stopped along with it. @throws ControlError */
  continueProcess(): Promise<void>;
  /** Checks at once whether the process is still there (the event stream was just cut) and calls `onExit` if not. */
  poke(): void;
  /** Resident memory in bytes of the server's whole process tree; undefined where it cannot be read. */
  memory(): Promise<number | undefined>;
  /** The same with the number of processes and the largest children; absent where no process is seen. */
  usage?(): Promise<TreeUsage | undefined>;
  /** Which version a start would bring up; undefined where it is not told. Absent where somebody else starts it. */
  installedVersion?(): Promise<string | undefined>;
  /** The server as it is now, for the evidence of an incident; absent where no process is seen. */
  examine?(): Promise<Examination>;
  /** Whether `dispose('stop')` ends the server; absent where it never does. */
  endsOnStop?(): Promise<boolean>;
  /** Lets go. `stop` ends a server that this control started or adopted from a daemon before it; `leave` leaves it running. */
  dispose(onExit: 'stop' | 'leave'): Promise<void>;
}
