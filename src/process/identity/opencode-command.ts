/**
 * Tells from a process's command whether it is opencode, and in which role.
 *
 * The executable counts for more than argv, because a process can write anything into its argv.
 */
import { basename } from 'node:path';
import type { ProcessInfo } from '../table/process-table.js';

/** `server`: serve or web. `tui`: opencode with its terminal interface, which also serves but belongs to a person. */
export type OpencodeRole = 'server' | 'tui';

/** The binary itself: npm's opencode.exe, a global install, a platform package, or the name that Nix gives it. */
const BINARY = /^\.?opencode(-(linux|darwin|windows)-[\w-]+)?(-wrapped)?(\.exe)?$/;
const RUNTIME = /^(node|nodejs|bun|deno)(-?\d+(\.\d+)*)?(\.exe)?$/;
const SCRIPT = /^opencode(\.[cm]?[jt]s)?$/;
/** A folder in a script's path that only opencode's own packages have. */
const PACKAGE_FOLDER =
  /(^|\/)(opencode-ai|packages\/opencode|opencode-(linux|darwin|windows)-[\w-]+)\//;
const SERVE_WORDS: ReadonlySet<string> = new Set(['serve', 'web']);

/** True for opencode's binary, and for a JavaScript runtime that runs opencode's script (npm's wrapper, a checkout). */
export function isOpencode(process: Pick<ProcessInfo, 'command' | 'exe' | 'name'>): boolean {
  return isBinary(process) || isScript(process);
}

/** npm's `opencode`: a runtime that started the binary as its child and waits for it to end. */
export function isWrapper(process: Pick<ProcessInfo, 'command' | 'exe' | 'name'>): boolean {
  return isScript(process);
}

export function opencodeRole(process: Pick<ProcessInfo, 'command' | 'exe' | 'name'>): OpencodeRole {
  // A program of another name serves: the user has set it as `server.command`.
  if (!isOpencode(process)) return 'server';
  const words = isBinary(process) ? process.command.slice(1) : afterScript(process.command);
  // Options may come first (`opencode --print-logs serve`), so any word of the command line may be the command. An
  // option whose value is `serve` is too unlikely to matter.
  return words.some((word) => SERVE_WORDS.has(word)) ? 'server' : 'tui';
}

/** True if the process was started by exactly this command, with or without further arguments. */
export function runsCommand(process: ProcessInfo, command: readonly string[]): boolean {
  const [program, ...args] = command;
  const [argv0, ...argv] = process.command;
  if (program === undefined || argv0 === undefined) return false;
  const sameProgram = basename(argv0) === basename(program);
  return sameProgram && args.every((word, index) => argv[index] === word);
}

function isBinary({ command, exe }: Pick<ProcessInfo, 'command' | 'exe'>): boolean {
  if (exe !== undefined) return BINARY.test(basename(exe));
  return BINARY.test(basename(command[0] ?? ''));
}

function isScript({ command, exe }: Pick<ProcessInfo, 'command' | 'exe'>): boolean {
  const runtime = basename(exe ?? command[0] ?? '');
  if (!RUNTIME.test(runtime)) return false;
  const script = scriptOf(command);
  if (script === undefined) return false;
  return SCRIPT.test(basename(script)) || PACKAGE_FOLDER.test(script);
}

/** The first argument that is a path or a file, after the runtime's own flags and `run`. */
function scriptOf(command: readonly string[]): string | undefined {
  return command.slice(1).find((word) => !word.startsWith('-') && word !== 'run');
}

function afterScript(command: readonly string[]): readonly string[] {
  const script = scriptOf(command);
  return script === undefined ? [] : command.slice(command.indexOf(script) + 1);
}
