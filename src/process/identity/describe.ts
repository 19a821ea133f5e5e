/** Puts a process into words for a log line: bounded, with what looks like a secret masked. */
import { MASK, maskSecrets, namesSecret } from '../../lib/redaction.js';
import type { ProcessInfo } from '../table/process-table.js';

/**
 * A process's command line in a message. Long enough to recognise a program by, short enough for a log line. At the
 * limit: it is cut.
 */
const MAX_COMMAND_CHARS = 200;

/** The command in one line, without passwords, tokens and keys, in any of the forms that argv has them. */
export function scrubCommand(command: readonly string[]): string {
  const words = command.map((word, index) => {
    // `--token x`: the pattern of a value alone is nobody's.
    const option = command[index - 1] ?? '';
    return /^-[^=]*$/.test(option) && namesSecret(option) && !word.startsWith('-') ? MASK : word;
  });
  // A newline or an escape sequence in argv must not become one in the log.
  const line = maskSecrets(words.join(' ')).replace(/\p{Cc}+/gu, ' ');
  return line.length > MAX_COMMAND_CHARS ? `${line.slice(0, MAX_COMMAND_CHARS - 1)}…` : line;
}

/** "pid 4711 (python3 -m http.server 4096), uid 1000" */
export function describeProcess(process: ProcessInfo): string {
  const words = process.command.length > 0 ? scrubCommand(process.command) : `[${process.name}]`;
  return `pid ${process.pid} (${words})${process.uid === undefined ? '' : `, uid ${process.uid}`}`;
}
