/**
 * Disposes one directory of a real server and verifies it, by driving the steps of `dispose-steps.ts` with its client.
 */
import { type Clock, sleep } from '../../lib/clock.js';
import { eachLimited } from '../../lib/semaphore.js';
import { messageOf, OpencodeError } from '../http/errors.js';
import { normaliseDirectory } from '../monitor/directories.js';
import type { ServerApi } from '../server-api.js';
import {
  type DisposeOptions,
  type DisposeOutcome,
  type DisposeStep,
  disposeSteps,
} from './dispose-steps.js';

/** Sessions whose directory is asked for at a time. At the limit: the rest wait. */
const MAX_AT_ONCE = 4;

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
  const { directory, stop } = request;
  const sent = { words: 'was sent and not answered', isFinal: false };
  let isSent = false;
  const steps = disposeSteps(
    { now: () => clock.now(), isStopping: () => stop.aborted, answer: () => sent },
    request,
  );
  const perform = async (step: DisposeStep): Promise<void> => {
    switch (step.step) {
      case 'check':
        await look(client, request, step, !isSent);
        return;
      case 'send':
        isSent = true;
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

/** @param mustFindOthers once it is sent, only the sessions that it is meant for matter */
async function look(
  client: ServerApi,
  { directory, known, stop }: DisposeRequest,
  { withinMs, take }: Extract<DisposeStep, { step: 'check' }>,
  mustFindOthers: boolean,
): Promise<void> {
  try {
    const ids = [...(await client.statuses(directory, stop, withinMs)).keys()];
    if (client.statusScope === 'directory') return take(new Set(ids));
    // A list of the whole server does not say which sessions run in this directory. The watchdog knew it when it
    // decided, and runs may have begun since then.
    const here = new Set(ids.filter((id) => known.includes(id)));
    const others = mustFindOthers ? ids.filter((id) => !here.has(id)) : [];
    let unplaced: string | undefined;
    await eachLimited(others, MAX_AT_ONCE, async (id) => {
      // One is enough to hold the dispose back.
      if (unplaced !== undefined) return;
      const session = await client.session(id, undefined, stop, withinMs).catch(() => undefined);
      const own = session?.directory;
      if (own === undefined) unplaced = id;
      else if (normaliseDirectory(own) === normaliseDirectory(directory)) here.add(id);
    });
    take(here, unplaced);
  } catch {
    take(undefined);
  }
}
