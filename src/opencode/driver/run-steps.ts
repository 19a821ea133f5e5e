/** Counts the steps of one run, and finds runaways as the daemon does (with the defaults of `loop` in its policy). */
import { repeatsAtEnd } from '../../lib/repeats-at-end.js';
import type { FinishedStep } from '../../watchdog/observation.js';
import { DEFAULT_POLICY } from '../../watchdog/policy.js';
import {
  compacted,
  nearestLoop,
  newStepHistory,
  stepFinished,
} from '../../watchdog/session/loops.js';

/** Loops over several runs of a session are left to the daemon. */
const POLICY = DEFAULT_POLICY.loop;

export interface Runaway {
  kind: 'loop' | 'step_limit';
  /** Why it was ended, in words. */
  words: string;
}

export class RunSteps {
  readonly #history = newStepHistory();
  #steps = 0;
  #finish: string | undefined;

  /** Finished steps. */
  get count(): number {
    return this.#steps;
  }

  finished(step: FinishedStep): void {
    this.#steps += 1;
    this.#finish = step.finish;
    stepFinished(this.#history, step);
  }

  compacted(): void {
    compacted(this.#history);
  }

  /** Notes the text that is being written, as far as it has come. */
  text(written: string): void {
    this.#history.textRepeats = repeatsAtEnd(written);
  }

  runaway(maxSteps: number | undefined): Runaway | undefined {
    const loop = nearestLoop(this.#history, POLICY);
    if (loop !== undefined && loop.count >= loop.limit) {
      return { kind: 'loop', words: LOOPS[loop.kind](loop.count, loop.tool) };
    }
    if (maxSteps === undefined || this.#steps < maxSteps) return undefined;
    // The last step that is allowed may be the one that answers.
    if (this.#steps === maxSteps && this.#finish !== 'tool-calls') return undefined;
    return {
      kind: 'step_limit',
      words: `the run has made ${this.#steps} steps and goes on; it may make ${maxSteps} (--max-steps)`,
    };
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
