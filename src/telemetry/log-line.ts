/** Reads back a line of the structured log: from the history, a file, the journal or `docker logs`. */
import * as z from 'zod';
import type { TelemetryRecord } from './logger.js';

/** A line as it is in the log. If another version of the daemon wrote it, its event and fields may be unknown here. */
export interface LogLine {
  event: string;
  level: string;
  /** ms since the epoch */
  time: number;
  msg: string;
  /** URL of the watched server. */
  server?: string;
  /** From a dry run: nothing of this was done. */
  would?: true;
  fields: Readonly<Record<string, unknown>>;
}

const schema = z.looseObject({
  event: z.string().max(100),
  level: z.string().max(10),
  time: z.iso.datetime({ offset: true }),
  msg: z.string().default(''),
  server: z.string().optional(),
  would: z.literal(true).optional(),
});
/** What every line about a session must have, whoever wrote it. */
const about = z.looseObject({ sessionID: z.string().min(1) });
/** `journalctl -o json` wraps the line. */
const wrapped = z.looseObject({ MESSAGE: z.string() });

/**
 * @param line may have text before the JSON: a time and a host (`journalctl`), a service's name (`docker compose logs`)
 * @returns undefined if the line is not ours, or was torn
 */
export function parseLogLine(line: string): LogLine | undefined {
  const from = line.indexOf('{');
  if (from === -1) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line.slice(from));
  } catch {
    // The server's own output, or a line that a crash cut.
    return undefined;
  }
  const outer = wrapped.safeParse(value);
  if (outer.success) return parseLogLine(outer.data.MESSAGE);
  const read = schema.safeParse(value);
  if (!read.success) return undefined;
  const { event, level, time, msg, server, would, ...fields } = read.data;
  if (event.startsWith('session.') && !about.safeParse(fields).success) return undefined;
  return {
    event,
    level,
    time: Date.parse(time),
    msg,
    ...(server === undefined ? {} : { server }),
    ...(would === undefined ? {} : { would }),
    fields,
  };
}

/** The JSON of a record: the same as in the log, without the server's URL. */
export function logLineOf({ event, level, time, msg, fields, ...rest }: TelemetryRecord): string {
  const would = 'would' in rest ? { would: true } : {};
  const head = { level, time: new Date(time).toISOString(), event, msg };
  return JSON.stringify({ ...head, ...would, ...fields });
}

/**
 * Gives a line to code that reads records. This version may not know the line's event, and fields may be missing: a
 * reader ignores an unknown event, and checks a field before using it.
 */
export function recordOf(line: LogLine): TelemetryRecord {
  return line as unknown as TelemetryRecord;
}
