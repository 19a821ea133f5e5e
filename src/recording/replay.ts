/**
 * Feeds a recording to the state machine and gives each decision with its time.
 *
 * With the recorded policy, the acts end as they ended then. With another policy they would have come at other times,
 * so it is not known what they would have led to. Each act is then taken as decided and not carried out (`dryRun`), and
 * the result shows what the other policy would have decided first about each run.
 */
import { createReadStream } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { type Act, type Decision, isNote } from '../watchdog/decision.js';
import type { Observation } from '../watchdog/observation.js';
import type { Policy } from '../watchdog/policy.js';
import { skipped } from '../watchdog/skipped.js';
import { Watchdog } from '../watchdog/watchdog.js';
import { type Header, headerSchema, MAX_LINE_CHARS, recordedSchema } from './format.js';

/** Probes alone come every few seconds, so a recording with a silence of this length is not one of ours. */
const MAX_QUIET_MS = 7 * 24 * 60 * 60_000;
/**
 * A file that `replay` reads. Twice the size at which a recording is put aside (`recorder.ts`). At the limit: it is
 * refused.
 */
export const MAX_FILE_BYTES = 128 * 1024 * 1024;
/** After this many failed inspections the watchdog does without (`watchdog/session/inspection.ts`). */
const FAILED_INSPECTIONS = 3;
/**
 * How far times may go backwards, ms: an answer gets its time before it is taken in, and what comes in between is
 * written before it.
 */
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

/** The lines of a file, whatever it is. A file without line ends is refused long before it fills the memory. */
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
  /** The recording has what the acts led to, because it was made with this very policy. */
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
      // The recording has the ticks of the daemon's own timer too, so each decision was taken at one of its
      // observations.
      yield* take(o);
      continue;
    }
    if (o.kind === 'tick') continue;
    for (let due = watchdog.deadline; due !== undefined && due < o.at; due = watchdog.deadline) {
      yield* take({ kind: 'tick', at: due });
    }
    const starting = watchdog.server.state.kind === 'starting';
    if (starting || !isResult(o)) yield* take(withoutPolicy(o));
  }
}

/** The policy that the caller has given stays in force, not the recorded one. */
function withoutPolicy(o: Observation): Observation {
  return o.kind === 'policy.changed' ? { kind: o.kind, at: o.at } : o;
}

function left(act: Act, at: number): Observation[] {
  if (act.act === 'inspect') {
    // In a replay nothing can be inspected. As when inspections fail, the events alone must do.
    const { sessionID } = act;
    const failed = { kind: 'session.inspect_failed', at, sessionID, error: 'a replay' } as const;
    return Array.from({ length: FAILED_INSPECTIONS }, () => failed);
  }
  // The first start does not depend on the policy: it ends as recorded.
  const answer = act.act === 'start' ? undefined : skipped(act, at);
  return answer === undefined ? [] : [answer];
}

function isResult(o: Observation): boolean {
  return !o.kind.endsWith('.requested') && /^(abort|restart|continue|dispose)\./.test(o.kind);
}
