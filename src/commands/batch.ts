/** `batch`: many prompts, a bounded number at a time, one NDJSON result for each as it ends. */
import { closeSync, existsSync, fstatSync, openSync, readSync, writeFileSync } from 'node:fs';
import type { BatchResult } from '../opencode/driver/batch.js';
import {
  finishedTasks,
  MAX_BYTES,
  type PlannedTask,
  readInput,
  readResults,
  readTasks,
} from './batch-tasks.js';
import { countOf, type DrivingOptions, drive, durationOf } from './driver-commands.js';
import { whyUnwritten } from './output.js';
import { Progress } from './progress.js';
import { complain, deliverJsonLine, EXIT, ExitError } from './shared.js';
import { readStdin } from './stdin.js';

export interface BatchCommandOptions extends DrivingOptions {
  concurrency?: string;
  output?: string;
  resume?: boolean;
  model?: string;
  timeout?: string;
  maxAttempts?: string;
  serverWait?: string;
}

const DEFAULT_CONCURRENCY = 4;

export async function batchCommand(
  [file = '']: string[],
  options: BatchCommandOptions,
): Promise<number> {
  const { output, resume = false, model, timeout, maxAttempts, serverWait = '2m' } = options;
  const serverWaitMs = serverWait === '0' ? 0 : durationOf('--server-wait', serverWait);
  const concurrency =
    options.concurrency === undefined
      ? DEFAULT_CONCURRENCY
      : countOf('--concurrency', options.concurrency);
  if (resume && output === undefined) {
    throw new ExitError(
      EXIT.usage,
      '--resume needs --output FILE: the results of the earlier batch',
    );
  }
  const defaults = {
    ...(model !== undefined && { model }),
    ...(timeout !== undefined && { timeoutMs: durationOf('--timeout', timeout) }),
    ...(maxAttempts !== undefined && { maxAttempts: countOf('--max-attempts', maxAttempts) }),
  };
  const tasks =
    file === '-'
      ? readTasks('stdin', await readStdin('the tasks', MAX_BYTES))
      : readTasks(file, readInput(file));
  const todo = remaining(tasks, output, resume).map((task) => ({ ...defaults, ...task }));
  const skipped = tasks.length - todo.length;
  return drive(options, async ({ driver, signal }) => {
    await driver.assertUp(signal);
    const out = openOutput(output);
    const progress = new Progress(todo.length);
    let failed = 0;
    let ended = 0;
    try {
      const results = driver.batch(
        todo.map(({ digest: _, ...task }) => task),
        { concurrency, serverWaitMs, signal, onStart: () => progress.started() },
      );
      for await (const result of results) {
        ended += 1;
        if (!result.ok) failed += 1;
        const line = resultLine(result, todo[result.index]);
        await progress.around(() => out.write(line));
        progress.ended(result.ok);
      }
    } finally {
      progress.end();
      out.close();
    }
    const left = todo.length - ended;
    const parts = [
      `${ended - failed} of ${todo.length} tasks ok`,
      ...(failed > 0 ? [`${failed} failed`] : []),
      ...(left > 0 ? [`${left} not begun`] : []),
      ...(skipped > 0 ? [`${skipped} finished earlier`] : []),
    ];
    complain(parts.join(', '));
    return failed + left > 0 || !out.isWhole() ? EXIT.failed : EXIT.done;
  });
}

function remaining(
  tasks: PlannedTask[],
  output: string | undefined,
  resume: boolean,
): PlannedTask[] {
  if (output === undefined || !existsSync(output)) return tasks;
  const earlier = readResults(output);
  if (resume) {
    const finished = finishedTasks(earlier);
    return tasks.filter(({ id, digest }) => !finished.has(`${id} ${digest}`));
  }
  if (earlier === '') return tasks;
  throw new ExitError(
    EXIT.usage,
    `--output "${output}" has results already: --resume goes on from there, another name starts anew`,
  );
}

function resultLine(result: BatchResult, task: PlannedTask | undefined): Record<string, unknown> {
  const head = { id: result.id, task: task?.digest, ok: result.ok };
  const notices = result.notices.length > 0 ? { notices: result.notices } : {};
  return result.ok
    ? { ...head, ...result.reply, ...notices }
    : { ...head, error: result.error, ...notices };
}

interface Output {
  /** @throws ExitError with code 1 if only stderr takes the line: the results of further tasks would be lost */
  write(line: Record<string, unknown>): Promise<void>;
  /** Whether all lines are in the output that was asked for. */
  isWhole(): boolean;
  close(): void;
}

function openOutput(path: string | undefined): Output {
  if (path === undefined) return { write: deliverJsonLine, isWhole: () => true, close() {} };
  let fd: number;
  try {
    fd = openSync(path, 'a+', 0o600);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw new ExitError(EXIT.usage, `--output "${path}": it cannot be written (${code})`);
  }
  let failure: string | undefined;
  const append = (text: string) => {
    try {
      writeFileSync(fd, text);
    } catch (error) {
      failure = whyUnwritten(error as NodeJS.ErrnoException);
      complain(`--output "${path}": it cannot be written (${failure}); results go to stdout now`);
    }
  };
  // An earlier batch that was killed may have left half a line.
  if (!endsWithNewline(fd)) append('\n');
  return {
    async write(line) {
      if (failure === undefined) append(`${JSON.stringify(line)}\n`);
      if (failure !== undefined) await deliverJsonLine(line);
    },
    isWhole: () => failure === undefined,
    close: () => closeSync(fd),
  };
}

function endsWithNewline(fd: number): boolean {
  const { size } = fstatSync(fd);
  if (size === 0) return true;
  const last = Buffer.alloc(1);
  readSync(fd, last, 0, 1, size - 1);
  return last[0] === 0x0a;
}
