/** Runs a command to its end, as a person or a script would, and reports how it ended. */
import { execFile } from 'node:child_process';
import { CLI } from './daemon.js';
import { type Home, opencodeEnv } from './opencode-home.js';

export interface Ended {
  /** -1 if a signal ended it. */
  code: number;
  out: string;
  err: string;
}

export interface CommandOptions {
  cwd?: string;
  /** The whole environment. Default: the test's own. */
  env?: NodeJS.ProcessEnv;
  uid?: number;
  gid?: number;
  /** Written to its stdin, which is then closed. */
  input?: string;
}

/** Bytes, enough for a whole log. The promise rejects if there is more. */
const MAX_OUTPUT = 64 * 1024 * 1024;

/** `opencode-watchdog …` */
export function runCli(args: readonly string[], options?: CommandOptions): Promise<Ended> {
  return runProgram(process.execPath, [CLI, ...args], options);
}

/** `opencode-watchdog …` in the home of a test's opencode, with that home's environment. */
export function runInHome(
  home: Home,
  args: readonly string[],
  more: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  return runCli(args, { cwd: home.directory, env: { ...opencodeEnv(home.path), ...more } });
}

/** Rejects only if the program cannot be started. */
export function runProgram(
  program: string,
  args: readonly string[],
  { input, ...options }: CommandOptions = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { ...options, maxBuffer: MAX_OUTPUT },
      (error, out, err) => {
        if (typeof error?.code === 'string') reject(error);
        else resolve({ code: error?.code ?? (error ? -1 : 0), out, err });
      },
    );
    child.stdin?.end(input);
  });
}
