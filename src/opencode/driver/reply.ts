/** The whole result of a run: its last answer, and what all of its steps did and cost. Pure. */
import { fileChanges, type Message, type Tokens } from './transcript.js';
import type { Reply, SessionRef } from './types.js';

export function replyOf(
  { id, directory }: SessionRef,
  { message, messages }: { message: Message; messages: readonly Message[] },
  measured: { retries: number; tookMs: number },
): Reply {
  const toolCalls = messages.flatMap(({ tools }) => tools);
  const tokens = tokensOf(messages);
  const costs = messages.flatMap(({ cost }) => cost ?? []);
  return {
    sessionID: id,
    ...(directory !== undefined && { directory }),
    ...(message.model !== undefined && { model: message.model }),
    text: message.text,
    ...(message.structured !== undefined && { structured: message.structured }),
    ...(message.reasoning !== '' && { reasoning: message.reasoning }),
    ...(message.finish !== undefined && { finish: message.finish }),
    steps: messages.length,
    tools: toolCalls.length,
    toolCalls,
    filesChanged: fileChanges(messages),
    ...(tokens && { tokens }),
    ...(costs.length > 0 && { costUsd: sum(costs) }),
    ...measured,
  };
}

/** The tokens of the last step are not those of the run (facts, section 11). */
function tokensOf(messages: readonly Message[]): Tokens | undefined {
  const counted = messages.flatMap(({ tokens }) => tokens ?? []);
  if (counted.length === 0) return undefined;
  const total = (name: keyof Tokens) => sum(counted.map((each) => each[name]));
  return {
    input: total('input'),
    output: total('output'),
    reasoning: total('reasoning'),
    cacheRead: total('cacheRead'),
    cacheWrite: total('cacheWrite'),
  };
}

const sum = (values: readonly number[]) => values.reduce((total, each) => total + each, 0);
