/** Each session's health over the last hour, as a string of one letter for each half minute: the worst seen in it. */
import type { Health } from '../../watchdog/decision.js';

/** How much of the past is shown: an hour, in slots that are one to three pixels wide on the page. */
export const SLOT_MS = 30_000;
export const SLOTS = 120;
/** Sessions that are remembered; beyond it the one that was quiet longest is forgotten. */
export const MAX_STRIPS = 2_000;

/** Worst last. A dot is a slot in which the session was not known. */
const LETTERS = '.ibwdrxsW';
const LETTER: Readonly<Record<Health, string>> = {
  idle: 'i',
  busy: 'b',
  waiting: 'w',
  delegating: 'd',
  retrying: 'r',
  stalled: 'x',
  stuck: 's',
  wedged: 'W',
};

interface Strip {
  slots: string[];
  /** Number of the last slot: epoch time divided by `SLOT_MS`. */
  slot: number;
  now: string;
}

export class Strips {
  readonly #strips = new Map<string, Strip>();

  get size(): number {
    return this.#strips.size;
  }

  /** The session has this health from `time` (epoch ms) on. */
  set(sessionID: string, health: Health, time: number): void {
    const slot = Math.floor(time / SLOT_MS);
    const letter = LETTER[health];
    let strip = this.#strips.get(sessionID);
    if (strip === undefined) {
      strip = { slots: [], slot, now: '.' };
      if (this.#strips.size >= MAX_STRIPS) this.#makeRoom();
    } else {
      // Entered anew, so that the one that changed longest ago stands first.
      this.#strips.delete(sessionID);
      roll(strip, slot);
    }
    this.#strips.set(sessionID, strip);
    const last = Math.max(0, strip.slots.length - 1);
    const before = strip.slots[last] ?? '.';
    strip.slots[last] = LETTERS.indexOf(letter) > LETTERS.indexOf(before) ? letter : before;
    strip.now = letter;
  }

  /** The last `SLOTS` slots up to `time`, oldest first; undefined where the session is not known. */
  get(sessionID: string, time: number): string | undefined {
    const strip = this.#strips.get(sessionID);
    if (strip === undefined) return undefined;
    roll(strip, Math.floor(time / SLOT_MS));
    return strip.slots.join('').padStart(SLOTS, '.');
  }

  /** Sessions of which nothing but idleness was seen for an hour are forgotten. */
  prune(time: number): void {
    for (const [id, strip] of this.#strips) {
      roll(strip, Math.floor(time / SLOT_MS));
      if (strip.slots.length >= SLOTS && strip.slots.every((each) => each === 'i')) {
        this.#strips.delete(id);
      }
    }
  }

  /** Ids of the sessions that were active in the last hour. */
  ids(): IterableIterator<string> {
    return this.#strips.keys();
  }

  #makeRoom(): void {
    let victim = this.#strips.keys().next().value;
    for (const [id, { now }] of this.#strips) {
      if (now !== 'i') continue;
      victim = id;
      break;
    }
    if (victim !== undefined) this.#strips.delete(victim);
  }
}

/** Fills what passed since with the health that it had all the while. */
function roll(strip: Strip, slot: number): void {
  const passed = Math.min(slot - strip.slot, SLOTS);
  for (let i = 0; i < passed; i += 1) strip.slots.push(strip.now);
  if (passed > 0) strip.slot = slot;
  if (strip.slots.length > SLOTS) strip.slots.splice(0, strip.slots.length - SLOTS);
}
