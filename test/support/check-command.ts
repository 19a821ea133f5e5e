/** Runs the `check` command in a home, and tells how it ended. */
import { execFile } from 'node:child_process';
import { CLI } from './daemon.js';
import { type Home, opencodeEnv } from './opencode-home.js';

export interface CheckResult {
  code: number;
  stdout: string;
  stderr: string;
}

export function runCheck(
  home: Home,
  args: string[],
  env: Record<string, string> = {},
): Promise<CheckResult> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [CLI, 'check', ...args],
      { cwd: home.directory, env: { ...opencodeEnv(home.path), ...env } },
      (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : 0;
        resolve({ code, stdout, stderr });
      },
    );
  });
}
