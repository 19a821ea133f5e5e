/**
 * The interface of every `server.control`: how the opencode process is found, started, stopped and measured. The
 * watchdog decides what to do; a control proves that it was really done.
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

/** Identifies a process: a pid alone may be recycled (proc(5): `starttime` is field 22 of stat). */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks since boot, or another value that differs for a recycled pid. */
  startTime: string;
  /** argv, as far as it can be read. */
  command: readonly string[];
}

export interface StartedServer {
  /** The process that listens on the port: a wrapper's child, not the wrapper. Unknown for a remote server. */
  pid?: number;
  version?: string;
  /** From the start of the action to the first healthy answer. */
  tookMs: number;
}

export interface AttachOptions {
  /** Ends nothing, not even what an earlier server of ours has left running. */
  onlyWatch?: boolean;
}

/** Called once a start is under way. `pid`: the process that was started for it, if it is one of ours. */
export type OnStarting = (pid?: number) => void;

export interface RestartedServer extends StartedServer {
  oldPid?: number;
}

/**
 * What a failed control knows of the server that was there before. true: it still serves. false: it was seen to be
 * gone, or this control ended it. `unknown`: nobody checked, or it cannot be seen; then the server itself must be asked
 * before it counts as gone.
 */
export type ServerAlive = boolean | 'unknown';

/** A control could not do what was asked. `message` says what was tried, what came back and what to do. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly serverAlive: ServerAlive;
  constructor(message: string, options: { serverAlive: ServerAlive; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.serverAlive = options.serverAlive;
  }
}

/**
 * An answer over HTTP, which shows that the server is alive. `strange`: the answer is not understood (`boots`: it says
 * that the server is starting; `certain`: waiting does not change it; `unclear`: waiting may change it). `isUnproven`:
 * the server wants the password, which only a proven server gets. A server that has just begun to listen is unproven
 * for a moment.
 */
export interface Answering {
  version?: string;
  strange?: 'boots' | 'certain' | 'unclear';
  isUnproven?: true;
}

/** What a control needs from outside; injected, so that this folder knows neither HTTP nor logs. */
export interface ControlDeps {
  /** One health probe, bounded in time; null if nothing answers over HTTP. Never rejects. A 401 counts as an answer. */
  isHealthy(signal: AbortSignal): Promise<Answering | null>;
  /** A supervised process has ended although nobody told it to. */
  onExit(exit: { pid: number; code: number | null; signal: NodeJS.Signals | null }): void;
  /** A signal has stopped the process (state T), and it is still stopped. Called at each check until it runs again. */
  onSuspended(suspended: { pid: number }): void;
  /** A line of a spawned server's own output, cut to a maximum length. */
  onOutput(line: { stream: 'stdout' | 'stderr'; line: string }): void;
  /** Something a person should know, in a plain sentence. */
  onNotice(
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, unknown>,
  ): void;
}

/** What a control can tell about a server that is about to be ended. */
export interface Examination {
  /** The server first, the others by their memory; absent if none is seen. */
  processes?: ExaminedProcess[];
  /** The last lines of its output, oldest first; empty if the output is not ours to read. */
  output: string[];
}

export interface ServerControl {
  /** Tells who serves the port now, for the password guard; absent if no process can be seen. Changes nothing. */
  findNow?(): Promise<Finding>;
  readonly mode: ControlMode;
  /** False if this control never touches the process, as with `observe`: then no restart is decided at all. */
  readonly acts: boolean;
  /** True if a restarted server continues by itself the runs that the restart interrupted. */
  readonly resumesRuns?: boolean;
  /**
   * Finds the process that serves the URL's port now, and watches it for its end. Then it ends what an earlier server of
   * ours has left running. Null if no process was found or proven.
   */
  attach(signal: AbortSignal, options?: AttachOptions): Promise<ProcessIdentity | null>;
  /** Starts a server if none runs; resolves when it is healthy. @throws ControlError */
  start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer>;
  /**
   * Ends the running server and all that it started, starts a new one and waits for its health. @throws ControlError
   */
  restart(signal: AbortSignal): Promise<RestartedServer>;
  /** Continues a process that a signal has stopped, with what was stopped along with it. @throws ControlError */
  continueProcess(): Promise<void>;
  /** The process that is watched for its end; absent if none can be seen. */
  watched?(): Pick<ProcessIdentity, 'pid' | 'startTime'> | undefined;
  /** Checks at once whether the process is still there (the event stream was just cut) and calls `onExit` if not. */
  poke(): void;
  /** Resident memory in bytes of the server's whole process tree; undefined if it cannot be read. */
  memory(): Promise<number | undefined>;
  /** The same, with the number of processes and the largest children; absent if no process can be seen. */
  usage?(): Promise<TreeUsage | undefined>;
  /**
   * The version that a start would bring up; undefined if it is not known. Absent if somebody else starts the server.
   */
  installedVersion?(): Promise<string | undefined>;
  /** The server as it is now, for the evidence of an incident; absent if no process can be seen. */
  examine?(): Promise<Examination>;
  /** Whether `dispose('stop')` ends the server; absent if it never does. */
  endsOnStop?(): Promise<boolean>;
  /**
   * Stops watching. `stop` also ends a server that this control started or took over from an earlier daemon; `leave`
   * leaves such a server running.
   */
  dispose(onExit: 'stop' | 'leave'): Promise<void>;
}
