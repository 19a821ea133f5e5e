/** The readable form of a log line, for a terminal: `12:03:04 WARN  session.stuck  Session … is stuck: …`. */
import { createRequire } from 'node:module';
import type { PrettyOptions } from 'pino-pretty';
import { printable } from '../lib/printable.js';
import { EVENT_NAMES } from './catalogue/catalogue.js';

/** With this width the sentences stand below each other, whatever the event. */
const EVENT_WIDTH = Math.max(...EVENT_NAMES.map((name) => name.length));

const COLOURS: Readonly<Record<string, 'red' | 'yellow' | 'green' | 'gray'>> = {
  error: 'red',
  warn: 'yellow',
  info: 'green',
  debug: 'gray',
};

/** Only this call loads pino-pretty: a daemon that writes NDJSON does without it. */
export function createReadableFormat(colour: boolean): (line: string) => string {
  const { prettyFactory } = createRequire(import.meta.url)(
    'pino-pretty',
  ) as typeof import('pino-pretty');
  const options: PrettyOptions = {
    colorize: colour,
    // Only the level has a colour; pino-pretty would colour every sentence.
    customColors: { message: 'reset' },
    // pino-pretty would print the last three by itself, before everything else.
    ignore: 'time,level,pid,hostname,name',
    hideObject: true,
    messageFormat: (log, _messageKey, _label, { colors }) => {
      const level = String(log.level);
      const word = level.toUpperCase().padEnd(5);
      const paint = COLOURS[level];
      return [
        colors.gray(clockTime(log)),
        paint === undefined ? word : colors[paint](word),
        String(log.event).padEnd(EVENT_WIDTH),
        // Control characters and line breaks, from opencode's output or an error, must not reach the terminal.
        printable(String(log.msg), 'line').trimEnd(),
      ].join(' ');
    },
  };
  return prettyFactory(options);
}

/** Local time, for a person to compare with the clock on the wall. */
function clockTime(log: Record<string, unknown>): string {
  const time = new Date(String(log.time));
  return [time.getHours(), time.getMinutes(), time.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
}
