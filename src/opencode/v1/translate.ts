/**
 * Turns opencode's events into the watchdog's observations. All differences between versions are handled here. Pure.
 *
 * An event that is not listed in `TRANSLATORS` says nothing about a session's health and is dropped unread.
 */
import * as z from 'zod';
import type { Observation, RequestKind } from '../../watchdog/observation.js';
import { bounded } from '../http/errors.js';
import { isDirectory, normaliseDirectory } from '../monitor/directories.js';
import type { ParseStats } from '../parse-stats.js';
import * as schemas from './schemas.js';
import { MAX_MESSAGE_CHARS, readStatus } from './status.js';
import type { StepReader } from './step-reader.js';
import { isAsking, runningTool } from './transcript.js';
import { translateNext } from './translate-next.js';
import type { Context, Said, Translation } from './translation.js';

type Translator = (properties: unknown, context: Context) => Translation | undefined;

const anyEvent = z.object({ type: z.string(), properties: z.unknown().optional() });

export function translate(
  directory: string | undefined,
  payload: unknown,
  at: number,
  epochNow: number,
  parseStats?: ParseStats,
  steps?: StepReader,
): Observation[] {
  const event = anyEvent.safeParse(payload).data;
  if (!event) {
    if (parseStats) parseStats.unparseable += 1;
    return [];
  }
  const { type, properties } = event;
  const place = isDirectory(directory) ? normaliseDirectory(directory) : undefined;
  if (type === 'server.instance.disposed') {
    const named = schemas.directoryDisposed.safeParse(properties).data?.directory ?? place;
    return isDirectory(named)
      ? [{ kind: 'directory.disposed', at, directory: normaliseDirectory(named) }]
      : [];
  }
  const translator = type.startsWith('session.next.')
    ? (value: unknown, context: Context) => translateNext(type, value, context)
    : TRANSLATORS.get(type);
  if (!translator) return [];
  const translation = translator(properties, { at, epochNow, parseStats, steps });
  if (!translation) {
    if (parseStats) parseStats.unparseable += 1;
    return [];
  }
  const { sessionID, said } = translation;
  const where = { at, sessionID, ...(place !== undefined && { directory: place }) };
  return said.map((observation) => ({ ...observation, ...where }));
}

const owned = z.object({ sessionID: schemas.id });

/** For events that say everything by their type and session. */
const always =
  (...said: Said[]): Translator =>
  (properties) => {
    const sessionID = owned.safeParse(properties).data?.sessionID;
    return sessionID === undefined ? undefined : { sessionID, said };
  };

const statusEvent = owned.extend({ status: z.unknown().optional() });
const status: Translator = (properties, { epochNow, parseStats }) => {
  const event = statusEvent.safeParse(properties).data;
  if (!event) return undefined;
  // `readStatus` itself has counted what it could not read.
  const read = readStatus(event.status, epochNow, parseStats);
  return {
    sessionID: event.sessionID,
    said: read ? [{ kind: 'session.status', status: read }] : [],
  };
};

const infoEvent = z.object({ info: schemas.session });
const info: Translator = (properties, { epochNow }) => {
  const session = infoEvent.safeParse(properties).data?.info;
  if (!session) return undefined;
  const { directory, title, parentID, time } = session;
  const spent = schemas.spentOf(session);
  const known = {
    ...(directory !== undefined && { directory: normaliseDirectory(directory) }),
    ...(title !== undefined && { title }),
    ...(parentID !== undefined && { parentID }),
    ...(spent !== undefined && { spent }),
    ...(time?.created !== undefined && { ageMs: Math.max(0, epochNow - time.created) }),
  };
  return {
    sessionID: session.id,
    said: [
      { kind: 'session.info', info: known },
      // 1.0 and 1.1 show a compaction here; later versions show it by a message part.
      ...(time?.compacting !== undefined ? [{ kind: 'session.compacting' } as const] : []),
    ],
  };
};

const deletedEvent = z.object({
  sessionID: schemas.id.optional().catch(undefined),
  info: schemas.session.optional().catch(undefined),
});
const deleted: Translator = (properties) => {
  const event = deletedEvent.safeParse(properties).data;
  const sessionID = event?.sessionID ?? event?.info?.id;
  return sessionID === undefined ? undefined : { sessionID, said: [{ kind: 'session.deleted' }] };
};

/** If a query of opencode's own database fails, its error contains values, perhaps a message's text (1.18.33). */
const QUERY_VALUES = /\bparams: .*$/s;

/**
 * opencode adds a stack to some of its messages. A reader needs only the sentence before it. (One pattern for the breaks
 * and blanks before it takes cubic time.)
 */
const STACK_LINE = /^\s*at\s/;

const errorEvent = z.object({
  sessionID: schemas.id.optional().catch(undefined),
  error: schemas.namedError.optional().catch(undefined),
});
const error: Translator = (properties) => {
  const event = errorEvent.safeParse(properties).data;
  if (!event) return undefined;
  // An error without a session concerns only the server itself.
  if (event.sessionID === undefined) return { sessionID: '', said: [] };
  const { message, statusCode, isRetryable } = event.error?.data ?? {};
  return {
    sessionID: event.sessionID,
    said: [
      {
        kind: 'session.error',
        name: bounded(event.error?.name ?? 'UnknownError', MAX_MESSAGE_CHARS),
        message: bounded(sentenceOf(message ?? ''), MAX_MESSAGE_CHARS),
        ...(statusCode !== undefined && { statusCode }),
        ...(isRetryable !== undefined && { retryable: isRetryable }),
      },
    ],
  };
};

