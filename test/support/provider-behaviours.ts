/** What the fake model provider can do to a request: one entry for each marker, e.g. `[[stall 3]]`. */
import type { ServerResponse } from 'node:http';
import { pause } from './wait.js';

/** A marker taken apart: `[[flaky 2 id=a]]` is name `flaky`, args `['2']`, options `{id: 'a'}`. */
export interface Marker {
  name: string;
  /** Everything after the name, unchanged: a shell command, a subagent's prompt. */
  rest: string;
  args: string[];
  options: Record<string, string>;
  /** As written, with the brackets. */
  text: string;
}

export interface Call {
  marker: Marker;
  model: string;
  /** How many requests with exactly this marker (in this session) came before this one. */
  earlier: number;
  /** The API key that opencode sent. */
  apiKey: string;
  reply: Reply;
  /** True once the test has told the provider that this marker's answer may end (`FakeProvider.end`). */
  mayEnd(): boolean;
}

export type Behaviour = (call: Call) => void | Promise<void>;

const num = (text: string | undefined, otherwise: number): number =>
  text === undefined ? otherwise : Number(text);

const tool =
  (name: string, input: (marker: Marker) => Record<string, unknown>): Behaviour =>
  ({ reply, marker }) =>
    reply.toolCall(name, input(marker));

const ok: Behaviour = ({ reply }) => {
  reply.text('All done.');
  reply.finish();
};

/** Input tokens that an answer reports. Output tokens: 5. */
const USAGE = 10;

/** Two hours. opencode's own limit for a bash call is two minutes. */
const BASH_TIMEOUT_MS = 7_200_000;

export const behaviours: Record<string, Behaviour> = {
  ok,
  '429': ({ reply, marker }) => reply.error(429, 'Rate limit reached', marker.options),
  '500': ({ reply }) => reply.error(500, 'Internal server error'),
  '503': ({ reply }) => reply.error(503, 'Service Unavailable'),
  '401': ({ reply }) => reply.error(401, 'Incorrect API key provided'),
  '400': ({ reply }) => reply.error(400, 'Invalid request'),
  /** A 401 from a provider that repeats the key, as some do. */
  refused: ({ reply, apiKey }) => reply.error(401, `Incorrect API key provided: ${apiKey}`),

  /** 503 for the first N requests (with the given headers), then a reply. */
  flaky: (call) =>
    call.earlier < num(call.marker.args[0], 1)
      ? call.reply.error(503, 'Service Unavailable', call.marker.options)
      : ok(call),
  /** A quota of a minute (Gemini, Alibaba) for the first N requests, with the time until it ends, then a reply. */
  'quota-per-minute': (call) =>
    call.earlier < num(call.marker.args[0], 1)
      ? call.reply.error(
          429,
          'You exceeded your current quota, please check your plan and billing details. Please retry in 6s.',
          call.marker.options,
        )
      : ok(call),
  /** A reply if this model was asked. Every other model is down. */
  only: (call) =>
    call.model === call.marker.args[0] ? ok(call) : call.reply.error(503, 'Service Unavailable'),

  /**
   * Credits are spent. Plain: opencode's free tier. `quota`: OpenAI's. `go`: opencode Go's. `credits`: an empty
   * balance.
   */
  'usage-exhausted': ({ reply, marker }) => {
    const kind = marker.args[0] ?? 'free';
    const body = exhausted[kind];
    if (!body) throw new Error(`no such kind of exhaustion: ${kind}`);
    reply.json(kind === 'credits' ? 401 : 429, body, marker.options);
  },

  /** N chunks of text, MS apart, then the end: a long, healthy answer. */
  stream: async ({ reply, marker }) => {
    await reply.chunks(num(marker.args[0], 5), num(marker.args[1], 20), 'content');
    reply.finish();
  },
  /** Chunks of text, MS apart, until the test tells the provider that they may end. */
  'stream-on': async ({ reply, marker, mayEnd }) => {
    await reply.chunks(Number.POSITIVE_INFINITY, num(marker.args[0], 20), 'content', mayEnd);
    reply.finish();
  },
  /** N chunks of reasoning, MS apart, then a reply. */
  reason: async (call) => {
    const { args } = call.marker;
    await call.reply.chunks(num(args[0], 5), num(args[1], 20), 'reasoning_content');
    await ok(call);
  },
  /** An answer without words. `[[empty space]]` sends only white space, `[[empty thought]]` only reasoning. */
  empty: async ({ reply, marker }) => {
    if (marker.args[0] === 'space') reply.text(' \n');
    if (marker.args[0] === 'thought') await reply.chunks(3, 5, 'reasoning_content');
    reply.open();
    reply.finish();
  },
  /** N chunks, then the answer ends at the model's output limit. */
  length: async ({ reply, marker }) => {
    await reply.chunks(num(marker.args[0], 3), 5, 'content');
    reply.finish('length');
  },
  /** Writes a file, with some words first: `[[write FILE]]`, `[[write FILE CONTENT]]`. */
  write: ({ reply, marker }) => {
    const [filePath, ...words] = marker.args;
    reply.text('Let me write it.');
    reply.toolCall('write', { filePath, content: words.join(' ') || 'written' });
  },
  hang: () => {},
  'hang-headers': ({ reply }) => reply.open(),
  /** N chunks, then silence on an open connection. */
  stall: ({ reply, marker }) => reply.chunks(num(marker.args[0], 3), 5, 'content'),
  /** N chunks, then the connection is cut. */
  midfail: async ({ reply, marker }) => {
    await reply.chunks(num(marker.args[0], 3), 5, 'content');
    // A reset overtakes data that is still on its way: let the chunks arrive first.
    await pause(100);
    reply.cut();
  },

  bash: tool('bash', ({ rest }) => ({
    command: rest,
    description: 'Runs the test command',
    timeout: BASH_TIMEOUT_MS,
  })),
  /**
   * The subagent's own markers are written with braces: `[[task {{hang}} please]]`. Those of the subagent's subagent
   * are written with parentheses: `[[task {{task ((hang))}}]]`.
   */
  task: tool('task', ({ rest }) => ({
    description: 'Test subtask',
    prompt: rest
      .replaceAll('{{', '[[')
      .replaceAll('}}', ']]')
      .replaceAll('((', '{{')
      .replaceAll('))', '}}'),
    subagent_type: 'general',
  })),
  /** A complete answer without a body, for ever. opencode asks again at once (facts, section 10). */
  'nothing-forever': ({ reply }) => reply.nothing(),
  /** `[[calls …]]` (see `stepOf`), then a reply. */
  calls: async (call) => {
    const step = stepOf(call);
    if (step === undefined) return ok(call);
    await pause(step.waitMs);
    call.reply.toolCalls(step.calls, step.usage);
  },
  /**
   * `[[say N MS TEXT]]`: this text N times (`forever`: without end), MS apart. `%n` is the number of the repetition,
   * from 0.
   */
  say: async ({ reply, marker }) => {
    const [count = '1', ms = '0', ...words] = marker.rest.split(' ');
    const text = `${words.join(' ')}\n`;
    reply.open();
    for (let nth = 0; nth < timesOf(count) && !reply.isGone; nth += 1) {
      if (nth > 0) await pause(Number(ms));
      reply.text(text.replaceAll('%n', String(nth)));
    }
    reply.finish();
  },
  question: tool('question', () => ({
    questions: [
      {
        question: 'Which way?',
        header: 'Way',
        options: [
          { label: 'left', description: 'Go left' },
          { label: 'right', description: 'Go right' },
        ],
      },
    ],
  })),
};

