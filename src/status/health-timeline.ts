/** Each session's health over the last hour, as a string with one letter per half minute: the worst health in it. */
import {
  type AbortReason,
  HEALTHS,
  type Health,
  type RunOutcome,
  type SessionFields,
} from '../watchdog/decision.js';

/** The length of a slot, the time that one letter stands for. */
export const SLOT_MS = 30_000;
/**
 * Slots of a session's history: an hour. Each is some pixels wide on the page. At the limit: the oldest is forgotten.
 */
export const SLOTS = 120;
/**
 * Sessions with a health history. At the limit: the idle one that changed longest ago is forgotten; if none is idle,
 * the one that changed longest ago.
 */
export const MAX_TIMELINES = 2_000;

export const LETTER: Readonly<Record<Health, string>> = {
  idle: 'i',
  busy: 'b',
  waiting: 'w',
  delegating: 'd',
  retrying: 'r',
  looping: 'l',
  stalled: 'x',
  stuck: 's',
  wedged: 'W',
};
/** Worst last. A dot means that the session was not known in that slot. */
const LETTERS = `.${HEALTHS.map((health) => LETTER[health]).join('')}`;

/** How and why a session's last run ended, and what it spent, its subagents included. */
export interface RunEnd {
  outcome: RunOutcome;
  reason?: AbortReason;
  error?: string;
  /** Epoch ms. */
  at: number;
  /** Who ended it, if that is known. */
  by?: string;
  costUsd?: number;
  tokens?: number;
}

export interface SessionTimeline {
  /** The session's fields as last known. */
  fields: SessionFields;
  health: Health;
  /** Epoch ms. */
  since: number;
  /** How its last run ended. */
  ended?: RunEnd;
  slots: string[];
  /** Number of the last slot: epoch time divided by `SLOT_MS`. */
  slot: number;
}

export class HealthTimeline {
  readonly #timelines = new Map<string, SessionTimeline>();

  get(sessionID: string): SessionTimeline | undefined {
    return this.#timelines.get(sessionID);
  }

  /** Sessions that were active in the last hour, the one that changed longest ago first. */
  values(): IterableIterator<SessionTimeline> {
    return this.#timelines.values();
  }

  /** Notes that the session has this health from `time` (epoch ms) on. */
  set(fields: SessionFields, health: Health, time: number): void {
    const { sessionID } = fields;
    const known = this.#timelines.get(sessionID);
    if (known === undefined && health === 'idle') return;
    const slot = Math.floor(time / SLOT_MS);
    const timeline = known ?? { fields, health, since: time, slots: ['.'], slot };
    if (known === undefined && this.#timelines.size >= MAX_TIMELINES) this.#makeRoom();
    roll(timeline, slot);
    timeline.fields = { ...timeline.fields, ...fields };
    if (health !== 'idle') delete timeline.ended;
    if (timeline.health !== health) timeline.since = time;
    timeline.health = health;
    // Inserted again, so that the session that changed longest ago stays first.
    this.#timelines.delete(sessionID);
    this.#timelines.set(sessionID, timeline);
    const last = timeline.slots.length - 1;
    const before = timeline.slots[last] ?? '.';
    const letter = LETTER[health];
    timeline.slots[last] = LETTERS.indexOf(letter) > LETTERS.indexOf(before) ? letter : before;
  }

  /** Notes how the session's run ended. A session that never ran (an unknown model) is remembered too, for its end. */
  ended(fields: SessionFields, ended: RunEnd, time: number): void {
    if (!this.#timelines.has(fields.sessionID)) this.set(fields, 'busy', time);
    const timeline = this.#timelines.get(fields.sessionID);
    if (timeline === undefined) return;
    timeline.ended = ended;
  }

  /** The last `SLOTS` slots up to `time` as one string, oldest first. */
  text(sessionID: string, time: number): string {
    const timeline = this.#timelines.get(sessionID);
    if (timeline === undefined) return '';
    roll(timeline, Math.floor(time / SLOT_MS));
    return timeline.slots.join('').padStart(SLOTS, '.');
  }

  /** Forgets the sessions that have been idle for an hour. */
  prune(time: number): void {
    for (const [id, timeline] of this.#timelines) {
      if (timeline.health === 'idle' && time - timeline.since > SLOTS * SLOT_MS)
        this.#timelines.delete(id);
    }
  }

  #makeRoom(): void {
    let victim = this.#timelines.keys().next().value;
    for (const [id, { health }] of this.#timelines) {
      if (health !== 'idle') continue;
      victim = id;
      break;
    }
    if (victim !== undefined) this.#timelines.delete(victim);
  }
}

/** Fills the slots that have passed with the health that the session had during them. */
function roll(timeline: SessionTimeline, slot: number): void {
  const passed = Math.min(slot - timeline.slot, SLOTS);
  for (let i = 0; i < passed; i += 1) timeline.slots.push(LETTER[timeline.health]);
  if (passed > 0) timeline.slot = slot;
  if (timeline.slots.length > SLOTS) timeline.slots.splice(0, timeline.slots.length - SLOTS);
}
