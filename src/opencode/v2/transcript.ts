/** Reads a session's last messages: what the session is doing, and a digest that changes whenever the messages do. */
import { createHash } from 'node:crypto';
import type { RunningTool } from '../../watchdog/observation.js';
import type { Inspected } from '../server-api.js';
import type * as schemas from './schemas.js';

type Found = Extract<Inspected['result'], { found: true }>;
export type Transcript = Omit<Found, 'found' | 'info' | 'requests'>;

/** @param messages newest first */
export function transcriptState(
  messages: readonly schemas.WireMessage[],
  at: number,
  epochNow: number,
): Transcript {
  const last = messages.find(({ type }) => type === 'assistant');
  const newest = messages.find(({ type }) => ['assistant', 'user', 'compaction'].includes(type));
  // A compaction may have a model of its own.
  const model = messages.find(
    (each) => each.model !== undefined && each.type !== 'compaction',
  )?.model;
  const since = (epoch: number | undefined) =>
    epoch === undefined ? at : at - Math.max(0, epochNow - epoch);
  const isOpen =
    last !== undefined && last.time?.completed === undefined && last.finish === undefined;
  const tools = (isOpen ? last.content : []).flatMap(
    ({ type, id, name, state, time }): RunningTool[] => {
      if (type !== 'tool' || id === undefined) return [];
      const childID = state?.metadata?.sessionID;
      // `streaming`: the argument is being written, and the event stream is silent meanwhile.
      if (state?.status !== 'running' && state?.status !== 'streaming') return [];
      const startedAt = since(
        state.status === 'running' ? (time?.ran ?? time?.created) : time?.created,
      );
      return [
        {
          callID: id,
          tool: name ?? 'unknown',
          startedAt,
          ...(childID !== undefined && { childID }),
        },
      ];
    },
  );
  const writing = isOpen ? last.content.at(-1) : undefined;
  const isText = writing?.type === 'text' || writing?.type === 'reasoning';
  return {
    tools,
    preparing: newest?.type === 'user',
    ...(newest?.type === 'compaction' && { compacting: newest.status === 'running' }),
    ...(isText && { answeringSince: since(writing.time?.created ?? last?.time?.created) }),
    ...(model !== undefined && { model }),
    mark: markOf(messages),
  };
}

/** A digest of ids, states, lengths and times: it holds no text, and changes when the transcript does. */
function markOf(messages: readonly schemas.WireMessage[]): string {
  const hash = createHash('sha1');
  for (const { id, type, status, finish, time, retry, content } of messages) {
    hash.update(
      `${id} ${type} ${status} ${finish} ${time?.completed} ${retry?.attempt} ${content.length}\n`,
    );
    for (const part of content) {
      hash.update(
        `${part.id} ${part.text?.length} ${part.state?.status} ${part.time?.completed}\n`,
      );
    }
  }
  return hash.digest('hex');
}
