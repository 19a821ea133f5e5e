/** The configuration file: where it is looked for, and how it is read into a source. */
import { type Stats, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { LineCounter, parseDocument, type YAMLError } from 'yaml';
import { readTextFile } from '../lib/text-file.js';
import { flatten } from './flatten.js';
import type { Problem } from './problem.js';
import type { Source } from './source.js';
import { digestOf } from './trust.js';

/** The configuration file. At the limit: it is refused. */
export const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Syntax errors that one message names. After a few, the rest only follows from the first. At the limit: the rest is
 * left out.
 */
const MAX_SYNTAX_PROBLEMS = 3;

export interface FoundFile {
  path: string;
  /** How the file was named: `flag --config`. Undefined if it was found by searching. */
  namedBy?: string;
  /** It was found in the working directory, and may come from anybody (trust.ts). */
  ofWorkingDirectory?: true;
}

export interface FileSource extends Source {
  /** Digest of the text that was read (trust.ts). Undefined if none was read. */
  digest?: string;
}

/**
 * The file that the flag or the variable names; else the first that exists of the working directory's, the user's and
 * the system's.
 */
export function findConfigFile(
  flag: string | undefined,
  env: NodeJS.ProcessEnv,
  cwd: string,
): FoundFile | undefined {
  if (flag !== undefined) return { path: resolve(cwd, flag), namedBy: 'flag --config' };
  const named = env.OPENCODE_WATCHDOG_CONFIG;
  if (named) {
    return { path: resolve(cwd, named), namedBy: 'environment OPENCODE_WATCHDOG_CONFIG' };
  }
  for (const path of searchPath(env, cwd)) {
    if (!exists(path)) continue;
    return path === workingDirectoryFile(cwd) ? { path, ofWorkingDirectory: true } : { path };
  }
  return undefined;
}

function searchPath(env: NodeJS.ProcessEnv, cwd: string): string[] {
  const xdg = env.XDG_CONFIG_HOME;
  // A relative XDG_CONFIG_HOME must be ignored (XDG Base Directory Specification).
  const base = xdg && isAbsolute(xdg) ? xdg : join(env.HOME || homeOfAccount(), '.config');
  return [
    workingDirectoryFile(cwd),
    join(base, 'opencode-watchdog', 'config.yaml'),
    '/etc/opencode-watchdog/config.yaml',
  ];
}

export function workingDirectoryFile(cwd: string): string {
  return join(cwd, 'opencode-watchdog.yaml');
}

function homeOfAccount(): string {
  try {
    return homedir();
  } catch {
    // A container may run under a user id that has no account; then there is no user's file.
    return '/nonexistent';
  }
}

/** A file that cannot be looked at counts as existing: reading it then tells why it cannot be used. */
function exists(path: string): boolean {
  let stats: Stats | undefined;
  try {
    stats = statSync(path, { throwIfNoEntry: false });
  } catch {
    return true;
  }
  return stats !== undefined;
}

export function readConfigFile(file: FoundFile): FileSource {
  const read = readTextFile(file.path, MAX_FILE_BYTES);
  if ('problem' in read) {
    const source = file.namedBy ?? 'found by looking';
    return { entries: [], problems: [{ key: file.path, expected: read.problem, source }] };
  }
  return { ...parseConfig(read.text, file.path), digest: digestOf(read.text) };
}

/** Parses YAML. JSON needs nothing of its own, because it is YAML too. */
export function parseConfig(text: string, path: string): Source {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    logLevel: 'error',
  });
  const faults = [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX_PROBLEMS);
  if (faults.length > 0) {
    return { entries: [], problems: faults.map((fault) => syntaxProblem(fault, lines, path)) };
  }
  let root: unknown;
  try {
    root = document.toJS({ maxAliasCount: 100 });
  } catch {
    // The reason may quote the file, so it is not passed on: only aliases can fail here.
    const expected = 'YAML whose aliases (*name) are defined before their use and are few';
    return { entries: [], problems: [{ key: path, expected, source: `file ${path}` }] };
  }
  return flatten(root, (keys) => {
    const node: unknown = keys.length === 0 ? undefined : document.getIn(keys, true);
    const line = lineOf(node, lines);
    return line === undefined ? `file ${path}` : `file ${path}:${line}`;
  });
}

function lineOf(node: unknown, lines: LineCounter): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined;
  const start: unknown = Array.isArray(node.range) ? node.range[0] : undefined;
  return typeof start === 'number' ? lines.linePos(start).line : undefined;
}

/** The parser's message, cut off before it quotes the file, which may hold what must not be shown. */
function syntaxProblem(fault: YAMLError, lines: LineCounter, path: string): Problem {
  const { line, col } = lines.linePos(fault.pos[0]);
  const reason = fault.message.replace(/[:;\\].*$/s, '').trim();
  return {
    key: path,
    expected: `YAML or JSON, but line ${line}, column ${col} says: ${reason}`,
    source: `file ${path}:${line}`,
  };
}
