/** A run as an async iterator of its events, for callers that prefer reading to callbacks. */
import type { PromptResult, RunStep, ToolCall, WaitOptions } from './types.js';

export type StreamEvent =
  /** New text of the reply. */
  | { type: 'text'; text: string }
  /** A tool was called, or has ended. */
  | ({ type: 'tool' } & ToolCall)
  /** A model request with its tools has ended. */
  | ({ type: 'step' } & RunStep)
  | { type: 'notice'; message: string }
  /** The last event. */
  | { type: 'reply'; reply: PromptResult };

export type StreamCallbacks = Required<
  Pick<WaitOptions, 'onText' | 'onTool' | 'onStep' | 'onNotice'>
> & { signal: AbortSignal };

/**
 * If the caller stops reading before the end, the run is aborted and its session deleted. A slow reader gets text in
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
    // The error is thrown where `running` is awaited, below.
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
