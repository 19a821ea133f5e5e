/**
 * Feeds a recording to the state machine and gives each decision with its moment.
 *
 * With the recorded policy the acts end as they ended then. With another policy they would have come at other moments,
 * so what they led to is not known: each act is then taken as decided and left (`dryRun`), and what is shown is what
 * the other policy would have decided first about each run.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Decision } from '../watchdog/decision.js';
import type { Observation } from '../watchdog/observation.js';
import type { Policy } from '../watchdog/policy.js';
import { Watchdog } from '../watchdog/watchdog.js';
import { type Header, headerSchema, MAX_LINE_CHARS, observationSchema } from './format.js';

/** A file that is not a recording, or a line of one that cannot be read. The message names the file and the line. */
export class RecordingError extends Error {
  override readonly name = 'RecordingError';
}

export interface Recording {
  header: Header;
  observations: Observation[];
}

/** @throws RecordingError */
export async function readRecording(file: string): Promise<Recording> {
  const input = createReadStream(file, 'utf8');
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  let header: Header | undefined;
  const observations: Observation[] = [];
  let number = 0;
  try {
    for await (const line of lines) {
      number += 1;
      if (line.trim() === '') continue;
      if (header === undefined) header = parse(headerSchema, line, `${file}:${number}`);
      else observations.push(parse(observationSchema, line, `${file}:${number}`));
    }
  } catch (error) {
    if (error instanceof RecordingError) throw error;
    throw new RecordingError(`${file} cannot be read: ${words(error)}`, { cause: error });
  } finally {
    input.destroy();
  }
  if (header === undefined) {
    throw new RecordingError(`${file} is empty: expected a recording made by "run --record"`);
  }
  return { header, observations };
}

interface Parser<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false; error: unknown };
}

function parse<T>(schema: Parser<T>, line: string, where: string): T {
  if (line.length > MAX_LINE_CHARS) throw new RecordingError(`${where}: the line is too long`);
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
      if (!options.asRecorded && 'act' in decision) queue.push(...left(decision, o.at));
    }
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) yield* take(next);
  }
  for (const o of observations) {
    if (o.kind === 'tick') continue;
    for (let due = watchdog.deadline; due !== undefined && due < o.at; due = watchdog.deadline) {
      yield* take({ kind: 'tick', at: due });
    }
    const starting = watchdog.server.state.kind === 'starting';
    if (options.asRecorded || starting || !isResult(o)) yield* take(o);
  }
}

function left(act: Extract<Decision, { act: string }>, at: number): Observation[] {
  switch (act.act) {
    case 'abort':
      return [{ kind: 'abort.skipped', at, sessionID: act.sessionID }];
    case 'restart':
      return [{ kind: 'restart.skipped', at }];
    default:
      // A first start is nobody's policy: it went as recorded.
      return [];
  }
}

function isResult(o: Observation): boolean {
  return o.kind.startsWith('abort.') || o.kind.startsWith('restart.');
}
