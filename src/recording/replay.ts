/**
 * Feeds a recording to the state machine and gives each decision with its moment.
 *
 * With the recorded policy the acts end as they ended then. With another policy they would have come at other moments,
 * so what they led to is not known: each act is then taken as decided and left (`dryRun`), and what is shown is what
 * the other policy would have decided first about each run.
 */
import { createReadStream } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { type Act, type Decision, isNote } from '../watchdog/decision.js';
import type { Observation } from '../watchdog/observation.js';
import type { Policy } from '../watchdog/policy.js';
import { skipped } from '../watchdog/skipped.js';
import { Watchdog } from '../watchdog/watchdog.js';
import { type Header, headerSchema, MAX_LINE_CHARS, recordedSchema } from './format.js';

/** Probes alone come every few seconds: a recording that says nothing for this long is none of ours. */
const MAX_QUIET_MS = 7 * 24 * 60 * 60_000;
/**
 * A file that `replay` reads. Twice the size at which a recording is put aside (`recorder.ts`). At the limit: it is
 * refused.
 */
export const MAX_FILE_BYTES = 128 * 1024 * 1024;
/** So many inspections fail before the watchdog does without (`watchdog/session/inspection.ts`). */
const FAILED_INSPECTIONS = 3;
/** An answer notes its time and is taken in a moment later: what came in that moment is before it in the file. */
const MAX_DISORDER_MS = 1_000;

/** A file that is not a recording, or a line of one that cannot be read. The message names the file and the line. */
export class RecordingError extends Error {
  override readonly name = 'RecordingError';
}

export interface Recording {
  header: Header;
  observations: Observation[];
}

/** @throws RecordingError */
export async function readRecording(
  file: string,
  { maxBytes = MAX_FILE_BYTES } = {},
): Promise<Recording> {
  let header: Header | undefined;
  const observations: Observation[] = [];
  let number = 0;
  let before: number | undefined;
  for await (const line of linesOf(file, maxBytes)) {
    number += 1;
    const where = `${file}:${number}`;
    if (line.trim() === '') continue;
    if (header === undefined) {
      header = parse(headerSchema, line, where);
      continue;
    }
    const observation = parse(recordedSchema, line, where);
    const { at } = observation;
    if (before !== undefined && (at < before - MAX_DISORDER_MS || at > before + MAX_QUIET_MS)) {
      throw new RecordingError(`${where}: its time does not follow that of the line before it`);
    }
    before = Math.max(at, before ?? at);
    observations.push(observation);
  }
  if (header === undefined) {
    throw new RecordingError(`${file} is empty: expected a recording made by "run --record"`);
  }
  return { header, observations };
}

/** The lines of a file, however it is made: what has no line ends is given up long before it fills the memory. */
async function* linesOf(file: string, maxBytes: number): AsyncGenerator<string> {
  const input = createReadStream(file);
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let number = 1;
  let bytes = 0;
  try {
    for await (const chunk of input) {
      bytes += (chunk as Buffer).length;
      if (bytes > maxBytes) break;
      const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
      rest = lines.pop() ?? '';
      number += lines.length;
      yield* lines;
      if (rest.length > MAX_LINE_CHARS) break;
    }
  } catch (error) {
    throw new RecordingError(`${file} cannot be read: ${words(error)}`, { cause: error });
  } finally {
    input.destroy();
  }
  if (bytes > maxBytes) {
    throw new RecordingError(`${file} is larger than any recording (${maxBytes} bytes)`);
  }
  if (rest.length > MAX_LINE_CHARS) {
    throw new RecordingError(`${file}:${number}: the line is too long`);
  }
  rest += decoder.end();
  if (rest !== '') yield rest;
}

interface Parser<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: unknown };
}

function parse<T>(schema: Parser<T>, line: string, where: string): T {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new RecordingError(`${where}: not JSON (${words(error)})`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new RecordingError(`${where}: not a line of a recording (${words(result.error)})`);
}

const words = (error: unknown) =>
  (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').slice(0, 300);

/** A decision and when it was taken, ms since the recording's first observation. */
export interface ReplayedDecision {
  atMs: number;
  decision: Decision;
}

export interface ReplayOptions {
  policy: Policy;
  acts: boolean;
  /** What the acts led to is in the recording, because it was made with this very policy. */
  asRecorded: boolean;
}

export function* replay(
  observations: Iterable<Observation>,
  options: ReplayOptions,
): Generator<ReplayedDecision> {
  const watchdog = new Watchdog({ policy: options.policy, acts: options.acts });
  let began: number | undefined;
  const queue: Observation[] = [];
  function* take(o: Observation): Generator<ReplayedDecision> {
    began ??= o.at;
    for (const decision of watchdog.observe(o)) {
      yield { atMs: o.at - began, decision };
      if (!options.asRecorded && !isNote(decision)) queue.push(...left(decision, o.at));
    }
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) yield* take(next);
  }
  for (const o of observations) {
    if (options.asRecorded) {
      // Each decision was taken at one of these observations: the ticks of the daemon's own timer are among them.
      yield* take(o);
      continue;
    }
    if (o.kind === 'tick') continue;
    // Another policy than the recorded one stays in force.
    if (o.kind === 'policy.changed') delete o.policy;
    for (let due = watchdog.deadline; due !== undefined && due < o.at; due = watchdog.deadline) {
      yield* take({ kind: 'tick', at: due });
    }
    const starting = watchdog.server.state.kind === 'starting';
    if (starting || !isResult(o)) yield* take(o);
  }
}

function left(act: Act, at: number): Observation[] {
  if (act.act === 'inspect') {
    // Nobody can inspect any more: as where inspections fail, the events alone must do.
    const { sessionID } = act;
    const failed = { kind: 'session.inspect_failed', at, sessionID, error: 'a replay' } as const;
    return Array.from({ length: FAILED_INSPECTIONS }, () => failed);
  }
  // A first start is nobody's policy: it went as recorded.
  const answer = act.act === 'start' ? undefined : skipped(act, at);
  return answer === undefined ? [] : [answer];
}

function isResult(o: Observation): boolean {
  return !o.kind.endsWith('.requested') && /^(abort|restart|continue|dispose)\./.test(o.kind);
}
