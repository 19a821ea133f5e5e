/** The kinds of session in a chaos run: the prompt of each, what a person does to it, and how it must end. */
import type { NewSession } from '../test/support/opencode-api.js';
import type { Limits } from './limits.js';
import { RUNAWAYS } from './runaways.js';

export type PersonDoes = 'allow' | 'answer' | 'delete' | 'prompt';

export interface Kind {
  /**
   * The prompt, in the fake provider's markers. `@` stands for the session's title, which a subagent's prompt needs
   * too.
   */
  prompt(limits: Limits): string;
  /** Healthy sessions must never be touched. `subagent`: the session itself is healthy, but its subagent is stuck. */
  fate: 'healthy' | 'stuck' | 'subagent';
  /** Reasons that the watchdog may give for ending it. */
  reasons?: readonly string[];
  /**
   * The longest time from the prompt of a stuck session until the watchdog calls it stuck, if nothing disturbs. After a
   * disturbance the time starts again, because the watchdog counts only what it has observed.
   */
  limit?(limits: Limits): number;
  /** The same for a run whose last announcement a disturbance hid. Default: `limit`. */
  limitIfUnheard?(limits: Limits): number;
  permission?: NewSession['permission'];
  /** A model of its provider. Default: `m1`. */
  model?: string;
  /** What a person does, and how long after the prompt. `prompt`: a new prompt, to a parked run. */
  person?: { does: PersonDoes; after(limits: Limits): number };
  /** Default: `fake`. */
  provider?: string;
  /** Too slow for the dense form. */
  slow?: true;
  /** Begun only by a fault, never by the schedule. */
  byFault?: true;
  /** How a healthy run ends by itself. */
  finish?: 'stop' | 'error';
}

const ASK_BASH: NewSession['permission'] = [{ permission: 'bash', pattern: '*', action: 'ask' }];

/** Longer than a run may be silent. A watchdog that forgets why the run is quiet would end it. */
const long = ({ silence }: Limits) => Math.round(silence * 1.4);
const seconds = (ms: number) => Math.ceil(ms / 1000);
const chunks = (limits: Limits) => `${Math.ceil(long(limits) / 250)} 250`;

/** opencode waits 2 s, then 4 s, and so on. A run that is noticed late may be in its wait of 16 s. */
const retrying = { reasons: ['attempts', 'duration', 'pileup'], limit: () => 20_000 } as const;
const silent = { reasons: ['silence'], limit: ({ silence }: Limits) => silence } as const;
const AT_ONCE_MS = 5_000;
const ghost = { reasons: ['ghost'], limit: () => AT_ONCE_MS } as const;

/** A provider of its own, because a quota belongs to a provider: what it says about one run applies to all its runs. */
const QUOTA = 'quota';
const spent = {
  fate: 'stuck',
  reasons: ['wait', 'pileup', 'duration'],
  limit: () => AT_ONCE_MS,
  // If the announcement of the wait was not heard, the rest of it may be within the limit: the next one tells.
  limitIfUnheard: ({ maxWait }: Limits) => maxWait,
  provider: QUOTA,
  slow: true,
  prompt: ({ maxWait }: Limits) => `[[429 retry-after=${seconds(maxWait) + 10}]]`,
} as const;
/** By then the run is aborted and parked, and its quota is not back yet. */
const PERSON_COMES_MS = 12_000;

export const KINDS = {
  quick: { fate: 'healthy', finish: 'stop', prompt: () => '[[ok]]' },
  stream: { fate: 'healthy', finish: 'stop', prompt: (limits) => `[[stream ${chunks(limits)}]]` },
  reasoning: {
    fate: 'healthy',
    finish: 'stop',
    prompt: (limits) => `[[reason ${chunks(limits)}]]`,
  },
  'quiet-tool': {
    fate: 'healthy',
    finish: 'stop',
    prompt: (limits) => `[[bash sleep ${seconds(long(limits))}]]`,
  },
  permission: {
    fate: 'healthy',
    finish: 'stop',
    permission: ASK_BASH,
    person: { does: 'allow', after: long },
    prompt: () => '[[bash echo allowed]]',
  },
  question: {
    fate: 'healthy',
    finish: 'stop',
    person: { does: 'answer', after: long },
    prompt: () => '[[question]]',
  },
  subagent: {
    fate: 'healthy',
    finish: 'stop',
    prompt: (limits) => `[[task {{bash sleep ${seconds(long(limits))}}} @]]`,
  },
  recovers: { fate: 'healthy', finish: 'stop', prompt: () => '[[flaky 1 retry-after=1]]' },
  refused: { fate: 'healthy', finish: 'error', prompt: () => '[[refused]]' },

  'rate-limit': { fate: 'stuck', ...retrying, prompt: () => '[[429]]' },
  'mid-stream': { fate: 'stuck', ...retrying, prompt: () => '[[midfail 3]]' },
  'retry-after': {
    fate: 'stuck',
    reasons: ['wait', 'pileup', 'duration'],
    limit: () => AT_ONCE_MS,
    prompt: () => '[[429 retry-after=3600]]',
  },
  hopeless: {
    fate: 'stuck',
    reasons: ['hopeless', 'pileup'],
    limit: () => AT_ONCE_MS,
    prompt: () => '[[usage-exhausted]]',
  },
  /** Parked until its quota is back. */
  'quota-back': spent,
  /** Parked, but the person comes first. */
  'quota-person': { ...spent, person: { does: 'prompt', after: () => PERSON_COMES_MS } },
  /** Kills the server each time that it runs. */
  killer: { fate: 'healthy', byFault: true, prompt: () => KILLS },
  hang: { fate: 'stuck', ...silent, prompt: () => '[[hang]]' },
  stall: { fate: 'stuck', ...silent, prompt: () => '[[stall 3]]' },
  'endless-tool': {
    fate: 'stuck',
    reasons: ['tool_time'],
    limit: ({ toolTime }) => toolTime,
    prompt: () => '[[bash sleep 3600]]',
  },
  'subagent-hang': { fate: 'subagent', ...silent, prompt: () => '[[task {{hang}} @]]' },
  'ghost-hang': {
    fate: 'stuck',
    reasons: ['ghost', 'silence'],
    limit: ghost.limit,
    person: { does: 'delete', after: () => 1_500 },
    prompt: () => '[[hang]]',
  },
  'ghost-retry': {
    fate: 'stuck',
    reasons: ['ghost', ...retrying.reasons],
    limit: ghost.limit,
    person: { does: 'delete', after: () => 1_500 },
    prompt: () => '[[429]]',
  },
  ...RUNAWAYS,
} as const satisfies Record<string, Kind>;

/** A bash call is a child process of the server: it kills its parent. */
export const KILLS = '[[bash sleep 2; kill -9 $PPID]]';

export type KindName = keyof typeof KINDS;
export const KIND_NAMES = Object.keys(KINDS) as KindName[];
export const kindOf = (name: KindName): Kind => KINDS[name];
