/**
 * The tools of the MCP server: the driver's operations, with its results and errors in the form that `--json` prints.
 */
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import type { RequestHandlerExtra } from '@modelcontextprotocol/sdk/shared/protocol.js';
import type {
  CallToolResult,
  ServerNotification,
  ServerRequest,
} from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';
import { type Clock, sleep } from '../lib/clock.js';
import type { BatchResult } from '../opencode/driver/batch.js';
import type { OpencodeDriver } from '../opencode/driver/driver.js';
import { asDriverError, DriverError } from '../opencode/driver/error.js';
import { isActive } from '../opencode/driver/list-sessions.js';
import type { ModelList, PromptOptions } from '../opencode/driver/types.js';
import { jsonForm } from './json-form.js';
import type { BackgroundRun, BackgroundRuns, Outcome } from './mcp-runs.js';
import { packageVersion } from './shared.js';
import { duration, optionsOf, sessionName, taskFields, taskID } from './task.js';

/**
 * How long a call waits for a run. Clients usually end a call without an answer after 60 s (the SDK's default), and
 * would lose the run with it.
 */
const WAIT_MS = 50_000;
const PROGRESS_EVERY_MS = 5_000;
/** How long a run that nobody waits for may take: `start` is for long work. */
const START_TIMEOUT_MS = 10 * 60_000;
const DEFAULT_LIST = 50;

const INSTRUCTIONS = `Runs prompts on an opencode server without being caught in its retry loops.
- One job, one new session: "prompt" makes it, waits, and deletes it. There is no prompt into an old session; from_session takes an answer along.
- Durations have a unit: "60s", "5m".
- A run that is not done when a call has waited long enough goes on: call "result" with its run. "end" ends it.
- ok: false has error.kind and error.message, which says what to do. empty_reply and truncated are failures: read error.received before you ask again. unreachable: call "check" with start: true. Do not repeat a call that failed with usage, model_unknown or bad_model_spec: correct it.`;

const context = z
  .array(z.strictObject({ name: z.string(), text: z.string() }))
  .optional()
  .describe('texts that go before the prompt: an earlier plan, a log');
const wait = duration
  .optional()
  .describe('the call waits so long for the end, then says how far it is (50s)');
const asked = z.strictObject({ ...taskFields, context });
const run = z.string().describe('as "start", "prompt" or "batch" gave it');

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

export interface McpDeps {
  driver: OpencodeDriver;
  clock: Clock;
  runs: BackgroundRuns;
}

export function mcpServer(deps: McpDeps): McpServer {
  const { driver, runs } = deps;
  const server = new McpServer(
    { name: 'opencode-watchdog', version: packageVersion() },
    { instructions: INSTRUCTIONS },
  );
  const reads = { readOnlyHint: true, openWorldHint: false };

  server.registerTool(
    'check',
    {
      description:
        'Is the opencode server up, and has it a provider? With start, one is started where nobody listens.',
      inputSchema: z.strictObject({
        start: z.boolean().optional().describe('start a server where nobody listens'),
      }),
      annotations: { destructiveHint: false, idempotentHint: true, openWorldHint: false },
    },
    ({ start }, { signal }) => answered(() => driver.check({ start: start ?? false, signal })),
  );

  server.registerTool(
    'models',
    {
      description: 'The models that can be asked, with their limits and variants.',
      inputSchema: z.strictObject({
        all: z.boolean().optional().describe('those of providers that are not connected, too'),
      }),
      annotations: reads,
    },
    ({ all }, { signal }) =>
      answered(async () => shortList(await driver.models({ all: all ?? false, signal }))),
  );

  server.registerTool(
    'prompt',
    {
      description:
        'One prompt in a new session: waits for the answer, then deletes the session. The run may take 60s unless ' +
        'timeout says more. If it is not done after wait, the answer has running: true and a run for "result".',
      inputSchema: asked.extend({ wait }),
    },
    ({ wait: waitMs, ...task }, extra) =>
      answered(() => {
        const begun = beginPrompt(deps, promptOf(task));
        return awaited(deps, begun, waitMs ?? WAIT_MS, extra, { ownsRun: true });
      }),
  );

  server.registerTool(
    'start',
    {
      description:
        'As "prompt", for long work: gives a run at once, and "result" tells what came of it. The run may take 10m ' +
        'unless timeout says otherwise.',
      inputSchema: asked,
    },
    (task) =>
      answered(async () => {
        const begun = beginPrompt(deps, { timeoutMs: START_TIMEOUT_MS, ...promptOf(task) });
        return running(begun);
      }),
  );

  server.registerTool(
    'result',
    {
      description: 'What came of a run, or how far it is.',
      inputSchema: z.strictObject({ run, wait }),
      annotations: reads,
    },
    ({ run: id, wait: waitMs }, extra) =>
      answered(() => awaited(deps, runs.get(id), waitMs ?? WAIT_MS, extra, { ownsRun: false })),
  );

  server.registerTool(
    'batch',
    {
      description:
        'Many prompts, each in a new session of its own; one that fails holds up no other. If it is not done after ' +
        'wait, the answer has running: true and a run for "result".',
      inputSchema: z.strictObject({
        tasks: z.array(asked.extend({ id: taskID.optional() })).min(1),
        concurrency: z.number().int().positive().optional().describe('so many at a time (4)'),
        wait,
      }),
    },
    ({ tasks, concurrency, wait: waitMs }, extra) =>
      answered(() => {
        const all = tasks.map(({ id, ...task }) => ({
          ...promptOf(task),
          ...(id !== undefined && { id }),
        }));
        const begun = runs.begin(async ({ signal, onEnded }) => {
          await driver.assertUp(signal);
          const results: Record<string, unknown>[] = [];
          for await (const result of driver.batch(all, { concurrency, signal })) {
            results.push(resultOf(result));
            onEnded(results.length);
          }
          const ok = results.length === all.length && results.every((each) => each.ok === true);
          return { ok, results, notBegun: all.length - results.length };
        });
        return awaited(deps, begun, waitMs ?? WAIT_MS, extra, {
          ownsRun: true,
          tasks: all.length,
        });
      }),
  );

  server.registerTool(
    'sessions',
    {
      description: 'The sessions of all directories, and what each is doing.',
      inputSchema: z.strictObject({
        active: z.boolean().optional().describe('only those that are not ready'),
        limit: z.number().int().positive().optional().describe('the most recent ones (50)'),
      }),
      annotations: reads,
    },
    ({ active, limit }, { signal }) =>
      answered(async () => {
        const found = await driver.sessions({ limit: limit ?? DEFAULT_LIST, signal });
        return { sessions: found.filter(({ status }) => active !== true || isActive(status)) };
      }),
  );

  server.registerTool(
    'end',
    {
      description:
        'Ends a run that was begun here, with its session; or aborts the run of any session, and sees that it has ended.',
      inputSchema: z.strictObject({
        run: run.optional(),
        session: sessionName.optional().describe('its id'),
        delete: z.boolean().optional().describe('delete the session, too: its messages are lost'),
      }),
      annotations: { destructiveHint: true, idempotentHint: true },
    },
    ({ run: id, session, delete: isDeleted }) =>
      answered(async () => {
        if ((id === undefined) === (session === undefined)) {
          throw new DriverError('usage', 'expected a run or a session, and not both.');
        }
        if (id !== undefined) {
          const begun = runs.get(id);
          const wasRunning = begun.outcome === undefined;
          begun.stop();
          return { run: id, ended: wasRunning, result: await begun.ended };
        }
        const ref = { id: session ?? '' };
        if (isDeleted !== true) return { sessionID: ref.id, aborted: await driver.abort(ref) };
        await driver.delete(ref);
        return { sessionID: ref.id, deleted: true };
      }),
  );
  return server;
}

