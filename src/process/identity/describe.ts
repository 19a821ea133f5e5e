/** Puts a process into words for a log line: bounded, and with what looks like a secret taken out. */
import type { ProcessInfo } from '../table/process-table.js';

/**
 * A process's command line in a message. Long enough to recognise a program by, short enough for a log line. At the
 * limit: it is cut.
 */
const MAX_COMMAND_CHARS = 200;

const SECRET_NAME = /pass(word|wd|phrase)?|secret|token|api[-_]?key|auth(?!or)|credential|cookie/i;

/** The command in one line, without passwords, tokens and keys, in any of the forms that argv has them. */
export function scrubCommand(command: readonly string[]): string {
  const words: string[] = [];
  let hideNext = false;
  for (const word of command) {
    if (hideNext && !word.startsWith('-')) {
      words.push('***');
      hideNext = false;
      continue;
    }
    hideNext = word.startsWith('-') && !word.includes('=') && SECRET_NAME.test(word);
    words.push(scrubWord(word));
  }
  // A newline or an escape sequence in argv must not become one in the log.
  const line = words.join(' ').replace(/\p{Cc}+/gu, ' ');
  return line.length > MAX_COMMAND_CHARS ? `${line.slice(0, MAX_COMMAND_CHARS - 1)}…` : line;
}

function scrubWord(word: string): string {
  return (
    word
      // --token=x, API_KEY=x, also inside `sh -c '…'`
      .replace(/([\w-]+)(=)("[^"]*"|'[^']*'|[^\s;&|]+)/g, (all, name: string, equals: string) =>
        SECRET_NAME.test(name) ? `${name}${equals}***` : all,
      )
      // Authorization: Bearer x
      .replace(/(bearer|basic)\s+\S+/gi, '$1 ***')
      // scheme://user:password@host
      .replace(/(\w+:\/\/[^\s:@/]*):[^\s@/]+@/g, '$1:***@')
  );
}

/** "pid 4711 (python3 -m http.server 4096), uid 1000" */
export function describeProcess(process: ProcessInfo): string {
  const words = process.command.length > 0 ? scrubCommand(process.command) : `[${process.name}]`;
  return `pid ${process.pid} (${words})${process.uid === undefined ? '' : `, uid ${process.uid}`}`;
}
