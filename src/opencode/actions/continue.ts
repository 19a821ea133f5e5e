/** Prompts an ended session to go on, and sees whether its run really begins: the 204 alone is no evidence (facts, section 8). */
import { type Clock, sleep } from '../../lib/clock.js';
import { messageOf } from '../http/errors.js';
import type { OpencodeClient } from '../v1/client.js';

const LOOK_EVERY_MS = 100;

export interface ContinueRequest {
  sessionID: string;
  directory: string | undefined;
  prompt: string;
  /** `provider/model`; opencode's choice where absent. */
  model?: string;
  agent?: string;
  /** How long it may take to begin. */
  timeoutMs: number;
  signal: AbortSignal;
}

export type ContinueOutcome = { outcome: 'started' } | { outcome: 'failed'; error: string };

export async function continueSession(
  client: OpencodeClient,
  clock: Clock,
  request: ContinueRequest,
): Promise<ContinueOutcome> {
  const { sessionID, directory, prompt, model, agent, timeoutMs, signal } = request;
  const failed = (error: string): ContinueOutcome => ({ outcome: 'failed', error });
  try {
    if ((await client.statuses(directory, signal)).has(sessionID)) {
      return failed('somebody else set it to work meanwhile');
    }
    const before = (await client.messages(sessionID, directory, 1, signal)).at(-1)?.id;
    await client.promptAsync(
      sessionID,
      directory,
      {
        text: prompt,
        ...(model === undefined ? {} : { model: modelParts(model) }),
        ...(agent === undefined ? {} : { agent }),
      },
      signal,
    );
    const end = clock.now() + timeoutMs;
    do {
      if ((await client.statuses(directory, signal)).has(sessionID)) return { outcome: 'started' };
      // A short run may be over between two looks: its answer is the evidence then.
      const last = (await client.messages(sessionID, directory, 1, signal)).at(-1);
      if (last !== undefined && last.id !== before && last.role === 'assistant') {
        return last.failed ? failed('its run failed at once') : { outcome: 'started' };
      }
      await sleep(clock, LOOK_EVERY_MS, signal);
    } while (clock.now() < end);
    return failed(`the prompt was accepted, and nothing had begun after ${timeoutMs} ms`);
  } catch (error) {
    if (signal.aborted) throw error;
    return failed(messageOf(error));
  }
}

/** The model's own name may have slashes: `openrouter/meta/llama` is of the provider `openrouter`. */
function modelParts(model: string): { providerID: string; modelID: string } {
  const slash = model.indexOf('/');
  return { providerID: model.slice(0, slash), modelID: model.slice(slash + 1) };
}
