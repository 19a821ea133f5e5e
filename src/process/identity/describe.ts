/** Describes a process for a log line: bounded in length, with anything that looks like a secret masked. */
import { MASK, maskSecrets, namesSecret } from '../../lib/redaction.js';
import type { ProcessInfo } from '../table/process-table.js';

/**
 * A process's command line in a message. It must be long enough to recognise a program and short enough for a log line.
 * At the limit: it is cut.
 */
const MAX_COMMAND_CHARS = 200;

/** The command as one line, without passwords, tokens and keys, in whatever form argv holds them. */
export function scrubCommand(command: readonly string[]): string {
  const words = command.map((word, index) => {
    // In `--token x` the value is a word of its own, so no pattern can recognise it by itself.
    const option = command[index - 1] ?? '';
    return /^-[^=]*$/.test(option) && namesSecret(option) && !word.startsWith('-') ? MASK : word;
  });
  // A newline or an escape sequence in argv must not reach the log.
  const line = maskSecrets(words.join(' ')).replace(/\p{Cc}+/gu, ' ');
  return line.length > MAX_COMMAND_CHARS ? `${line.slice(0, MAX_COMMAND_CHARS - 1)}…` : line;
}

/** "pid 4711 (python3 -m http.server 4096), uid 1000" */
export function describeProcess(process: ProcessInfo): string {
  const words = process.command.length > 0 ? scrubCommand(process.command) : `[${process.name}]`;
  return `pid ${process.pid} (${words})${process.uid === undefined ? '' : `, uid ${process.uid}`}`;
}
