/** What the commands read of `/status`. It is checked, because the daemon may be of another version. */
import * as z from 'zod';
import { EXIT, ExitError } from './shared.js';

const text = z.string();
const count = z.number();

const schema = z.object({
  time: text,
  watchdog: z.object({
    version: text,
    pid: count,
    startedAt: text,
    paused: z.boolean(),
    dryRun: z.boolean(),
    memoryBytes: count,
    /** Absent in 0.1. */
    limits: z
      .object({
        maxSilenceMs: count,
        maxAttempts: count,
        maxToolTimeMs: count,
        maxRunTimeMs: count,
      })
      .optional(),
  }),
  server: z.object({
    url: text,
    health: text,
    /** Absent in 0.1. */
    says: text.optional(),
    since: text.optional(),
    version: text.optional(),
    api: count.optional(),
    pid: count.optional(),
    memoryBytes: count.optional(),
    restarts: count,
    recentRestarts: count,
    breaker: z.object({ state: text, until: text.optional() }),
    stream: z.object({ connected: z.boolean() }),
  }),
  counts: z.record(text, count),
  spentToday: z.object({ costUsd: count, tokens: count }).optional(),
  sessions: z.array(
    z.object({
      id: text,
      health: text,
      since: count,
      directory: text.optional(),
      title: text.optional(),
      attempt: count.optional(),
      model: text.optional(),
      tool: text.optional(),
      message: text.optional(),
      nextAt: count.optional(),
      reason: text.optional(),
      waitingFor: text.optional(),
      parkedUntil: count.optional(),
      quarantined: z.boolean().optional(),
      waitingSince: count.optional(),
      parentID: text.optional(),
      toolSince: count.optional(),
      toolInput: text.optional(),
      question: text.optional(),
      lastWords: text.optional(),
      quietSince: count.optional(),
      filesChanged: count.optional(),
      endedAt: count.optional(),
      endedBy: text.optional(),
      outcome: text.optional(),
      costUsd: count.optional(),
      tokens: count.optional(),
    }),
  ),
  incidents: z.array(
    z.object({
      kind: text,
      startedAt: text,
      endedAt: text.optional(),
      outcome: text.optional(),
      /** Hidden without the token. */
      says: text.optional(),
    }),
  ),
  openIncidents: count,
  withheld: text.optional(),
  restarts: z.array(
    z.object({ at: text, reason: text, tookMs: count.optional(), error: text.optional() }),
  ),
});

export type DaemonStatus = z.infer<typeof schema>;

/** @throws ExitError if the body is something else */
export function readStatus(body: unknown): DaemonStatus {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue === undefined ? '' : ` (${issue.path.join('.')}: ${issue.message})`;
  throw new ExitError(
    EXIT.failed,
    `the answer of the daemon is not what this version reads${where}: are both of one version?`,
  );
}
