/** Runs a command of the user to its end, with a time limit, and gives its output line by line. */
import { spawn } from 'node:child_process';
import type { Clock } from '../lib/clock.js';
import { withoutEscapes } from '../lib/printable.js';
import type { ServerUser } from './identity/user.js';
import { whyNoDirectory } from './server/launch.js';
import { Lines } from './server/lines.js';
import { KEPT_LINES, MAX_LINE_BYTES } from './server/output.js';
import { killTree } from './signal/kill-tree.js';
import type { ProcessTable } from './table/process-table.js';

export type CommandResult = { lastLines: string[] } & (
  | { kind: 'exit'; code: number | null; signal: NodeJS.Signals | null }
  | { kind: 'timeout' }
  | { kind: 'not-started'; why: string }
);

export interface RunOptions {
  table: ProcessTable;
  clock: Clock;
  timeoutMs: number;
  stopGraceMs: number;
  cwd: string;
  /** What the user can do where `cwd` cannot be used. */
  cwdAdvice: string;
  env: NodeJS.ProcessEnv;
  /** As root: the user to run it as. */
  runAs?: Pick<ServerUser, 'uid' | 'gid'>;
  signal: AbortSignal;
  /** Written to its stdin, which is then closed; without it the command has no stdin. */
  input?: string;
  onLine(line: string): void;
}

/**
 * Lines shown of one run of `server.control: command`. If a command prints more, something is wrong, and its first
 * lines show what. At the limit: the rest is not shown; the last lines are kept for an error.
 */
export const MAX_SHOWN_LINES = 200;

/** @throws the signal's reason when aborted; the command is ended then, too */
export async function runCommand(
  argv: readonly string[],
  options: RunOptions,
): Promise<CommandResult> {
  const { clock, timeoutMs, signal } = options;
  const [program = '', ...args] = argv;
  const lastLines: string[] = [];
  const unusable = whyNoDirectory(options.cwd);
  if (unusable !== undefined) {
    return { kind: 'not-started', why: `${unusable}: ${options.cwdAdvice}`, lastLines };
  }
  let shown = 0;
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: options.env,
    ...(options.runAs && { uid: options.runAs.uid, gid: options.runAs.gid }),
    // In its own session, so that signals to the daemon's process group do not reach it.
    detached: true,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  // A command need not read its input. Only its output and how it ends matter.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  const outputs = [child.stdout, child.stderr].filter((stream) => stream !== null);
  for (const stream of outputs) {
    const lines = new Lines(MAX_LINE_BYTES, (text) => {
      const line = withoutEscapes(text.replace(/\r$/, '').slice(0, MAX_LINE_BYTES));
      lastLines.push(line);
      if (lastLines.length > KEPT_LINES) lastLines.shift();
      shown += 1;
      if (shown <= MAX_SHOWN_LINES) options.onLine(line);
    });
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => lines.push(text)).on('end', () => lines.end());
  }

  let onAbort = () => {};
  const ended = new Promise<CommandResult | 'aborted'>((resolve) => {
    child.once('error', (error) => resolve({ kind: 'not-started', why: error.message, lastLines }));
    // `exit`, not `close`: a server that the command started may hold its pipes open for ever.
    child.once('exit', (code, by) => {
      // The last lines may still be in the pipe: they arrive in this turn of the event loop or the next.
      setImmediate(() => resolve({ kind: 'exit', code, signal: by, lastLines }));
    });
    onAbort = () => resolve('aborted');
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  // Not `sleep`: the timer must not outlive a command that ends in time.
  let late = () => {};
  const tooLate = new Promise<CommandResult>((resolve) => {
    late = () => resolve({ kind: 'timeout', lastLines });
  });
  const timer = clock.after(timeoutMs, () => late());
  const result = await Promise.race([ended, tooLate]);
  timer.cancel();
  signal.removeEventListener('abort', onAbort);
  const done = result !== 'aborted' && result.kind !== 'timeout';
  if (!done && child.pid !== undefined) {
    const root = await options.table.read(child.pid);
    if (root) await killTree({ ...options, roots: [root] });
  }
  for (const stream of outputs) stream.destroy();
  child.stdin?.destroy();
  child.unref();
  if (result === 'aborted') throw signal.reason;
  return result;
}
