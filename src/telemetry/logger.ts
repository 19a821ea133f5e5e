/** The structured log: typed events in, redacted NDJSON or readable lines out, and the same records to subscribers. */
import { isatty } from 'node:tty';
import { pino } from 'pino';
import type { Clock } from '../lib/clock.js';
import { printableJson } from '../lib/printable.js';
import { createRedactor, MAX_SCRUBBED, type Revealable } from '../lib/redaction.js';
import { isAct, levelOf, messageOf } from './catalogue/catalogue.js';
import type { EventFields, EventName, Level, LogFields } from './catalogue/events.js';
import { projectOf } from './catalogue/session-name.js';
import { isJournal, withPriority } from './journal.js';
import { LogRate } from './rate-limit.js';
import { createReadableFormat } from './readable.js';
import { createSink, type Sink, withoutBlocking } from './sink.js';
import { TerminalFilter } from './terminal-filter.js';

/**
 * Characters of a log line's sentence, and of a line of `server.output`. It may be longer than other fields. At the
 * limit: it is cut, and says so.
 */
export const MAX_OUTPUT_LINE = 8_192;
/** Names of fields in milliseconds. `limit` and `value` are too, unless they are dollars. */
const MILLISECONDS = /Ms$|^(limit|value)$/;
/** A `reason`, a `kind` and the like; no sentence cuts a word as short as this. */
const STABLE_WORD = /^\w{1,30}$/;
/** Amounts in dollars have this many decimals at most: a sum of floating-point numbers has many more. */
const DOLLAR_DECIMALS = 6;

/** Used by its number: touching `process.stdout` would make a pipe non-blocking for every program that shares it. */
const STDOUT = 1;

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

export interface TelemetryOptions {
  level: LogLevel;
  format: 'auto' | 'json' | 'pretty';
  /** URL of the watched server, a field of every line. */
  server: string;
  /** Values that no line may show. */
  secrets: readonly Revealable[];
  clock: Clock;
  /** Nothing is ever done: the sentences about actions say what would be done. */
  dryRun?: boolean;
  /** Where lines go; stdout by default. */
  stream?: { write(text: string): unknown; isTTY?: boolean };
  env?: NodeJS.ProcessEnv;
}

/** One event in redacted form, whatever the level of the log. */
export type TelemetryRecord = {
  [E in EventName]: {
    event: E;
    level: Level;
    /** ms since the epoch */
    time: number;
    msg: string;
    /** From a dry run: it says what would be done, and nothing is done. */
    would?: true;
    fields: LogFields<E>;
  };
}[EventName];

export type Listener = (record: TelemetryRecord) => void;

export interface Telemetry {
  emit<E extends EventName>(event: E, fields: EventFields[E]): void;
  /**
   * Gives the listener every event from now on, also those below the log's level. Returns the function that ends it.
   */
  subscribe(listener: Listener): () => void;
  setLevel(level: LogLevel): void;
  /** Waits, for a bounded time, until a slow reader has taken what was logged. */
  flush(): void;
}