function promptOf({ context: texts, ...task }: z.infer<typeof asked>): PromptOptions {
  return { ...optionsOf(task), ...(texts && { context: texts }) };
}

function beginPrompt({ driver, runs }: McpDeps, options: PromptOptions): BackgroundRun {
  return runs.begin(async ({ signal, onText, onNotice }) => {
    const { text, ...reply } = await driver.prompt({ ...options, signal, onText, onNotice });
    return { ok: true, text, ...reply };
  });
}

/** Waits for the run's end and reports progress. If a call is cancelled, its own run is ended too. */
async function awaited(
  { clock }: McpDeps,
  begun: BackgroundRun,
  waitMs: number,
  extra: Extra,
  { ownsRun, tasks }: { ownsRun: boolean; tasks?: number },
): Promise<object> {
  const done = new AbortController();
  const reporting = report(clock, begun, extra, tasks, done.signal);
  const given = AbortSignal.any([extra.signal, done.signal]);
  try {
    const waited = sleep(clock, waitMs, given).catch(() => {});
    const outcome = await Promise.race([begun.ended, waited]);
    if (extra.signal.aborted && ownsRun) {
      begun.stop();
      return await begun.ended;
    }
    return outcome ?? running(begun);
  } finally {
    done.abort();
    await reporting;
  }
}

const running = (begun: BackgroundRun) => ({
  ok: true,
  running: true,
  ...begun.state(),
  next: `call "result" with run ${begun.id}, or "end" with it`,
});

/** Sends progress notifications if the client asks for them. Never rejects. */
async function report(
  clock: Clock,
  begun: BackgroundRun,
  { _meta, sendNotification }: Extra,
  tasks: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const progressToken = _meta?.progressToken;
  if (progressToken === undefined) return;
  try {
    for (;;) {
      await sleep(clock, PROGRESS_EVERY_MS, signal);
      const seconds = Math.round(begun.elapsedMs / 1_000);
      const message =
        tasks === undefined
          ? `${seconds} s`
          : `${begun.tasksEnded} of ${tasks} tasks ended, ${seconds} s`;
      // Progress is in seconds, because it has to grow and a task of a batch may take long.
      await sendNotification({
        method: 'notifications/progress',
        params: { progressToken, progress: seconds, message },
      });
    }
  } catch {
    // The call is over, or its client is gone: in both cases the wait ends too.
  }
}

function resultOf({ id, notices, ...result }: BatchResult): Record<string, unknown> {
  const told = notices.length > 0 ? { notices } : {};
  return result.ok
    ? { id, ok: true, ...result.reply, ...told }
    : { id, ok: false, error: result.error, ...told };
}

/** The list with its variants only by name: their options are for providers, and long. */
const shortList = ({ models, ...list }: ModelList) => ({
  ...list,
  models: models.map(({ variants = {}, ...model }) => ({
    ...model,
    variants: Object.keys(variants),
  })),
});

/** Answers with structured content, and with text for clients that do not read it, as the specification asks. */
async function answered(work: () => Promise<object>): Promise<CallToolResult> {
  let answer: Outcome;
  try {
    answer = { ok: true, ...(await work()) };
  } catch (error) {
    answer = { ok: false, error: asDriverError(error) };
  }
  const text = JSON.stringify(jsonForm(answer));
  return {
    content: [{ type: 'text', text }],
    structuredContent: JSON.parse(text) as Record<string, unknown>,
    ...(!answer.ok && 'error' in answer && { isError: true }),
  };
}
