/**
 * Samples the text of answers that stream for a long time, to find one that repeats itself. The transcript of 1.x shows
 * a part's text only when the part has ended (seen on 1.18.33), so only the deltas can show it. Only a count leaves
 * this file.
 */
import * as z from 'zod';
import { BoundedMap } from '../lib/bounded.js';
import { MAX_TAIL_CHARS, repeatsAtEnd } from '../lib/repeats-at-end.js';

/** Sessions whose streaming is timed. As many as are watched. At the limit: the oldest stream is timed anew. */
export const MAX_TIMED = 10_000;
/**
 * Sessions whose text is collected at once, 64 Ki characters each. At the limit: the others wait until one of them
 * ends.
 */
export const MAX_COLLECTED = 50;
/** Deltas further apart than this, ms, do not belong to one stream. */
const PAUSE_MS = 5_000;
/** Text is collected from a stream once it has lasted this long, ms. */
const LASTS_MS = 60_000;
/** From the start of collecting to the first sample, ms. By then a repeating passage has come many times. */
const FIRST_SAMPLE_MS = 20_000;
/** From one sample of a session to its next, ms. */
const SAMPLE_EVERY_MS = 60_000;

const deltaSchema = z.object({
  sessionID: z.string(),
  partID: z.string(),
  delta: z.string(),
});

interface Stream {
  since: number;
  lastAt: number;
  /** The part whose text is collected; undefined before its first delta. */
  partID: string | undefined;
  text: string;
  sampleAt: number;
}

export class TextSampler {
  readonly #streams = new BoundedMap<string, Stream>(MAX_TIMED);
  readonly #collecting = new Set<Stream>();

  /** Notes that a delta of the session has come. @returns whether its text is wanted */
  wants(sessionID: string, at: number): boolean {
    const known = this.#streams.get(sessionID);
    if (known === undefined || at - known.lastAt > PAUSE_MS) {
      if (known !== undefined) this.#collecting.delete(known);
      const stream = { since: at, lastAt: at, partID: undefined, text: '', sampleAt: 0 };
      this.#streams.set(sessionID, stream);
      return false;
    }
    known.lastAt = at;
    if (at - known.since < LASTS_MS) return false;
    if (this.#collecting.has(known)) return true;
    if (this.#collecting.size >= MAX_COLLECTED) this.#letGo(at);
    if (this.#collecting.size >= MAX_COLLECTED) return false;
    known.sampleAt = at + FIRST_SAMPLE_MS;
    this.#collecting.add(known);
    return true;
  }

  /**
   * @param delta `{sessionID, partID, delta}`; anything else is ignored
   * @returns how many times in a row the passage at the text's end occurs, if a sample is due
   */
  take(delta: unknown, at: number): number | undefined {
    const value = deltaSchema.safeParse(delta).data;
    const stream = value && this.#streams.get(value.sessionID);
    if (stream === undefined || !this.#collecting.has(stream)) return undefined;
    // A different part is a different answer.
    const before = stream.partID === value?.partID ? stream.text : '';
    stream.partID = value?.partID;
    stream.text = `${before}${value?.delta}`.slice(-MAX_TAIL_CHARS);
    if (at < stream.sampleAt) return undefined;
    stream.sampleAt = at + SAMPLE_EVERY_MS;
    return repeatsAtEnd(stream.text);
  }

  #letGo(at: number): void {
    for (const stream of this.#collecting) {
      if (at - stream.lastAt > PAUSE_MS) this.#collecting.delete(stream);
    }
  }
}
