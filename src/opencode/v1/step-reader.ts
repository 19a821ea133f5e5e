/**
 * Puts together what each finished step of a session did, from the events of its parts (facts, section 10).
 *
 * A step ends with a `step-finish` part; where none comes (an answer without a finish), with its message's own end.
 * Only hashes leave this file. Bounded: the message that is heard of least recently is forgotten.
 */
import { BoundedMap } from '../../lib/bounded-map.js';
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

  /** @returns the step that this part ends; undefined where it ends none */
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
        this.#steps.set(messageID, { ...newStep(), told: true });
        return step;
      }
      default:
        return undefined;
    }
  }

  /** @returns the step that this message's end ends, where no part has told of it */
  message(info: WireMessage): FinishedStep | undefined {
    if (info.role !== 'assistant' || info.summary === true) return undefined;
    if (info.time?.completed === undefined || info.finish === undefined) return undefined;
    const open = this.#steps.get(info.id);
    if (open?.told === true) return undefined;
    this.#steps.set(info.id, { ...newStep(), told: true });
    const { finish, cost, tokens } = info;
    return finishedStep(info.id, open ?? newStep(), ended({ reason: finish, cost, tokens }));
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
  return endedCall(tool, state.input, {
    failed,
    result: (failed ? state.error : state.output) ?? '',
    ms: start === undefined || end === undefined ? 0 : Math.max(0, end - start),
  });
}