export function createTelemetry(options: TelemetryOptions): Telemetry {
  const { clock, server, dryRun = false } = options;
  const redactor = createRedactor(options.secrets);
  const listeners = new Set<Listener>();
  const sink = createOutput(options, (lines) => emit('log.dropped', { lines }));
  const rate = new LogRate({
    clock,
    onSuppressed: (lines, events, forMs) => emit('log.suppressed', { lines, events, forMs }),
  });
  const filter = isReadable(options) ? new TerminalFilter() : undefined;
  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp: false,
      // The redactor turns errors into plain objects; pino's own serializer would add to them.
      serializers: { err: (err: unknown) => err },
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  );

  function emit<E extends EventName>(event: E, fields: EventFields[E]): void {
    const time = clock.epoch();
    const level = levelOf(event, fields);
    const sentence = messageOf(event, withoutSecrets(fields), { dryRun, server });
    const msg = redactor.text(sentence, MAX_OUTPUT_LINE);
    const safe = safeFields(event, fields, time);
    const would = dryRun && isAct(event) ? { would: true } : {};
    // An event below the log's level does not count against the rate limit of the others.
    const shown = isShown(event, fields);
    if (log.isLevelEnabled(level) && shown && mayWrite(event, msg, fields)) {
      log[level]({ time: new Date(time).toISOString(), event, msg, server, ...would, ...safe });
    }
    // Apart from its bounds the redactor keeps the shape of its input, so the fields still have their types.
    notify({ event, level, time, msg, ...would, fields: safe } as unknown as TelemetryRecord);
  }

  /**
   * A sentence may cut a text, such as a title, and half a secret is not recognised any more. The words that sentences
   * are chosen by must stay: with a password such as `start` there would be no sentence for `restart`.
   */
  function withoutSecrets<T extends object>(fields: T): T {
    const texts = Object.entries(fields).filter(
      ([, value]) => typeof value === 'string' && !STABLE_WORD.test(value),
    );
    const safe = texts.map(([name, value]) => [name, redactor.text(value, MAX_SCRUBBED)]);
    return { ...fields, ...Object.fromEntries(safe) };
  }

  function isShown<E extends EventName>(event: E, fields: EventFields[E]): boolean {
    // The filter must see every event, because it remembers restarts.
    const isNews = filter?.shows(event, fields) ?? true;
    // A user who chose another level gets all its lines. In a dry run "would abort" is the only line of an abort.
    return isNews || dryRun || log.level !== 'info';
  }

  function mayWrite<E extends EventName>(event: E, msg: string, fields: EventFields[E]): boolean {
    // There is one such line per active session and `log.healthInterval`, so they are limited already.
    if (event === 'session.health' && !('previous' in fields)) return true;
    return rate.passes(event, msg, 'sessionID' in fields ? String(fields.sessionID) : '');
  }

  function safeFields<E extends EventName>(event: E, fields: EventFields[E], time: number) {
    const safe = { ...(redactor.value(logFields(fields, time)) as Record<string, unknown>) };
    const inDollars = 'unit' in fields && fields.unit === 'cost';
    for (const [name, value] of Object.entries(safe)) {
      if (typeof value !== 'number') continue;
      const isDollars = name === 'costUsd' || (inDollars && (name === 'limit' || name === 'value'));
      if (isDollars) safe[name] = Number(value.toFixed(DOLLAR_DECIMALS));
      // A fraction of a millisecond is noise.
      else if (MILLISECONDS.test(name)) safe[name] = Math.round(value);
    }
    if (event === 'server.output' && 'line' in fields && typeof fields.line === 'string') {
      safe.line = redactor.text(fields.line, MAX_OUTPUT_LINE);
    }
    return safe;
  }

  function notify(record: TelemetryRecord): void {
    for (const listener of listeners) {
      try {
        listener(record);
      } catch (err) {
        // The listener would fail on this error's own record too, so the log goes on without it.
        listeners.delete(listener);
        emit('error', { err, doing: 'telling a subscriber about an event' });
      }
    }
  }

  return {
    emit,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    setLevel(level) {
      log.level = level;
    },
    flush() {
      rate.flush();
      sink.flush();
    },
  };
}

/** Adds the project to a session's fields, for readers that group by it. */
function withProject(fields: object): object {
  if (!('sessionID' in fields && 'directory' in fields)) return fields;
  const { directory } = fields;
  const project = typeof directory === 'string' ? projectOf(directory) : undefined;
  return project === undefined ? fields : { ...fields, project };
}

/** The state machine has no wall clock and gives `nextInMs` and `untilInMs`; the log has `nextAt` and `until`. */
function logFields(given: object, time: number): object {
  const fields = withProject(given);
  if ('nextInMs' in fields) {
    const { nextInMs, ...rest } = fields;
    return { ...rest, ...moment('nextAt', time, nextInMs) };
  }
  if ('untilInMs' in fields) {
    const { untilInMs, ...rest } = fields;
    return { ...rest, ...moment('until', time, untilInMs) };
  }
  return fields;
}

/** An empty object if it is not a valid time. */
function moment(name: string, time: number, inMs: unknown): Record<string, string> {
  const at = typeof inMs === 'number' ? new Date(time + inMs) : undefined;
  return at === undefined || Number.isNaN(at.getTime()) ? {} : { [name]: at.toISOString() };
}

function isTerminal({ stream }: TelemetryOptions): boolean {
  return stream === undefined ? isatty(STDOUT) : stream.isTTY === true;
}

function isReadable(options: TelemetryOptions): boolean {
  return options.format === 'pretty' || (options.format === 'auto' && isTerminal(options));
}

function createOutput(options: TelemetryOptions, onDropped: (lines: number) => void): Sink {
  const { stream, clock, env = process.env } = options;
  const target: Sink =
    stream === undefined
      ? createSink(withoutBlocking(STDOUT), clock, onDropped)
      : { write: (line) => stream.write(line), flush: () => {} };
  if (!isReadable(options)) {
    const prefix = stream === undefined && isJournal(STDOUT, env) ? withPriority : undefined;
    return {
      // Made printable, since a person may read it in a terminal (`journalctl`, `docker logs`).
      write: (line) => {
        const safe = printableJson(line);
        target.write(prefix === undefined ? safe : prefix(safe));
      },
      flush: () => target.flush(),
    };
  }
  // NO_COLOR counts if it is set and not empty (no-color.org).
  const format = createReadableFormat(isTerminal(options) && !env.NO_COLOR);
  return { write: (line) => target.write(format(line)), flush: () => target.flush() };
}
