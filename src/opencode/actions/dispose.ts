/**
 * Disposes one directory of a real server and verifies it, by driving the steps of `dispose-steps.ts` with its client.
 */
import { type Clock, sleep } from '../../lib/clock.js';
import { messageOf, OpencodeError } from '../http/errors.js';
import type { ServerApi } from '../server-api.js';
import {
  type DisposeOptions,
  type DisposeOutcome,
  type DisposeStep,
  disposeSteps,
  type Running,
} from './dispose-steps.js';

export interface DisposeRequest extends DisposeOptions {
  /** Ends the wait for the verification. */
  stop: AbortSignal;
}

/** Never rejects. */
export async function disposeDirectory(
  client: ServerApi,
  clock: Clock,
  request: DisposeRequest,
): Promise<DisposeOutcome> {
  const { directory, known, stop } = request;
  const sent = { words: 'was sent and not answered', isFinal: false };
  const steps = disposeSteps(
    { now: () => clock.now(), isStopping: () => stop.aborted, answer: () => sent },
    request,
  );
  const perform = async (step: DisposeStep): Promise<void> => {
    switch (step.step) {
      case 'check':
        step.take(await running(client, directory, known, step.withinMs, stop));
        return;
      case 'send':
        client.dispose(directory, undefined, step.withinMs).then(
          () => {
            sent.words = 'was answered';
          },
          (error: unknown) => {
            if (error instanceof OpencodeError && error.kind === 'timeout') return;
            sent.words = messageOf(error);
            sent.isFinal = isFinal(error);
          },
        );
        return;
      case 'wait':
        await sleep(clock, step.ms, stop).catch(() => {});
    }
  };
  let next = steps.next();
  for (; !next.done; next = steps.next()) await perform(next.value);
  return next.value;
}

/**
 * Nobody listens, the server has no such route, or it refuses our credentials. After a 5xx or a broken connection the
 * dispose may still have worked.
 */
function isFinal(error: unknown): boolean {
  if (!(error instanceof OpencodeError)) return true;
  switch (error.kind) {
    case 'refused':
    case 'unauthorized':
    case 'not_opencode':
      return true;
    case 'http':
      return (error.statusCode ?? 0) < 500;
    default:
      return false;
  }
}

async function running(
  client: ServerApi,
  directory: string,
  known: readonly string[],
  withinMs: number,
  stop: AbortSignal,
): Promise<Running> {
  try {
    const ids = [...(await client.statuses(directory, stop, withinMs)).keys()];
    // A list of the whole server does not say which sessions run in this directory, but the watchdog knows.
    return new Set(client.statusScope === 'server' ? ids.filter((id) => known.includes(id)) : ids);
  } catch {
    return undefined;
  }
}
