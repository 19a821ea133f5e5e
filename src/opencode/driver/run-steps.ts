/** Counts what the steps of one run do, and finds runaways as the daemon does (`loop` of its policy, at its defaults). */
import * as z from 'zod';
import { repeatsAtEnd } from '../../lib/repeats-at-end.js';
import { DEFAULT_POLICY } from '../../watchdog/policy.js';
import {
  compacted,
  nearestLoop,
  newStepHistory,
  stepFinished,
} from '../../watchdog/session/loops.js';
import { message, part } from '../v1/schemas.js';
import { StepReader } from '../v1/step-reader.js';

/** Loops that are no run's, but a session's, are the daemon's to see. */
const POLICY = DEFAULT_POLICY.loop;

const partEvent = z.object({ part });
const messageEvent = z.object({ info: message });

export interface Runaway {
  kind: 'loop' | 'step_limit';
  /** Why it was ended, in words. */
  words: string;
}

export class RunSteps {
  readonly #reader = new StepReader();
  readonly #history = newStepHistory();
  #steps = 0;
  #finish: string | undefined;

  /** Finished steps. */
  get count(): number {
    return this.#steps;
  }

  /** An event of the run's own session, in opencode's form. */
  event(type: string, properties: unknown): void {
    if (type === 'session.compacted') {
      compacted(this.#history);
    } else if (type === 'message.part.updated') {
      const value = partEvent.safeParse(properties).data?.part;
      this.#finished(value && this.#reader.part(value));
    } else if (type === 'message.updated') {
      const info = messageEvent.safeParse(properties).data?.info;
      if (info) this.#reader.message(info);
    }
  }

  /** The text under way, as far as it has come. */
  text(written: string): void {
    this.#history.textRepeats = repeatsAtEnd(written);
  }

  runaway(maxSteps: number | undefined): Runaway | undefined {
    const loop = nearestLoop(this.#history, POLICY);
    if (loop !== undefined && loop.count >= loop.limit) {
      return { kind: 'loop', words: LOOPS[loop.kind](loop.count, loop.tool) };
    }
    if (maxSteps === undefined || this.#steps < maxSteps) return undefined;
    // The last one that is allowed may be the one that answers.
    if (this.#steps === maxSteps && this.#finish !== 'tool-calls') return undefined;
    return {
      kind: 'step_limit',
      words: `the run has made ${this.#steps} steps and goes on; it may make ${maxSteps} (--max-steps)`,
    };
  }

  #finished(step: Parameters<typeof stepFinished>[1] | undefined): void {
    if (step === undefined) return;
    this.#steps += 1;
    this.#finish = step.finish;
    stepFinished(this.#history, step);
  }
}

const LOOPS: Record<
  'empty' | 'repeat' | 'compaction' | 'text' | 'runs',
  (count: number, tool: string | undefined) => string
> = {
  empty: (count) => `the run goes in circles: ${count} steps in a row held nothing`,
  repeat: (count, tool) =>
    `the run goes in circles: ${count} times the same step${tool ? ` (${tool})` : ''}`,
  compaction: (count) => `the run goes in circles: ${count} compactions in a row`,
  text: (count) => `the run goes in circles: it wrote the same passage ${count} times`,
  runs: (count) => `the session goes in circles: ${count} runs right after each other`,
};
