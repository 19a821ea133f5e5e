/**
 * The format of a recording: NDJSON, a header and then one observation a line, as the watchdog took it in.
 *
 * A recording holds what the rules need and nothing else: no prompt text, no titles (opencode makes them from the
 * prompt), no secrets. When it is read back, nothing in it is trusted: every line is parsed by a schema.
 */
import * as z from 'zod';
import {
  ASKED_BY,
  type Observation,
  PROBE_FAILURES,
  REQUEST_KINDS,
  REQUESTED_RESTARTS,
  UNREACHABLE,
  USAGE_LIMITS,
  WITHDRAWN_AS,
} from '../watchdog/observation.js';
import { DEFAULT_POLICY, type Policy } from '../watchdog/policy.js';

export const FORMAT_VERSION = 1;
/**
 * A line of a recording. A poll of 10,000 sessions takes half of it. At the limit: it is left out when it is written,
 * which is reported once, and refused when it is read.
 */
export const MAX_LINE_CHARS = 4 * 1024 * 1024;
/** Characters of a text in a recording. At the limit: it is cut. */
export const MAX_TEXT = 500;

/** As long as opencode's ids may be (`lib/id.ts`). */
const id = z.string().min(1).max(256);
const text = z.string().max(4_096);
const ms = z.number().finite();

export const headerSchema = z.looseObject({
  recording: z.literal('opencode-watchdog'),
  format: z.literal(FORMAT_VERSION),
  /** Version of opencode-watchdog. */
  version: text,
  /** Version of opencode, if it was known. */
  opencode: text.nullish(),
  startedAt: text,
  acts: z.boolean(),
  /** The limits in force, as the configuration has them. */
  policy: z.record(z.string(), z.unknown()),
  /** What the recording shows, in words. */
  about: text.optional(),
});
export type Header = z.infer<typeof headerSchema>;

const status = z.discriminatedUnion('type', [
  z.object({ type: z.literal('idle') }),
  z.object({ type: z.literal('busy') }),
  z.object({ type: z.literal('unknown') }),
  z.object({
    type: z.literal('retry'),
    attempt: z.number(),
    message: text,
    nextInMs: ms.optional(),
    needsPerson: z.boolean().optional(),
  }),
]);
const spent = z.object({ costUsd: z.number(), tokens: z.number() });
const info = z.object({
  directory: text.optional(),
  title: text.optional(),
  parentID: id.optional(),
  spent: spent.optional(),
  ageMs: ms.optional(),
});
const tool = z.object({
  callID: id,
  tool: text,
  startedAt: ms,
  childID: id.optional(),
});
const request = z.object({ requestID: id, on: z.enum(REQUEST_KINDS) });

const of = <K extends string, S extends z.ZodRawShape>(kind: K, shape: S) =>
  z.object({ kind: z.literal(kind), at: ms, ...shape });
const ofSession = <K extends string, S extends z.ZodRawShape>(kind: K, shape: S) =>
  of(kind, { sessionID: id, directory: text.optional(), ...shape });
const version = text.optional();
const pid = z.number().optional();

const unsupported = z.object({
  answered: text,
  means: text,
  version,
  starting: z.boolean().optional(),
  certain: z.boolean().optional(),
});
/**
 * A schema of values of the same shape: the same keys, with values of the same types. A key that the recording does not
 * have gets its default.
 */
function like(shape: unknown): z.ZodType {
  if (shape === null) return text.nullable().default(null);
  if (Array.isArray(shape)) return z.array(text).default(shape as string[]);
  if (typeof shape === 'number') return z.number().finite().min(0).default(shape);
  if (typeof shape === 'boolean') return z.boolean().default(shape);
  if (typeof shape === 'string') return text.default(shape);
  const parts = Object.entries(shape as object).map(([key, part]) => [key, like(part)]);
  return z.object(Object.fromEntries(parts)).prefault({});
}

const runAtWork = z.object({
  sessionID: id,
  directory: text.optional(),
  title: text.optional(),
  parentID: id.optional(),
  model: text.optional(),
  agent: text.optional(),
  count: z.number(),
  waiting: z.literal(true).optional(),
});

