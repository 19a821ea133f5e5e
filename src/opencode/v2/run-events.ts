/** Reads what the frames of `/api/event` say about a run (opencode-2-facts, section 3). */
import type { Clock } from '../../lib/clock.js';
import type { Observation } from '../../watchdog/observation.js';
import { METADATA_KEY, type RunEvent, type RunEventReader, type RunFrame } from '../driver-api.js';
import { isDirectory, normaliseDirectory } from '../monitor/directories.js';
import { parseJson } from '../parse-json.js';
import { V2EventReader } from './event-reader.js';
import type { KnownSessions } from './known-sessions.js';
import { runError } from './messages.js';
import * as schemas from './schemas.js';

/** The status of a tool call, in the terms of 1.x. */
const TOOL_STATUS: Readonly<Record<string, string>> = {
  'session.tool.called': 'running',
  'session.tool.success': 'completed',
  'session.tool.failed': 'error',
};

export class V2RunEvents implements RunEventReader {
  readonly #reader: V2EventReader;
  readonly #known: KnownSessions;

  /** The reader notes in `known` what it reads, so that a poll, which says only "running", knows of retries. */
  constructor(clock: Clock, known: KnownSessions) {
    this.#reader = new V2EventReader(clock, known);
    this.#known = known;
  }

  read(text: string): RunFrame | undefined {
    const event = schemas.envelope.safeParse(parseJson(text)).data;
    if (event === undefined) return undefined;
    const { data } = schemas.eventData.safeParse(event.data ?? {});
    if (data === undefined) return undefined;
    const sessionID = data.sessionID ?? data.form?.sessionID;
    if (sessionID === undefined) return undefined;
    const { type } = event;
    const tagged = event.location?.directory;
    return {
      sessionID,
      ...(type === 'session.created' && data.parentID !== undefined && { parentID: data.parentID }),
      ...(isDirectory(tagged) && { directory: normaliseDirectory(tagged) }),
      events: () => this.#events(type, sessionID, data, text),
    };
  }

  isHeartbeat(head: string): boolean {
    return head.startsWith(':');
  }

  #events(type: string, sessionID: string, data: schemas.EventData, text: string): RunEvent[] {
    // This comes before the reader sees the end of a call, because the reader then forgets the call's name.
    const tools = this.#tool(type, sessionID, data);
    const frame = this.#reader.read(text);
    const seen = frame.kind === 'event' ? frame.observations : [];
    const own = this.#own(type, sessionID, data);
    return [...own, ...tools, ...seen.flatMap((each) => eventOf(each, data))];
  }

  #tool(type: string, sessionID: string, data: schemas.EventData): RunEvent[] {
    const { id: callID, assistantMessageID: messageID, error } = data;
    const status = TOOL_STATUS[type];
    if (callID === undefined || messageID === undefined || status === undefined) return [];
    const tool = this.#known.get(sessionID)?.calls.get(callID)?.name ?? 'unknown';
    const use = { tool, status, ...(error && { error: error.message }) };
    return [{ kind: 'tool', messageID, callID, use }];
  }

  /** What only the driver needs to know: which prompt or answer each text belongs to. */
  #own(type: string, sessionID: string, data: schemas.EventData): RunEvent[] {
    const { inboxID, item, assistantMessageID: messageID, ordinal = 0, text = '' } = data;
    switch (type) {
      case 'session.inbox.enqueued': {
        const mark = item?.payload?.metadata?.[METADATA_KEY];
        if (inboxID === undefined || item?.type !== 'user') return [];
        this.#known.of(sessionID).prompts.add(inboxID);
        return typeof mark === 'string' ? [{ kind: 'prompt', messageID: inboxID, mark }] : [];
      }
      case 'session.inbox.delivered': {
        const known = this.#known.of(sessionID);
        if (inboxID !== undefined && known.prompts.delete(inboxID)) known.prompt = inboxID;
        return [];
      }
      case 'session.step.started': {
        if (messageID === undefined) return [];
        const { prompt } = this.#known.of(sessionID);
        const { model } = data;
        return [
          {
            kind: 'answer',
            messageID,
            ...(prompt !== undefined && { parentID: prompt }),
            ...(model !== undefined && { model }),
          },
        ];
      }
      case 'session.step.failed':
        // The turn may go on with a retry or a compaction. Its end shows what came of it.
        return [];
      default: {
        const [, of, what] = /^session\.(text|reasoning)\.(started|delta|ended)$/.exec(type) ?? [];
        if (messageID === undefined || of === undefined) return [];
        const partID = `${messageID} ${of} ${ordinal}`;
        if (what === 'delta') {
          return [{ kind: 'text_added', messageID, partID, added: data.delta ?? '' }];
        }
        return [{ kind: 'text', messageID, partID, of: of as 'text' | 'reasoning', text }];
      }
    }
  }
}

function eventOf(observation: Observation, data: schemas.EventData): RunEvent[] {
  switch (observation.kind) {
    case 'session.status':
      return [{ kind: 'status', status: observation.status }];
    case 'session.error': {
      const { name, message } = observation;
      return [{ kind: 'error', error: data.error ? runError(data.error) : { name, message } }];
    }
    case 'session.step_finished':
      return observation.step === undefined ? [] : [{ kind: 'step', step: observation.step }];
    case 'session.compacted':
      return [{ kind: 'compacted' }];
    case 'request.asked': {
      const { requestID, on } = observation.request;
      const what = data.action ?? data.form?.fields?.[0]?.title ?? data.form?.title ?? on;
      return [{ kind: 'asked', requestID, on, what }];
    }
    case 'request.answered':
      return [{ kind: 'answered', requestID: observation.requestID }];
    default:
      return [];
  }
}
