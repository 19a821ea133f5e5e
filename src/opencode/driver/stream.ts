/** A run as an async iterator of what happens in it, for callers that read rather than give callbacks. */
import type { PromptResult, RunStep, ToolCall, WaitOptions } from './types.js';

export type StreamEvent =
  /** What the reply's text has gained. */
  | { type: 'text'; text: string }
  /** A tool was called, or has ended. */
  | ({ type: 'tool' } & ToolCall)
  /** A model request with its tools has ended. */
  | ({ type: 'step' } & RunStep)
  | { type: 'notice'; message: string }
  /** The last one. */
  | { type: 'reply'; reply: PromptResult };

export type StreamCallbacks = Required<
  Pick<WaitOptions, 'onText' | 'onTool' | 'onStep' | 'onNotice'>
> & { signal: AbortSignal };

/**
 * Whoever stops reading before the end ends the run: it is aborted, and its session deleted. A slow reader gets text in
 * larger pieces.
 *
 * @throws DriverError in place of the reply
 */
export async function* streamOf(
  run: (callbacks: StreamCallbacks) => Promise<PromptResult>,
  signal?: AbortSignal,
): AsyncGenerator<StreamEvent, void, void> {
  const stop = new AbortController();
  const events: StreamEvent[] = [];
  let ring = () => {};
  const push = (event: StreamEvent) => {
    const last = events.at(-1);
    if (event.type === 'text' && last?.type === 'text') last.text += event.text;
    else events.push(event);
    ring();
  };
  let isOver = false;
  const running = run({
    signal: signal ? AbortSignal.any([signal, stop.signal]) : stop.signal,
    onText: (text) => push({ type: 'text', text }),
    onTool: (tool) => push({ type: 'tool', ...tool }),
    onStep: (step) => push({ type: 'step', ...step }),
    onNotice: (message) => push({ type: 'notice', message }),
  });
  const ended = running.then(
    (reply) => push({ type: 'reply', reply }),
    // Told where it is awaited, below.
    () => {},
  );
  const over = ended.finally(() => {
    isOver = true;
    ring();
  });
  try {
    for (;;) {
      const next = events.shift();
      if (next !== undefined) yield next;
      else if (isOver) break;
      else {
        await new Promise<void>((resolve) => {
          ring = resolve;
        });
      }
    }
    await running;
  } finally {
    stop.abort();
    await over;
  }
}