export const observationSchema = z.discriminatedUnion('kind', [
  of('server.attached', {
    running: z.boolean(),
    unauthorized: z.number().optional(),
    means: text.optional(),
    unsupported: unsupported.optional(),
    pid,
    startTime: text.optional(),
    version,
    acts: z.boolean().optional(),
  }),
  of('probe.ok', { startedAt: ms, version }),
  of('probe.failed', {
    startedAt: ms,
    failure: z.enum(PROBE_FAILURES),
    error: text,
  }),
  of('probe.unauthorized', { startedAt: ms, status: z.number(), means: text.optional() }),
  of('probe.unsupported', { startedAt: ms, ...unsupported.shape }),
  of('server.exited', {
    pid: z.number().optional(),
    code: z.number().nullable(),
    signal: text.nullable(),
  }),
  of('server.suspended', { pid: z.number() }),
  of('continue_process.done', {}),
  of('continue_process.skipped', {}),
  of('continue_process.failed', { error: text }),
  of('restart.done', {
    pid,
    oldPid: pid,
    version,
    tookMs: ms,
    unsupported: unsupported.optional(),
    unauthorized: z.number().optional(),
    means: text.optional(),
    acts: z.boolean().optional(),
  }),
  of('restart.failed', { error: text, serverAlive: z.boolean(), version: text.optional() }),
  of('restart.skipped', {}),
  of('restart.requested', { reason: z.enum(REQUESTED_RESTARTS) }),
  of('usage.within', { reason: z.enum(USAGE_LIMITS) }),
  of('stream.connected', { path: text }),
  of('stream.lost', {
    path: text.optional(),
    reason: text,
    silentMs: ms,
    planned: z.boolean().optional(),
  }),
  of('stream.unavailable', { path: text, reason: text, silentMs: ms }),
  of('stream.alive', { heartbeatMs: ms.optional() }),
  of('stream.resynced', {}),
  ofSession('session.info', { askedAt: ms.optional(), info }),
  ofSession('session.status', { status }),
  ofSession('session.progress', {}),
  ofSession('session.step_finished', {
    step: z
      .object({
        messageID: id,
        empty: z.boolean(),
        summary: z.boolean().optional(),
        fingerprint: text.optional(),
        toolMs: ms.optional(),
        tool: text.optional(),
        tools: z.number(),
        toolErrors: z.number(),
        hasText: z.boolean(),
        fileChanges: z.number(),
        finish: text.optional(),
        costUsd: z.number().optional(),
        tokens: z.number().optional(),
      })
      .optional(),
  }),
  ofSession('session.text_sampled', { textRepeats: z.number() }),
  ofSession('session.spoken_to', { messageID: id }),
  ofSession('session.asking_model', {
    messageID: id,
    model: text.optional(),
    agent: text.optional(),
  }),
  ofSession('session.prompted', {
    messageID: id,
    model: text.optional(),
    agent: text.optional(),
    parks: z.boolean().optional(),
  }),
  ofSession('tool.running', { tool }),
  ofSession('tool.ended', { callID: id }),
  ofSession('request.asked', { request }),
  ofSession('request.answered', { requestID: id }),
  ofSession('session.compacting', { auto: z.boolean().optional() }),
  ofSession('session.compacted', {}),
  ofSession('session.error', {
    name: text,
    message: text,
    statusCode: z.number().optional(),
    retryable: z.boolean().optional(),
  }),
  ofSession('session.deleted', {}),
  of('status.polled', {
    startedAt: ms,
    directory: text.optional(),
    statuses: z.record(id, status).transform((all) => new Map(Object.entries(all))),
  }),
  ofSession('session.inspected', {
    startedAt: ms,
    result: z.discriminatedUnion('found', [
      z.object({ found: z.literal(false) }),
      z.object({
        found: z.literal(true),
        info,
        tools: z.array(tool),
        requests: z.array(request),
        preparing: z.boolean(),
        compacting: z.boolean().optional(),
        answeringSince: ms.optional(),
        model: text.optional(),
        mark: text,
      }),
    ]),
  }),
  ofSession('session.inspect_failed', { error: text }),
  of('directory.disposed', { directory: text, replaced: z.boolean().optional() }),
  ofSession('abort.done', { tookMs: ms }),
  ofSession('abort.failed', { error: text }),
  ofSession('abort.withdrawn', { seen: z.enum(WITHDRAWN_AS) }),
  ofSession('abort.skipped', {}),
  of('dispose.done', { directory: text, tookMs: ms }),
  of('dispose.failed', { directory: text, error: text }),
  of('dispose.withdrawn', { directory: text, seen: z.enum(['idle', 'others']) }),
  of('dispose.skipped', { directory: text }),
  of('abort.requested', { sessionID: id, by: z.enum(ASKED_BY) }),
  of('acts.paused', {}),
  of('daemon.stopping', {}),
  of('acts.resumed', {}),
  ofSession('reject.failed', { requestID: id, error: text }),
  ofSession('reject.skipped', { requestID: id }),
  ofSession('continue.done', { model: text.optional() }),
  ofSession('continue.failed', {
    model: text.optional(),
    error: text,
    superseded: z.boolean().optional(),
    unreachable: z.enum(UNREACHABLE).optional(),
  }),
  ofSession('continue.skipped', {}),
  of('parked.restored', {
    runs: z.array(runAtWork.extend({ lastMessageID: text.optional(), inMs: ms, forMs: ms })),
  }),
  of('runs.restored', {
    serverPid: pid,
    serverStart: text.optional(),
    wasStopped: z.literal(true).optional(),
    runs: z.array(runAtWork),
    inARow: z.record(id, z.number()).transform((all) => new Map(Object.entries(all))),
    quarantined: z.array(
      z.object({ sessionID: id, directory: text.optional(), title: text.optional() }),
    ),
  }),
  of('budget.day', {
    sinceMs: ms,
    spent,
    totals: z
      .record(id, spent)
      .transform((all) => new Map(Object.entries(all)))
      .optional(),
  }),
  of('tick', {}),
  of('policy.changed', {
    // If it is absent, it stays absent: the defaults of its parts are not what was in force.
    policy: z.union([z.undefined(), like(DEFAULT_POLICY)]) as z.ZodType<Policy | undefined>,
  }),
  of('gap', { ms }),
]);

