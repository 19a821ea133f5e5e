/**
 * Collects what each finished step of a session did, from the events of its parts (facts, section 10).
 *
 * A step ends with a `step-finish` part, even if the answer had no finish. The events of its message do not show the
 * end: on a busy server `message.updated` shows the finish before the parts come (seen on 1.18.33).
 * Only hashes leave this file. It is bounded: the message that began first is forgotten.
 */
import { BoundedMap } from '../../lib/bounded.js';
import type { FinishedStep } from '../../watchdog/observation.js';
import {
  endedCall,
  finishedStep,
  hashOf,
  MAX_OPEN_STEPS,
  MAX_STEP_TOOLS,
  newStep,
  type OpenStep,
  type ToolCall,
} from '../finished-step.js';
import { tokenTotal, type WireMessage, type WirePart } from './schemas.js';

export class StepReader {
  readonly #steps = new BoundedMap<string, OpenStep>(MAX_OPEN_STEPS);

  /** @returns the step that this part ends; undefined if it ends none */
  part(value: WirePart): FinishedStep | undefined {
    const { messageID } = value;
    if (messageID === undefined) return undefined;
    switch (value.type) {
      case 'text': {
        // The user's own text has no time (translate.ts).
        const text = value.text?.trim();
        if (value.time === undefined || !text) return undefined;
        this.#open(messageID).texts.set(value.id ?? '', hashOf(text));
        return undefined;
      }
      case 'reasoning':
        this.#open(messageID).reasoned = true;
        return undefined;
      case 'tool': {
        const call = toolCall(value);
        const { tools } = this.#open(messageID);
        if (call && value.callID !== undefined && tools.size < MAX_STEP_TOOLS)
          tools.set(value.callID, call);
        return undefined;
      }
      case 'step-finish': {
        const step = finishedStep(messageID, this.#open(messageID), ended(value));
        // Versions up to 1.0 put several steps into one message.
        this.#steps.set(messageID, newStep());
        return step;
      }
      default:
        return undefined;
    }
  }

  /** A compaction's summary is marked in its message, which comes before its parts. */
  message({ id, role, summary }: WireMessage): void {
    if (role === 'assistant' && summary === true) this.#open(id).isSummary = true;
  }

  #open(messageID: string): OpenStep {
    const known = this.#steps.get(messageID);
    if (known !== undefined) return known;
    const step = newStep();
    this.#steps.set(messageID, step);
    return step;
  }
}

const ended = ({ reason, cost, tokens }: Pick<WirePart, 'reason' | 'cost' | 'tokens'>) => ({
  ...(reason !== undefined && { finish: reason }),
  ...(cost !== undefined && { costUsd: cost }),
  ...(tokens !== undefined && { tokens: tokenTotal(tokens) }),
});

function toolCall({ tool = 'unknown', state }: WirePart): ToolCall | undefined {
  if (state?.status !== 'completed' && state?.status !== 'error') return undefined;
  const failed = state.status === 'error';
  const { start, end } = state.time ?? {};
  const result = (failed ? state.error : state.output) ?? '';
  return endedCall(tool, state.input, {
    failed,
    // "Edit applied successfully." says nothing about the file. The file's diff shows whether it is a real A-B-A, or
    // one edit after another.
    result: `${result}${state.metadata?.diff ?? ''}`,
    ms: start === undefined || end === undefined ? 0 : Math.max(0, end - start),
  });
}
