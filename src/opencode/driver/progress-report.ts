/** Reports the tool calls and the steps of one run to the caller, each change once. */
import { BoundedMap } from '../../lib/bounded.js';
import type { FinishedStep } from '../../watchdog/observation.js';
import type { ToolUse } from './transcript.js';
import type { RunStep, WaitOptions } from './types.js';

/**
 * Tool calls that were reported to a caller. Each change is reported once. At the limit: the oldest may be reported
 * again.
 */
export const MAX_TOLD = 1_000;

export class ProgressReport {
  readonly #listeners: Pick<WaitOptions, 'onTool' | 'onStep'>;
  /** The status that was last reported for each tool call. */
  readonly #toolsTold = new BoundedMap<string, string>(MAX_TOLD);

  constructor(listeners: Pick<WaitOptions, 'onTool' | 'onStep'>) {
    this.#listeners = listeners;
  }

  /** Reports a tool call when it begins and when it has ended. opencode repeats it whenever a detail has changed. */
  tool(callID: string, use: ToolUse): void {
    const said = use.status === 'completed' || use.status === 'error' ? use.status : 'running';
    if (use.status === 'pending' || this.#toolsTold.get(callID) === said) return;
    this.#toolsTold.set(callID, said);
    this.#listeners.onTool?.({ id: callID, ...use });
  }

  step(step: FinishedStep, number: number): void {
    this.#listeners.onStep?.(stepOf(step, number));
  }
}

function stepOf(step: FinishedStep, number: number): RunStep {
  const { finish, tools, toolErrors, tokens, costUsd } = step;
  return {
    number,
    ...(finish !== undefined && { finish }),
    tools,
    toolErrors,
    ...(tokens !== undefined && { tokens }),
    ...(costUsd !== undefined && { costUsd }),
  };
}
