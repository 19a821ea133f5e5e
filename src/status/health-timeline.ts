/** Each session's health over the last hour, as a string of one letter for each half minute: the worst seen in it. */
import type { AbortReason, Health, RunOutcome, SessionFields } from '../watchdog/decision.js';

/** How much of the past is shown: an hour, in slots that are some pixels wide on the page. */
export const SLOT_MS = 30_000;
/**
 * Slots of a session's history: an hour. They are some pixels wide on the page. At the limit: the oldest is
 * forgotten.
 */
export const SLOTS = 120;
/**
 * Sessions with a history of health. At the limit: the idle one that changed longest ago is forgotten, else the one
 * that changed longest ago.
 */
export const MAX_STRIPS = 2_000;

/** Worst last. A dot is a slot in which the session was not known. */
const LETTERS = '.ibwdrlxsW';
const LETTER: Readonly<Record<Health, string>> = {
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

/** How a session's last run ended, with why. */
export interface RunEnd {
  outcome: RunOutcome;
  reason?: AbortReason;
  error?: string;
}

export interface Strip {
  /** What was last known of the session. */
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
  readonly #strips = new Map<string, Strip>();

  get size(): number {
    return this.#strips.size;
  }

  get(sessionID: string): Strip | undefined {
    return this.#strips.get(sessionID);
  }

  /** Sessions that were active in the last hour, the one that changed longest ago first. */
  values(): IterableIterator<Strip> {
    return this.#strips.values();
  }

  /** The session has this health from `time` (epoch ms) on. */
  set(fields: SessionFields, health: Health, time: number): void {
    const { sessionID } = fields;
    const known = this.#strips.get(sessionID);
    if (known === undefined && health === 'idle') return;
    const slot = Math.floor(time / SLOT_MS);
    const strip = known ?? { fields, health, since: time, slots: ['.'], slot };
    if (known === undefined && this.#strips.size >= MAX_STRIPS) this.#makeRoom();
    roll(strip, slot);
    strip.fields = { ...strip.fields, ...fields };
    if (health !== 'idle') delete strip.ended;
    if (strip.health !== health) strip.since = time;
    strip.health = health;
    // Entered anew, so that the one that changed longest ago stands first.
    this.#strips.delete(sessionID);
    this.#strips.set(sessionID, strip);
    const last = strip.slots.length - 1;
    const before = strip.slots[last] ?? '.';
    const letter = LETTER[health];
    strip.slots[last] = LETTERS.indexOf(letter) > LETTERS.indexOf(before) ? letter : before;
  }

  /** Its run has ended so. A session that never ran (an unknown model) is remembered for its end. */
  ended(fields: SessionFields, ended: RunEnd, time: number): void {
    if (!this.#strips.has(fields.sessionID)) this.set(fields, 'busy', time);
    const strip = this.#strips.get(fields.sessionID);
    if (strip === undefined) return;
    strip.ended = ended;
  }

  /** The last `SLOTS` slots up to `time` as one string, oldest first. */
  text(sessionID: string, time: number): string {
    const strip = this.#strips.get(sessionID);
    if (strip === undefined) return '';
    roll(strip, Math.floor(time / SLOT_MS));
    return strip.slots.join('').padStart(SLOTS, '.');
  }

  /** Sessions of which nothing but idleness was seen for an hour are forgotten. */
  prune(time: number): void {
    for (const [id, strip] of this.#strips) {
      if (strip.health === 'idle' && time - strip.since > SLOTS * SLOT_MS) this.#strips.delete(id);
    }
  }

  #makeRoom(): void {
    let victim = this.#strips.keys().next().value;
    for (const [id, { health }] of this.#strips) {
      if (health !== 'idle') continue;
      victim = id;
      break;
    }
    if (victim !== undefined) this.#strips.delete(victim);
  }
}

/** Fills what passed since with the health that it had all the while. */
function roll(strip: Strip, slot: number): void {
  const passed = Math.min(slot - strip.slot, SLOTS);
  for (let i = 0; i < passed; i += 1) strip.slots.push(LETTER[strip.health]);
  if (passed > 0) strip.slot = slot;
  if (strip.slots.length > SLOTS) strip.slots.splice(0, strip.slots.length - SLOTS);
}
