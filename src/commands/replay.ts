/** `replay FILE`: feeds a recording to the state machine and prints each decision with the numbers that led to it. */
import { configSchema } from '../config/schema.js';
import { printable } from '../lib/printable.js';
import { type ReplayedDecision, readRecording, replay } from '../recording/replay.js';
import { messageOf } from '../telemetry/catalogue/catalogue.js';
import type { Decision } from '../watchdog/decision.js';
import { isNote } from '../watchdog/decision.js';
import type { Observation } from '../watchdog/observation.js';
import type { Policy } from '../watchdog/policy.js';
import {
  type CommonOptions,
  commonOf,
  EXIT,
  ExitError,
  loadForCommand,
  print,
  printJsonLine,
} from './shared.js';

export interface ReplayCommandOptions extends CommonOptions {
  diff?: string;
  json?: boolean;
}

export async function replayCommand(
  [file = '']: readonly string[],
  options: ReplayCommandOptions,
): Promise<number> {
  const { header, observations } = await readRecording(file).catch((error: unknown) => {
    throw new ExitError(EXIT.usage, error instanceof Error ? error.message : String(error));
  });
  const recorded = configSchema.safeParse(header.policy);
  if (!recorded.success) {
    throw new ExitError(EXIT.usage, `${file}: its header holds limits that cannot be read`);
  }
  const { acts } = header;
  const decide = (policy: Policy, asRecorded: boolean) =>
    replay(observations, { policy, acts, asRecorded });
  const { config, profile } = options;
  const asRecorded = config === undefined && profile === undefined;
  const policy = asRecorded ? recorded.data : policyOf(options);
  if (options.diff !== undefined) {
    // Both sides are decided without what the recorded acts led to. Otherwise they could not be compared.
    const [one, other] = [decide(policy, false), decide(policyOf({ config: options.diff }), false)];
    printDiff([...one], [...other], options.json ?? false);
    return EXIT.done;
  }
  warnOfChanges(observations);
  let count = 0;
  for (const each of decide(policy, asRecorded)) {
    count += 1;
    if (options.json) printJsonLine({ atMs: each.atMs, ...each.decision });
    else print(line(each));
  }
  if (!options.json) print(summary(observations, count));
  return EXIT.done;
}

const policyOf = (options: CommonOptions): Policy => loadForCommand(commonOf(options)).config;

/** Recordings of 0.1 do not hold the limits of a reload: from then on the daemon may have decided by other limits. */
function warnOfChanges(observations: readonly Observation[]): void {
  const change = observations.find((o) => o.kind === 'policy.changed' && o.policy === undefined);
  if (change === undefined) return;
  const since = clock(change.at - (observations[0]?.at ?? 0));
  process.stderr.write(
    `The configuration was reloaded, or the daemon paused, at ${since}: what it decided from then on may differ.\n`,
  );
}

/** Lines that only the first policy has begin with `-`, those that only the second has with `+`. */
function printDiff(
  one: readonly ReplayedDecision[],
  other: readonly ReplayedDecision[],
  json: boolean,
): void {
  const key = ({ atMs, decision }: ReplayedDecision) =>
    JSON.stringify([Math.round(atMs), decision]);
  const inOne = new Set(one.map(key));
  const inOther = new Set(other.map(key));
  const rows = [
    ...one.map((each) => ({ sign: inOther.has(key(each)) ? ' ' : '-', each })),
    ...other.filter((each) => !inOne.has(key(each))).map((each) => ({ sign: '+', each })),
  ].sort((a, b) => a.each.atMs - b.each.atMs);
  for (const { sign, each } of rows) {
    const { atMs, decision } = each;
    if (json) printJsonLine({ sign, atMs, ...decision });
    else print(`${sign} ${line(each)}`);
  }
}

function line({ atMs, decision }: ReplayedDecision): string {
  return printable(`${clock(atMs)}  ${isNote(decision) ? said(decision) : done(decision)}`, 'line');
}

function said(note: Extract<Decision, { note: string }>): string {
  const { note: event, ...fields } = note;
  return `${event.padEnd(22)}  ${messageOf(event, fields as never)}`;
}

function done(act: Extract<Decision, { act: string }>): string {
  const { act: name, ...fields } = act;
  const facts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${shown(key, value)}`);
  return `${`→ ${name}`.padEnd(22)}  ${facts.join(' ')}`;
}

/** A fraction of a millisecond is noise. */
function shown(key: string, value: unknown): string {
  if (typeof value === 'number' && key.endsWith('Ms')) return String(Math.round(value));
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** `+00:12.345` since the recording began. */
function clock(atMs: number): string {
  const minutes = Math.floor(atMs / 60_000);
  const seconds = ((atMs % 60_000) / 1_000).toFixed(3);
  return `+${String(minutes).padStart(2, '0')}:${seconds.padStart(6, '0')}`;
}

function summary(observations: readonly Observation[], decisions: number): string {
  const first = observations[0]?.at ?? 0;
  const lasted = clock((observations.at(-1)?.at ?? first) - first);
  return `${observations.length} observations over ${lasted.slice(1)}, ${decisions} decisions`;
}