/** Behaviours that continue past the last marker, until they answer by themselves. */
export const ENDLESS: ReadonlySet<string> = new Set(['calls', 'nothing-forever']);

interface ToolCall {
  name: string;
  input: Record<string, unknown>;
}

/** Enough tokens to fill any context. */
const FULL = 1_000_000;
const timesOf = (count: string): number =>
  count === 'forever' ? Number.POSITIVE_INFINITY : Number(count);

/**
 * `[[calls N TOOL JSON | TOOL JSON …]]`: N steps (`forever`: without end) of one call each, which take these calls in
 * turn. `%n` in the JSON is the step's number, `%i` the call's. Options before the tool: `wait=MS` before each answer,
 * `parallel=N` calls in each step, `full=N`: every Nth step reports that the context is full.
 */
function stepOf({
  marker,
  earlier,
}: Call): { calls: ToolCall[]; waitMs: number; usage: number } | undefined {
  const { options, rest } = marker;
  const [count = '1', ...words] = rest.split(/\s+/).filter((word) => !OPTION.test(word));
  if (earlier >= timesOf(count)) return undefined;
  const choices = words.join(' ').split(' | ');
  const [name = '', ...json] = (choices[earlier % choices.length] ?? '').split(' ');
  const calls = Array.from({ length: num(options.parallel, 1) }, (_, nth) => {
    const text = json.join(' ').replaceAll('%n', String(earlier)).replaceAll('%i', String(nth));
    return { name, input: JSON.parse(text) as Record<string, unknown> };
  });
  const every = num(options.full, 0);
  const isFull = every > 0 && (earlier + 1) % every === 0;
  return { calls, waitMs: num(options.wait, 0), usage: isFull ? FULL : USAGE };
}

