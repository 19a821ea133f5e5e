/** Many prompts, a bounded number at a time, each a safe run of its own; a result for each as it ends. */
import { MAX_NOTICES } from '../monitor/notice.js';
import type { OpencodeDriver } from './driver.js';
import { asDriverError, type DriverError } from './error.js';
import type { PromptOptions, PromptResult } from './types.js';

export interface BatchTask extends Omit<PromptOptions, 'onText' | 'onNotice' | 'signal'> {
  /** Names the task in its result; its number by default, from 1. */
  id?: string;
}

export type BatchResult = { id: string; index: number; notices: string[] } & (
  | { ok: true; reply: PromptResult }
  | { ok: false; error: DriverError }
);

export interface BatchOptions {
  /** Default: 4. */
  concurrency?: number;
  /** Aborts and deletes what runs; tasks that were not begun are not begun, and have no result. */
  signal?: AbortSignal;
  onStart?: (id: string) => void;
}

const DEFAULT_CONCURRENCY = 4;

/** Results come in the order in which the tasks end. Whoever stops reading ends what runs. */
export async function* runBatch(
  driver: OpencodeDriver,
  tasks: Iterable<BatchTask>,
  { concurrency = DEFAULT_CONCURRENCY, signal, onStart }: BatchOptions = {},
): AsyncGenerator<BatchResult, void, void> {
  const stop = new AbortController();
  const onAbort = () => stop.abort();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  const waiting = [...tasks].entries();
  const running = new Map<number, Promise<BatchResult>>();
  const begin = () => {
    while (running.size < Math.max(1, concurrency) && !stop.signal.aborted) {
      const { done, value } = waiting.next();
      if (done) return;
      const [index, task] = value;
      const id = task.id ?? String(index + 1);
      onStart?.(id);
      running.set(index, runTask(driver, task, id, index, stop.signal));
    }
  };
  try {
    for (begin(); running.size > 0; begin()) {
      const result = await Promise.race(running.values());
      running.delete(result.index);
      yield result;
    }
  } finally {
    stop.abort();
    signal?.removeEventListener('abort', onAbort);
    await Promise.all(running.values());
  }
}

/** Never rejects. */
async function runTask(
  driver: OpencodeDriver,
  { id: _, ...task }: BatchTask,
  id: string,
  index: number,
  signal: AbortSignal,
): Promise<BatchResult> {
  const notices: string[] = [];
  const base = { id, index, notices };
  try {
    const onNotice = (message: string) => {
      if (notices.length < MAX_NOTICES) notices.push(message);
    };
    return { ...base, ok: true, reply: await driver.prompt({ ...task, signal, onNotice }) };
  } catch (error) {
    return { ...base, ok: false, error: asDriverError(error) };
  }
}
