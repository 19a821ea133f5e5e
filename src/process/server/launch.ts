/** Starts a server's process so that it outlives this daemon: in its own session, with its output in files. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, rmSync, statSync } from 'node:fs';
import type { Clock } from '../../lib/clock.js';
import { fileProblem } from '../../lib/file-problem.js';
import { ensurePrivateDirectory, openPrivateFile } from '../../lib/state-dir.js';
import { type ControlDeps, ControlError } from '../control/control.js';
import { markedWith } from '../signal/orphans.js';
import type { ProcessRef, ProcessTable } from '../table/process-table.js';
import type { LaunchSpec } from './launch-spec.js';
import { OutputTail, type Stream } from './output.js';
import type { OutputFiles, ServerRecord, ServerRecords } from './state-file.js';

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/**
 * The process that was started, by us or by an earlier daemon. With npm's wrapper it is not the process that listens.
 */
export interface Launched {
  root: ProcessRef;
  /** Absent if an earlier daemon started it. */
  child?: ChildProcess;
  /** The marker in the environment of everything that it starts; absent for a server of a daemon that set none. */
  marker?: string;
  /** True if it was started as the server before it, which somebody else had started. */
  adopted?: true;
  /** Where its output goes; null if the state directory cannot be written, or belongs to another daemon. */
  files: OutputFiles | null;
  tail?: OutputTail;
  /** Aborted when the child has ended, with an `Exit` as its reason. Never aborted if an earlier daemon started it. */
  ended: AbortSignal;
}

export interface LaunchOptions {
  deps: ControlDeps;
  clock: Clock;
  table: ProcessTable;
  records: ServerRecords;
}

export async function launch(spec: LaunchSpec, options: LaunchOptions): Promise<Launched> {
  const [program, ...args] = spec.argv;
  if (!program) throw new ControlError('server.command is empty', { serverAlive: false });
  const unusable = whyNoDirectory(spec.cwd);
  if (unusable !== undefined) {
    throw new ControlError(`cannot start opencode: ${unusable}: ${SET_DIRECTORY}`, {
      serverAlive: false,
    });
  }
  const files = outputFiles(options);
  const marker = randomUUID();
  const output = files ? [openOutput(files.stdout), openOutput(files.stderr)] : [];
  try {
    const child = spawn(program, args, {
      cwd: spec.cwd,
      env: { ...spec.env, ...markedWith(marker) },
      // In its own session, so that a terminal's Ctrl-C or a signal to our process group does not reach the server.
      detached: true,
      // Node also drops root's supplementary groups (setgroups(2)) before it becomes that user.
      ...(spec.user && { uid: spec.user.uid, gid: spec.user.gid }),
      stdio: ['ignore', output[0] ?? 'ignore', output[1] ?? 'ignore'],
    });
    const ended = endOf(child);
    await once(child, 'spawn').catch((error: NodeJS.ErrnoException) => {
      throw spawnError(program, error);
    });
    const { pid } = child;
    if (pid === undefined) throw new Error('a spawned process without a pid');
    // A child that has already ended is a zombie or gone; `ended` reports its end.
    const root = { pid, startTime: (await options.table.read(pid))?.startTime ?? '' };
    return {
      root,
      child,
      ended,
      marker,
      files,
      ...(spec.adopted && { adopted: true }),
      ...(files && { tail: follow(files, 'start', options) }),
    };
  } finally {
    for (const fd of output) closeSync(fd);
  }
}

/** Takes over a server that an earlier daemon started, and goes on reading its output. */
export function relaunched(
  root: ProcessRef,
  { mark: marker, adopted }: Pick<ServerRecord, 'mark' | 'adopted'>,
  files: OutputFiles | null,
  options: LaunchOptions,
): Launched {
  const ended = new AbortController().signal;
  return {
    root,
    ended,
    files,
    marker,
    ...(adopted && { adopted }),
    ...(files && { tail: follow(files, 'end', options) }),
  };
}

export function exitOf(launched: Launched): Exit | undefined {
  return launched.ended.aborted ? (launched.ended.reason as Exit) : undefined;
}

function endOf(child: ChildProcess): AbortSignal {
  const ended = new AbortController();
  child.once('exit', (code, signal) => ended.abort({ code, signal } satisfies Exit));
  return ended.signal;
}

/** The remedy where `server.directory` cannot be used. */
export const SET_DIRECTORY = 'set server.directory to one that can';

/**
 * Why nothing can be started in a directory; undefined if something can. To be asked before a spawn: spawn(2) also
 * gives ENOENT for a missing directory, and Node then blames the command.
 */
export function whyNoDirectory(path: string): string | undefined {
  let why: string;
  try {
    if (statSync(path).isDirectory()) return undefined;
    why = 'it is not a directory';
  } catch (error) {
    why = fileProblem(error) ?? String(error);
  }
  return `its working directory ${path} cannot be used (${why})`;
}

function spawnError(program: string, error: NodeJS.ErrnoException): ControlError {
  const what =
    error.code === 'ENOENT'
      ? `the command "${program}" was not found: install opencode (npm i -g opencode-ai), or set server.command to where it is`
      : error.code === 'EACCES'
        ? `"${program}" may not be executed: check its permissions, or set server.command`
        : error.message;
  return new ControlError(`cannot start opencode: ${what}`, { serverAlive: false, cause: error });
}

function outputFiles({ records, deps }: LaunchOptions): OutputFiles | null {
  try {
    ensurePrivateDirectory(records.dir);
    const files = records.outputFiles();
    // Each server gets new files: what still runs of the old server keeps writing to the old ones.
    for (const file of Object.values(files)) {
      rmSync(file, { force: true });
      closeSync(openOutput(file));
    }
    return files;
  } catch (error) {
    deps.onNotice(
      'warn',
      `the server's output cannot be shown, and after a restart of this daemon it is not known as its own: ${records.dir} cannot be written (${String(error)})`,
    );
    return null;
  }
}

/** Opened for appending, so that the reader may empty the file while the server writes to it. */
function openOutput(file: string): number {
  return openPrivateFile(file, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
}

function follow(
  files: Record<Stream, string>,
  from: 'start' | 'end',
  { clock, deps }: LaunchOptions,
): OutputTail {
  return new OutputTail({
    files,
    from,
    clock,
    onLine: deps.onOutput,
    onDropped: (lines) =>
      deps.onNotice('warn', `the server writes faster than is logged: ${lines} lines left out`, {
        lines,
      }),
    onLost: (stream, error) =>
      deps.onNotice(
        'warn',
        `what the server writes to ${stream} is shown no more: ${files[stream]} cannot be read (${String(error)})`,
      ),
  });
}