const exhausted: Record<string, unknown> = {
  free: {
    type: 'error',
    error: { type: 'FreeUsageLimitError', message: 'Free usage exceeded, add credits' },
  },
  go: {
    type: 'error',
    error: { type: 'GoUsageLimitError', message: 'Usage limit reached' },
    metadata: { workspace: 'wrk_test', limitName: 'Weekly' },
  },
  credits: {
    type: 'error',
    error: { type: 'CreditsError', message: 'Insufficient balance. Add credits to continue.' },
  },
  quota: {
    error: {
      message: 'You exceeded your current quota, please check your plan and billing details.',
      type: 'insufficient_quota',
      param: null,
      code: 'insufficient_quota',
    },
  },
};

/**
 * `summary-after=MS` anywhere in a conversation: how long the model is silent before it summarises the conversation.
 */
export function summaryDelay(conversation: string): number {
  return num(/summary-after=(\d+)/.exec(conversation)?.[1], 0);
}

const MARKER = /\[\[\s*(.+?)\s*\]\]/gs;
const OPTION = /^([a-z-]+)=(.*)$/;

/** The markers in a prompt, in order: step N of a run behaves as the Nth marker says, later steps as `ok`. */
export function parseMarkers(prompt: string): Marker[] {
  return Array.from(prompt.matchAll(MARKER), ([text, inner = '']) => {
    const [name = '', ...words] = inner.split(/\s+/);
    const options = words.flatMap((word) => {
      const match = OPTION.exec(word);
      return match ? [[match[1] ?? '', match[2] ?? ''] as const] : [];
    });
    return {
      name,
      text,
      rest: inner.slice(name.length).trim(),
      args: words.filter((word) => !OPTION.test(word)),
      options: Object.fromEntries(options),
    };
  });
}

/** Writes the OpenAI wire format to one response. */
export class Reply {
  /** We broke the connection, not the client. */
  wasCut = false;

  constructor(
    private readonly res: ServerResponse,
    private readonly model: string,
    private readonly id: string,
  ) {}

  /** The client no longer reads. */
  get isGone(): boolean {
    return this.res.destroyed;
  }

  open(): void {
    if (this.res.headersSent) return;
    this.res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    this.res.flushHeaders();
  }

  nothing(): void {
    this.open();
    this.res.end();
  }

  text(content: string): void {
    this.delta({ role: 'assistant', content });
  }

  async chunks(
    count: number,
    ms: number,
    field: 'content' | 'reasoning_content',
    mayEnd = () => false,
  ): Promise<void> {
    this.open();
    for (let i = 0; i < count && !this.res.destroyed && !mayEnd(); i++) {
      if (i > 0) await pause(ms);
      this.delta({ role: 'assistant', [field]: `chunk ${i} ` });
    }
  }

  toolCall(name: string, input: Record<string, unknown>): void {
    this.toolCalls([{ name, input }]);
  }

  toolCalls(calls: readonly ToolCall[], promptTokens?: number): void {
    this.delta({
      role: 'assistant',
      tool_calls: calls.map(({ name, input }, index) => ({
        index,
        id: `call_${this.id}${index === 0 ? '' : `_${index}`}`,
        type: 'function',
        function: { name, arguments: JSON.stringify(input) },
      })),
    });
    this.finish('tool_calls', promptTokens);
  }

  finish(reason = 'stop', promptTokens = USAGE): void {
    const usage = {
      prompt_tokens: promptTokens,
      completion_tokens: 5,
      total_tokens: promptTokens + 5,
    };
    this.send({ choices: [{ index: 0, delta: {}, finish_reason: reason }] });
    this.send({ choices: [], usage });
    this.write('data: [DONE]\n\n');
    this.res.end();
  }

  error(status: number, message: string, headers: Record<string, string> = {}): void {
    this.json(status, { error: { message, type: 'error', code: String(status) } }, headers);
  }

  json(status: number, body: unknown, headers: Record<string, string> = {}): void {
    if (this.res.destroyed) return;
    this.res.writeHead(status, { ...headers, 'content-type': 'application/json' });
    this.res.end(JSON.stringify(body));
  }

  cut(): void {
    this.wasCut = true;
    this.res.destroy();
  }

  private delta(delta: Record<string, unknown>): void {
    this.open();
    this.send({ choices: [{ index: 0, delta, finish_reason: null }] });
  }

  private send(part: Record<string, unknown>): void {
    const created = Math.floor(Date.now() / 1000);
    const head = { id: `chatcmpl-${this.id}`, object: 'chat.completion.chunk', created };
    this.write(`data: ${JSON.stringify({ ...head, model: this.model, ...part })}\n\n`);
  }

  private write(text: string): void {
    if (!this.res.destroyed) this.res.write(text);
  }
}