/** Today's kinds by the names that version 0.1 wrote. */
const RENAMED = new Map([
  ['thaw.done', 'continue_process.done'],
  ['thaw.skipped', 'continue_process.skipped'],
  ['thaw.failed', 'continue_process.failed'],
]);

/** One line of a recording, also of an older version's. */
export const recordedSchema = z.preprocess((line) => {
  const kind = typeof line === 'object' && line !== null && 'kind' in line ? line.kind : undefined;
  const renamed = typeof kind === 'string' ? RENAMED.get(kind) : undefined;
  return renamed === undefined ? line : { ...(line as object), kind: renamed };
}, observationSchema);

// The schema must know every kind that the watchdog takes in, and no other.
type Read = z.output<typeof observationSchema>;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
const _covers: Same<Read['kind'], Observation['kind']> = true;
void _covers;

/** One line of a recording, without titles, and with bounded texts. */
export function toLine(o: Observation, clean: (text: string) => string): string {
  // Money adds up, and limits are compared with: rounded, a replay would decide something else.
  const isExact = (key: string) =>
    key === 'costUsd' || (o.kind === 'policy.changed' && key !== 'at');
  return JSON.stringify(o, (key, value: unknown) => {
    if (key === 'title') return undefined;
    if (value instanceof Map) return Object.fromEntries(value);
    if (typeof value === 'string') return clean(value).slice(0, MAX_TEXT);
    // Less than a thousandth of a millisecond is noise that only makes files longer.
    const isTime = typeof value === 'number' && !isExact(key);
    return isTime ? Math.round(value * 1_000) / 1_000 : value;
  });
}
