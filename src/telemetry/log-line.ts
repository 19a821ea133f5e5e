/** One line of the structured log read back: from the history, a file, the journal or `docker logs`. */
import * as z from 'zod';
import type { TelemetryRecord } from './logger.js';

/** A line as it is in the log; of another version of the daemon, its event and fields may be unknown here. */
export interface LogLine {
  event: string;
  level: string;
  /** ms since the epoch */
  time: number;
  msg: string;
  /** URL of the watched server. */
  server?: string;
  /** A dry run's: nothing of it was done. */
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
/** What a session's line needs, whoever wrote it. */
const about = z.looseObject({ sessionID: z.string().min(1) });
/** `journalctl -o json` wraps the line. */
const wrapped = z.looseObject({ MESSAGE: z.string() });

/**
 * @param line with whatever stands before the JSON: a time and a host (`journalctl`), a service's name (`docker compose logs`)
 * @returns undefined where it is no line of ours, or was torn
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

/** The JSON of a record: what the log has of it, without the server's URL. */
export function logLineOf({ event, level, time, msg, fields, ...rest }: TelemetryRecord): string {
  const would = 'would' in rest ? { would: true } : {};
  const head = { level, time: new Date(time).toISOString(), event, msg };
  return JSON.stringify({ ...head, ...would, ...fields });
}

/**
 * A line for what reads records. Its event may be one that this version does not know, and a field may be missing:
 * a reader ignores the first, and asks before it uses the second.
 */
export function recordOf(line: LogLine): TelemetryRecord {
  return line as unknown as TelemetryRecord;
}
