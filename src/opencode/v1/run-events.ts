/** Reads what the frames of `/global/event` say about a run (facts, section 4). */
import * as z from 'zod';
import type { Clock } from '../../lib/clock.js';
import { maskedCut } from '../../lib/redaction.js';
import { METADATA_KEY, type RunEvent, type RunEventReader, type RunFrame } from '../driver-api.js';
import { isDirectory, normaliseDirectory } from '../monitor/directories.js';
import { parseJson } from '../parse-json.js';
import { readHead } from './frame-head.js';
import { toolUse } from './messages.js';
import { id, MAX_ID_CHARS, message, modelOf, part } from './schemas.js';
import { readStatus } from './status.js';
import { StepReader } from './step-reader.js';
import { readError } from './transcript.js';

/** What a person is asked, as a message shows it. At the limit: it is cut. */
const MAX_WHAT_CHARS = 120;

const frame = z.object({
  directory: z.string().optional().catch(undefined),
  payload: z.object({ type: z.string(), properties: z.unknown().optional() }),
});
const subject = z.object({
  sessionID: id.optional().catch(undefined),
  info: z
    .object({
      id,
      sessionID: id.optional().catch(undefined),
      parentID: id.optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
  part: z.object({ sessionID: id }).optional().catch(undefined),
});
const messageEvent = z.object({ info: message });
const partEvent = z.object({ part });
const delta = z.object({ messageID: id, partID: id, field: z.string(), delta: z.string() });
const request = z.object({
  id: z.unknown().optional(),
  requestID: z.unknown().optional(),
  permissionID: z.unknown().optional(),
  permission: z.unknown().optional(),
  questions: z
    .array(z.object({ question: z.unknown().optional() }))
    .optional()
    .catch(undefined),
});

export class V1RunEvents implements RunEventReader {
  readonly #clock: Clock;
  readonly #steps = new StepReader();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  read(text: string): RunFrame | undefined {
    const parsed = frame.safeParse(parseJson(text));
    if (!parsed.success) return undefined;
    const { directory, payload } = parsed.data;
    const { type, properties } = payload;
    if (type === 'sync') return undefined;
    const { sessionID: named, info, part } = subject.safeParse(properties).data ?? {};
    const isSession = type.startsWith('session.');
    const sessionID =
      named ?? info?.sessionID ?? part?.sessionID ?? (isSession ? info?.id : undefined);
    if (sessionID === undefined) return undefined;
    const isChild = isSession && info?.id === sessionID && info.parentID !== undefined;
    return {
      sessionID,
      ...(isChild && { parentID: info.parentID }),
      ...(isDirectory(directory) && { directory: normaliseDirectory(directory) }),
      events: () => this.#events(type, properties),
    };
  }

  isHeartbeat(head: string): boolean {
    return readHead(head)?.type === 'server.heartbeat';
  }

  #events(type: string, properties: unknown): RunEvent[] {
    switch (type) {
      case 'session.status':
      case 'session.idle': {
        const value = (properties as { status?: unknown } | null)?.status;
        const status = readStatus(value ?? { type: 'idle' }, this.#clock.epoch());
        return status ? [{ kind: 'status', status }] : [];
      }
      case 'session.error': {
        const { error } = (properties ?? {}) as { error?: unknown };
        return error ? [{ kind: 'error', error: readError(error) }] : [];
      }
      case 'session.compacted':
        return [{ kind: 'compacted' }];
      case 'message.updated':
        return this.#message(properties);
      case 'message.part.updated':
        return this.#part(properties);
      case 'message.part.delta': {
        const piece = delta.safeParse(properties).data;
        if (piece?.field !== 'text') return [];
        const { messageID, partID, delta: added } = piece;
        return [{ kind: 'text_added', messageID, partID, added }];
      }
      default:
        return requestEvents(type, properties);
    }
  }

  #message(properties: unknown): RunEvent[] {
    const info = messageEvent.safeParse(properties).data?.info;
    if (info?.role !== 'assistant') return [];
    const model = modelOf(info);
    this.#steps.message(info);
    return [
      {
        kind: 'answer',
        messageID: info.id,
        ...(info.parentID !== undefined && { parentID: info.parentID }),
        ...(model !== undefined && { model }),
      },
    ];
  }

  #part(properties: unknown): RunEvent[] {
    const value = partEvent.safeParse(properties).data?.part;
    const messageID = value?.messageID;
    if (value === undefined || messageID === undefined) return [];
    const events: RunEvent[] = [];
    const mark = value.metadata?.[METADATA_KEY];
    if (typeof mark === 'string') events.push({ kind: 'prompt', messageID, mark });
    const { id: partID, type, text = '', synthetic } = value;
    if (partID !== undefined && (type === 'text' || type === 'reasoning') && synthetic !== true) {
      events.push({ kind: 'text', messageID, partID, of: type, text });
    }
    const { callID = partID } = value;
    if (type === 'tool' && callID !== undefined) {
      events.push({ kind: 'tool', messageID, callID, use: toolUse(value) });
    }
    const step = this.#steps.part(value);
    if (step) events.push({ kind: 'step', step });
    return events;
  }
}

function requestEvents(type: string, properties: unknown): RunEvent[] {
  const match = /^(permission|question)\.(?:v2\.)?(asked|updated|replied|rejected)$/.exec(type);
  if (!match) return [];
  const on = match[1] === 'permission' ? 'permission' : 'question';
  const { data } = request.safeParse(properties ?? {});
  if (data === undefined) return [];
  const isNew = match[2] === 'asked' || match[2] === 'updated';
  const requestID = isNew ? data.id : (data.requestID ?? data.permissionID);
  if (typeof requestID !== 'string' || requestID.length > MAX_ID_CHARS) return [];
  if (!isNew) return [{ kind: 'answered', requestID }];
  const what = String(data.permission ?? data.questions?.[0]?.question ?? on);
  return [{ kind: 'asked', requestID, on, what: maskedCut(what, MAX_WHAT_CHARS) }];
}
