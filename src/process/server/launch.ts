/** Starts a server's process so that it outlives this daemon: its own session, its output in files. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, rmSync, statSync } from 'node:fs';
import type { Clock } from '../../lib/clock.js';
import { ensurePrivateDirectory, openPrivateFile } from '../../lib/state-dir.js';
import { type ControlDeps, ControlError } from '../control/control.js';
import { markedWith } from '../signal/orphans.js';
import type { ProcessRef, ProcessTable } from '../table/process-table.js';
import type { LaunchSpec } from './launch-spec.js';
import { OutputTail, type Stream } from './output.js';
import type { OutputFiles, ServerRecords } from './state-file.js';

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The process that was started, by us or by an earlier daemon: with npm's wrapper not the one that listens. */
export interface Launched {
  root: ProcessRef;
  /** Absent where an earlier daemon started it. */
  child?: ChildProcess;
  /** In the environment of all that it starts; absent for a server of a daemon that set none. */
  marker?: string;
  /** Where its output goes; null where the state directory cannot be written. */
  files: OutputFiles | null;
  tail?: OutputTail;
  /** Aborted when the child has ended, with an `Exit` as its reason; never for an earlier daemon's. */
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
  // spawn(2) says ENOENT for a missing directory too, and Node blames the command.
  if (!statSync(spec.cwd, { throwIfNoEntry: false })?.isDirectory()) {
    throw new ControlError(
      `cannot start opencode: the working directory ${spec.cwd} does not exist (server.directory)`,
      { serverAlive: false },
    );
  }
  const files = outputFiles(options);
  const marker = randomUUID();
  const output = files ? [openOutput(files.stdout), openOutput(files.stderr)] : [];
  try {
    const child = spawn(program, args, {
      cwd: spec.cwd,
      env: { ...spec.env, ...markedWith(marker) },
      // Its own session: a terminal's Ctrl-C and a signal to our group are ours, not the server's.
      detached: true,
      // Node also leaves root's supplementary groups (setgroups(2)) before it becomes that user.
      ...(spec.user && { uid: spec.user.uid, gid: spec.user.gid }),
      stdio: ['ignore', output[0] ?? 'ignore', output[1] ?? 'ignore'],
    });
    const ended = endOf(child);
    await once(child, 'spawn').catch((error: NodeJS.ErrnoException) => {
      throw spawnError(program, error);
    });
    const { pid } = child;
    if (pid === undefined) throw new Error('a spawned process without a pid');
    // A child that ended already is a zombie or gone; its end is told by `ended`.
    const root = { pid, startTime: (await options.table.read(pid))?.startTime ?? '' };
    return {
      root,
      child,
      ended,
      marker,
      files,
      ...(files && { tail: follow(files, 'start', options) }),
    };
  } finally {
    for (const fd of output) closeSync(fd);
  }
}

/** Takes up what an earlier daemon started: its output goes on to be read. */
export function relaunched(
  root: ProcessRef,
  marker: string,
  files: OutputFiles | null,
  options: LaunchOptions,
): Launched {
  const ended = new AbortController().signal;
  return {
    root,
    ended,
    files,
    marker,
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
    // A new file for each server: what still runs of the old one keeps writing to the old.
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

/** Appending, so that the reader may empty the file under the writer. */
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
