/** Counts the steps of one run, and finds runaways as the daemon does (`loop` in its policy). */
import { repeatsAtEnd } from '../../lib/repeats-at-end.js';
import type { FinishedStep } from '../../watchdog/observation.js';
import type { Policy } from '../../watchdog/policy.js';
import {
  compacted,
  countAnew,
  nearestLoop,
  newStepHistory,
  stepFinished,
} from '../../watchdog/session/loops.js';

export interface Runaway {
  kind: 'loop' | 'step_limit';
  /** Why it was ended, in words. */
  words: string;
}

export class RunSteps {
  readonly #history = newStepHistory();
  readonly #policy: Policy['loop'];
  #steps = 0;
  #finish: string | undefined;
  #isLoopTold = false;

  constructor(policy: Policy['loop']) {
    this.#policy = policy;
  }

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

  /** Steps may have been missed that were different. */
  missed(): void {
    countAnew(this.#history);
  }

  /** Notes the text that is being written, as far as it has come. */
  text(written: string): void {
    this.#history.textRepeats = repeatsAtEnd(written);
  }

  /** A loop that is only to be reported, in words. It is given once. */
  loopToReport(): string | undefined {
    if (this.#policy.action !== 'report' || this.#isLoopTold) return undefined;
    const words = this.#loop();
    this.#isLoopTold = words !== undefined;
    return words;
  }

  #loop(): string | undefined {
    const loop = nearestLoop(this.#history, this.#policy);
    if (loop === undefined || loop.count < loop.limit) return undefined;
    return LOOPS[loop.kind](loop.count, loop.tool);
  }

  runaway(maxSteps: number | undefined): Runaway | undefined {
    const words = this.#policy.action === 'abort' ? this.#loop() : undefined;
    if (words !== undefined) return { kind: 'loop', words };
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
