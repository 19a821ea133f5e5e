/**
 * What the schemas of the frequent events would give for one whose fields are all as they should be; undefined leaves it
 * to the schema. Next to deltas these events are what a busy stream is made of, and a schema takes as long for one as
 * a hundred deltas take. A test holds the two against each other.
 */
import { bounded } from '../http/errors.js';
import {
  MAX_ATTEMPT,
  MAX_EPOCH_MS,
  MAX_ID_CHARS,
  MAX_NAME_CHARS,
  MAX_PATH_CHARS,
  MAX_TITLE_CHARS,
  MIN_EPOCH_MS,
  type WireMessage,
  type WirePart,
  type WireSession,
} from './schemas.js';

type Fields = Readonly<Record<string, unknown>>;

/** Marks a field that the schema has to look at. */
const ODD = Symbol('odd');
type Odd = typeof ODD;

export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : undefined;
}

export const isPlainId = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= MAX_ID_CHARS;

const maybeId = (value: unknown): string | undefined | Odd =>
  value === undefined || isPlainId(value) ? value : ODD;

/** What `bounded` would leave as it is. */
const ONE_WORD = /^[\w.:/@+-]*$/;

const maybeWords = (value: unknown, max: number): string | undefined | Odd => {
  if (value === undefined) return undefined;
  if (typeof value !== 'string') return ODD;
  return value.length <= max && ONE_WORD.test(value) ? value : bounded(value, max);
};
const maybeName = (value: unknown) => maybeWords(value, MAX_NAME_CHARS);

const maybeText = (value: unknown, max = Number.POSITIVE_INFINITY): string | undefined | Odd =>
  value === undefined || (typeof value === 'string' && value.length <= max) ? value : ODD;

const maybeNumber = (
  value: unknown,
  min = -Number.MAX_VALUE,
  max = Number.MAX_VALUE,
): number | undefined | Odd =>
  value === undefined || (typeof value === 'number' && value >= min && value <= max) ? value : ODD;

/** An object of numbers. */
function maybeTimes<K extends string>(
  value: unknown,
  ...names: readonly K[]
): Partial<Record<K, number>> | undefined | Odd {
  if (value === undefined) return undefined;
  const fields = fieldsOf(value);
  if (!fields) return ODD;
  const times: Partial<Record<K, number>> = {};
  for (const name of names) {
    const time = maybeNumber(fields[name]);
    if (time === ODD) return ODD;
    if (time !== undefined) times[name] = time;
  }
  return times;
}

export function plainSession(value: unknown): WireSession | undefined {
  const fields = fieldsOf(value);
  if (!fields || !isPlainId(fields.id)) return undefined;
  const directory = maybeText(fields.directory, MAX_PATH_CHARS);
  const parentID = maybeId(fields.parentID);
  const title = maybeWords(fields.title, MAX_TITLE_CHARS);
  const time = maybeTimes(fields.time, 'created', 'updated', 'compacting');
  if (directory === ODD || parentID === ODD || title === ODD || time === ODD) return undefined;
  return { id: fields.id, directory, parentID, title, time };
}

export function plainMessage(value: unknown): WireMessage | undefined {
  const fields = fieldsOf(value);
  if (!fields || !isPlainId(fields.id) || typeof fields.role !== 'string') return undefined;
  const { id, role, summary, error } = fields;
  const sessionID = maybeId(fields.sessionID);
  const parentID = maybeId(fields.parentID);
  const agent = maybeName(fields.agent);
  const modelID = maybeName(fields.modelID);
  const providerID = maybeName(fields.providerID);
  const finish = maybeName(fields.finish);
  const model = maybeModel(fields.model);
  const time = maybeTimes(fields.time, 'created', 'completed');
  if (sessionID === ODD || parentID === ODD || agent === ODD || modelID === ODD) return undefined;
  if (providerID === ODD || finish === ODD || model === ODD || time === ODD) return undefined;
  return {
    id,
    sessionID,
    role,
    parentID,
    agent,
    modelID,
    providerID,
    model,
    finish,
    summary,
    error,
    time,
  };
}

function maybeModel(value: unknown): WireMessage['model'] | Odd {
  if (value === undefined) return undefined;
  const fields = fieldsOf(value);
  const providerID = maybeName(fields?.providerID);
  const modelID = maybeName(fields?.modelID);
  return typeof providerID === 'string' && typeof modelID === 'string'
    ? { providerID, modelID }
    : ODD;
}

export function plainPart(value: unknown): WirePart | undefined {
  const fields = fieldsOf(value);
  if (!fields || typeof fields.type !== 'string') return undefined;
  const { type, error } = fields;
  const id = maybeId(fields.id);
  const sessionID = maybeId(fields.sessionID);
  const messageID = maybeId(fields.messageID);
  const callID = maybeId(fields.callID);
  const tool = maybeName(fields.tool);
  const text = maybeText(fields.text);
  const state = maybeState(fields.state);
  const attempt = maybeNumber(fields.attempt, -Number.MAX_VALUE, MAX_ATTEMPT);
  const time = maybeTimes(fields.time, 'start', 'end');
  if (id === ODD || sessionID === ODD || messageID === ODD || callID === ODD) return undefined;
  if (tool === ODD || text === ODD || state === ODD || attempt === ODD || time === ODD) {
    return undefined;
  }
  return { id, sessionID, messageID, type, callID, tool, text, state, attempt, error, time };
}

function maybeState(value: unknown): WirePart['state'] | Odd {
  if (value === undefined) return undefined;
  const fields = fieldsOf(value);
  if (!fields || typeof fields.status !== 'string') return ODD;
  const time = maybeTimes(fields.time, 'start', 'end');
  const metadata = maybeMetadata(fields.metadata);
  if (time === ODD || metadata === ODD) return ODD;
  if (maybeNumber(time?.start, MIN_EPOCH_MS, MAX_EPOCH_MS) === ODD) return ODD;
  return { status: fields.status, time, metadata };
}

function maybeMetadata(value: unknown): NonNullable<WirePart['state']>['metadata'] | Odd {
  if (value === undefined) return undefined;
  const fields = fieldsOf(value);
  if (!fields) return ODD;
  const sessionId = maybeId(fields.sessionId);
  const sessionID = maybeId(fields.sessionID);
  const output = maybeText(fields.output);
  if (sessionId === ODD || sessionID === ODD || output === ODD) return ODD;
  return { sessionId, sessionID, output };
}
