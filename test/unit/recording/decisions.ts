/** What a replay decides about a recording, in words that a table can hold. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configSchema } from '../../../src/config/schema.js';
import {
  type Recording,
  type ReplayedDecision,
  readRecording,
  replay,
} from '../../../src/recording/replay.js';
import type { Decision } from '../../../src/watchdog/decision.js';
import { DEFAULT_POLICY, type Policy } from '../../../src/watchdog/policy.js';

const FOLDER = fileURLToPath(new URL('../../recordings/', import.meta.url));

export const recordings = (): string[] =>
  readdirSync(FOLDER)
    .filter((file) => file.endsWith('.ndjson'))
    .map((file) => file.replace(/\.ndjson$/, ''))
    .sort();

export const read = (name: string): Promise<Recording> =>
  readRecording(join(FOLDER, `${name}.ndjson`));

export const policyOf = ({ header }: Recording): Policy => configSchema.parse(header.policy);

export const decisions = (
  { header, observations }: Recording,
  policy: Policy,
  asRecorded: boolean,
): ReplayedDecision[] => [...replay(observations, { policy, acts: header.acts, asRecorded })];

/** One decision without its moment and numbers: `session.stuck ses_1 silence`. */
export function words(decision: Decision | Record<string, unknown>): string {
  const { act, note, event, sessionID, health, outcome, kind, reason } = decision as Record<
    string,
    unknown
  >;
  const name = act === undefined ? (note ?? event) : `→ ${act}`;
  const loop = name === 'session.looping' ? kind : undefined;
  const words = [name, sessionID, health, loop, outcome, reason];
  return words.filter((word) => word !== undefined).join(' ');
}

/** All but the changes of health, which are many and say what the rest says, and the looks. */
const isVerdict = (line: string) =>
  !/^(session\.health|server\.(healthy|starting)|→ (inspect|start)\b)/.test(line);

/** `11384 session.stuck ses_1 silence`: ms since the recording began. */
export const verdicts = (recording: Recording): string[] =>
  decisions(recording, policyOf(recording), true)
    .map(({ atMs, decision }) => ({ atMs, line: words(decision) }))
    .filter(({ line }) => isVerdict(line))
    .map(({ atMs, line }) => `${Math.round(atMs)} ${line}`);

/** What the default limits would have done. */
export const actsByDefault = (recording: Recording): string[] =>
  decisions(recording, DEFAULT_POLICY, false)
    .map(({ decision }) => words(decision))
    .filter((line) => line.startsWith('→') && isVerdict(line));
