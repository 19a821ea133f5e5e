/**
 * Sets of values for a way of working (`profile`): they beat the defaults, and the file beats them. They are written as
 * in a file, so that docs/configuration.md shows what a person would write.
 */
import type { Source } from './source.js';

export const PROFILES = {
  default: {},
  /** Nobody is there to answer, and nobody looks before the morning. */
  unattended: {
    'waiting.maxDuration': '10m',
    'waiting.action': 'reject',
    'stall.maxToolTime': '30m',
    'stall.maxRunTime': '4h',
    'budget.action': 'report',
    'budget.run.cost': 10,
    'budget.run.tokens': 50_000_000,
    'budget.run.steps': 500,
    'budget.day.cost': 50,
    'budget.day.tokens': 250_000_000,
  },
  /** The safety rules to the letter: a run that retries, or is silent for a minute, is ended. */
  strict: {
    'retry.maxAttempts': 1,
    'retry.maxDuration': '60s',
    'retry.maxWait': '60s',
    'stall.maxSilence': '60s',
  },
} as const satisfies Record<string, Record<string, string | number>>;

export type ProfileName = keyof typeof PROFILES;
export const PROFILE_NAMES = Object.keys(PROFILES) as [ProfileName, ...ProfileName[]];

/** What the profile sets, as a source of the configuration. */
export function profileSource(name: ProfileName): Source {
  const entries = Object.entries(PROFILES[name]).map(([path, value]) => ({
    path,
    candidates: [value],
    source: `profile ${name}`,
  }));
  return { entries, problems: [] };
}

/**
 * The profile that the highest of these sources names. A name that is no profile is skipped: that is its source's
 * problem.
 */
export function profileOf(sources: readonly Source[]): ProfileName {
  const named = sources
    .flatMap(({ entries }) => entries)
    .filter(({ path }) => path === 'profile')
    .flatMap(({ candidates }) => PROFILE_NAMES.find((name) => candidates.includes(name)) ?? []);
  return named.at(-1) ?? 'default';
}