function sentenceOf(message: string): string {
  const lines = message.split('\n');
  const stack = lines.findIndex((line, index) => index > 0 && STACK_LINE.test(line));
  const sentence = stack === -1 ? message : lines.slice(0, stack).join('\n').trimEnd();
  return sentence.replace(QUERY_VALUES, 'params: …');
}

const messageEvent = z.object({
  sessionID: schemas.id.optional().catch(undefined),
  info: schemas.message,
});
/**
 * A user's message is sent again and again (with its summary, after each step): by `messageID` the watchdog counts it
 * once. For an assistant's message that has ended, `step-finish` and the status say everything better.
 */
const message: Translator = (properties, { steps }) => {
  const event = messageEvent.safeParse(properties).data;
  const sessionID = event?.sessionID ?? event?.info.sessionID;
  if (!event || sessionID === undefined) return undefined;
  const { id, role, agent, summary } = event.info;
  const model = schemas.modelOf(event.info);
  // A compaction has an agent of its own, and often a model. The run goes on with its own ones afterwards.
  const isSummary = summary === true;
  const details = {
    messageID: id,
    ...(model !== undefined && !isSummary && { model }),
    ...(agent !== undefined && !isSummary && { agent }),
  };
  if (role === 'user') return { sessionID, said: [{ kind: 'session.prompted', ...details }] };
  steps?.message(event.info);
  if (!isAsking(event.info)) return { sessionID, said: [] };
  const said: Said[] = [{ kind: 'session.asking_model', ...details }];
  // The part that shows a compaction is the user's, and comes before the run has begun (seen on 1.18.33).
  if (isSummary) said.push({ kind: 'session.compacting' });
  return { sessionID, said };
};

const partEvent = z.object({
  sessionID: schemas.id.optional().catch(undefined),
  part: schemas.part,
});
const part: Translator = (properties, context) => {
  const event = partEvent.safeParse(properties).data;
  const sessionID = event?.sessionID ?? event?.part.sessionID;
  if (!event || sessionID === undefined) return undefined;
  const said = partSays(event.part, context);
  const { type, synthetic, messageID } = event.part;
  const isSpoken = type === 'text' && event.part.time === undefined && synthetic !== true;
  if (isSpoken && messageID !== undefined) said.push({ kind: 'session.spoken_to', messageID });
  return { sessionID, said };
};

function partSays(value: schemas.WirePart, { at, epochNow, steps }: Context): Said[] {
  const step = steps?.part(value);
  switch (value.type) {
    case 'tool':
      return toolSays(value, at, epochNow);
    case 'step-finish':
      return [{ kind: 'session.step_finished', ...(step && { step }) }];
    case 'text':
      // The user's own text has no time: it is the prompt, not progress (seen on 1.18.33).
      return value.time === undefined ? [] : [{ kind: 'session.progress' }];
    case 'reasoning':
    case 'step-start':
      return [{ kind: 'session.progress' }];
    case 'compaction':
      return [
        { kind: 'session.compacting', ...(value.auto !== undefined && { auto: value.auto }) },
      ];
    case 'retry': {
      // 1.0.0 has no `session.status`: it reports a retry like this.
      const reason = schemas.namedError.safeParse(value.error).data?.data?.message ?? '';
      const attempt = Math.max(1, Math.floor(value.attempt ?? 1));
      const retry = {
        type: 'retry',
        attempt,
        message: bounded(reason, MAX_MESSAGE_CHARS),
      } as const;
      return [{ kind: 'session.status', status: retry }];
    }
    default:
      return [];
  }
}

function toolSays(value: schemas.WirePart, at: number, epochNow: number): Said[] {
  const { callID, state } = value;
  const progress = { kind: 'session.progress' } as const;
  const tool = runningTool(value, at, epochNow);
  if (tool) return [{ kind: 'tool.running', tool }, progress];
  const hasEnded = state?.status === 'completed' || state?.status === 'error';
  return hasEnded && callID !== undefined ? [{ kind: 'tool.ended', callID }, progress] : [progress];
}

const asked =
  (on: RequestKind): Translator =>
  (properties) => {
    const event = schemas.pending.safeParse(properties).data;
    if (!event) return undefined;
    const request = { requestID: event.id, on };
    return { sessionID: event.sessionID, said: [{ kind: 'request.asked', request }] };
  };

/** `permissionID` up to 1.0. */
const answeredEvent = z.object({
  sessionID: schemas.id,
  requestID: schemas.id.optional().catch(undefined),
  permissionID: schemas.id.optional().catch(undefined),
});
const answered: Translator = (properties) => {
  const event = answeredEvent.safeParse(properties).data;
  const requestID = event?.requestID ?? event?.permissionID;
  if (!event || requestID === undefined) return undefined;
  return { sessionID: event.sessionID, said: [{ kind: 'request.answered', requestID }] };
};

const TRANSLATORS: ReadonlyMap<string, Translator> = new Map([
  ['session.status', status],
  ['session.idle', always({ kind: 'session.status', status: { type: 'idle' } })],
  ['session.created', info],
  ['session.updated', info],
  ['session.deleted', deleted],
  ['session.error', error],
  ['session.compacted', always({ kind: 'session.compacted' })],
  ['message.updated', message],
  ['message.part.updated', part],
  ['message.part.delta', always({ kind: 'session.progress' })],
  ['permission.asked', asked('permission')],
  ['permission.v2.asked', asked('permission')],
  ['permission.updated', asked('permission')],
  ['permission.replied', answered],
  ['permission.v2.replied', answered],
  ['question.asked', asked('question')],
  ['question.v2.asked', asked('question')],
  ['question.replied', answered],
  ['question.rejected', answered],
  ['question.v2.replied', answered],
  ['question.v2.rejected', answered],
]);
