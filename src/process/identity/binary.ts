/** Checks whether opencode is installed, where it is and which version it has, by asking the binary itself. */
import { execFile } from 'node:child_process';
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';
import { withoutEscapes } from '../../lib/printable.js';
import { SET_DIRECTORY, whyNoDirectory } from '../server/launch.js';

/** A cold start of the binary on a busy machine takes seconds (facts, section 1). */
const VERSION_TIMEOUT_MS = 30_000;

export type BinaryCheck =
  | { found: true; path: string; version: string }
  /** It was not asked for its version. */
  | { found: true; path: string; notAsked: string }
  /** The file exists but does not run. */
  | { found: true; path: string; error: string }
  | { found: false; error: string };

/**
 * Looks up the first word of a command as its start would, and asks that program for its version.
 * @param cwd where the command is started: a relative path begins there, and a version manager reads its file there
 */
export async function checkBinary(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  cwd: string,
  timeoutMs = VERSION_TIMEOUT_MS,
): Promise<BinaryCheck> {
  const [program = ''] = command;
  const path = findProgram(program, env, cwd);
  if (path === undefined) return { found: false, error: notFound(program) };
  const unusable = whyNoDirectory(cwd);
  if (unusable !== undefined) {
    return {
      found: true,
      path,
      error: `"${path}" cannot be started: ${unusable}: ${SET_DIRECTORY}`,
    };
  }
  return new Promise((done) => {
    execFile(path, ['--version'], { env, cwd, timeout: timeoutMs }, (error, stdout) => {
      const last = withoutEscapes(stdout).trim().split('\n').at(-1) ?? '';
      // OpenCode 2 prints its name before the version (opencode-2-facts, section 1.1).
      const version = last.replace(/^opencode v?(?=\d)/i, '');
      if (error) done({ found: true, path, error: `"${path} --version" failed: ${error.message}` });
      else if (!/\d/.test(version)) {
        done({ found: true, path, error: `"${path} --version" said "${version.slice(0, 80)}"` });
      } else done({ found: true, path, version: version.slice(0, 80) });
    });
  });
}

/** Says why a command cannot be started at all; undefined if it can be tried. */
export function whyMissing(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  cwd: string,
): string | undefined {
  const [program = ''] = command;
  return findProgram(program, env, cwd) === undefined ? notFound(program) : undefined;
}

function notFound(program: string): string {
  const where = program.includes('/') ? 'is not there' : 'is not in the PATH';
  return `"${program}" ${where}: install it with "npm i -g opencode-ai", or set server.command`;
}

/** The file that a shell would run for this word; undefined if there is none. */
export function findProgram(
  program: string,
  env: NodeJS.ProcessEnv,
  cwd: string,
): string | undefined {
  if (program === '') return undefined;
  if (program.includes('/')) return executableAt(resolve(cwd, program));
  for (const folder of (env.PATH ?? '').split(delimiter)) {
    const found = executableAt(resolve(cwd, folder, program));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The file behind the path, links resolved; undefined if it is missing, or if we may not execute it. */
function executableAt(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile() ? realpathSync(path) : undefined;
  } catch {
    return undefined;
  }
}
