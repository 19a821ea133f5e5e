/** One safe run: check, new session, send, bounded wait, delete. If a model fails, the next one gets a new session. */
import type { Clock } from '../../lib/clock.js';

import { type Attempt, asDriverError, DriverError, isModelsFault } from './error.js';
import { checkLimits, DEFAULT_TIMEOUT_MS } from './limits.js';
import { modelName, parseModel } from './model.js';
import type {
  ContextText,
  NewSession,
  PromptOptions,
  PromptResult,
  Reply,
  SendOptions,
  SessionRef,
  WaitOptions,
} from './types.js';
import { type Wall, within } from './wall.js';

/** If there is another model to try, a second failure is enough. */
const FALLBACK_ATTEMPTS = 2;

/** The steps that the driver provides. */
export interface PromptDeps {
  clock: Clock;
  notice: (message: string) => void;
  assertUp(signal: AbortSignal): Promise<void>;
  createSession(options: NewSession): Promise<SessionRef>;
  /** A session's last answer, as context. */
  lastAnswer(sessionID: string, signal: AbortSignal): Promise<ContextText>;
  send(
    session: SessionRef,
    text: string,
    options: SendOptions & WaitOptions,
    wall: Wall,
  ): Promise<Reply>;
  /** Ends the session if it was not seen at rest already, deletes it, and checks that it is gone. */
  remove(session: SessionRef, isAtRest: boolean): Promise<void>;
}

/** @throws DriverError with all that was tried */
export async function runPrompt(deps: PromptDeps, options: PromptOptions): Promise<PromptResult> {
  const { deadlineMs, signal } = options;
  checkLimits(options);
  const tries: Attempt[] = [];
  try {
    if (deadlineMs === undefined) return await tryEach(deps, options, tries, signal);
    const whole = { ms: deadlineMs, signal, says: ', the time for all tries together' };
    return await within(deps.clock, whole, (wall) => tryEach(deps, options, tries, wall.signal));
  } catch (error) {
    throw asDriverError(error).with({ tries });
  }
}

/** Returns the reply of the first model that answers. */
async function tryEach(
  deps: PromptDeps,
  options: PromptOptions,
  tries: Attempt[],
  signal: AbortSignal | undefined,
): Promise<PromptResult> {
  const { model, fallback = [], timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const models = [model, ...fallback].map((each) =>
    each === undefined ? undefined : modelName(parseModel(each)),
  );
  for (const [index, name] of models.entries()) {
    const isLast = index === models.length - 1;
    const attempt: Attempt = name === undefined ? {} : { model: name };
    tries.push(attempt);
    try {
      const reply = await within(deps.clock, { ms: timeoutMs, signal }, async (wall) => {
        if (index === 0) await deps.assertUp(wall.signal);
        return once(deps, options, name, isLast, attempt, wall);
      });
      return { ...reply, tries };
    } catch (error) {
      const failure = asDriverError(error);
      attempt.error = { kind: failure.kind, message: failure.message };
      if (isLast || signal?.aborted || !isModelsFault(failure)) throw failure;
      deps.notice(`${name ?? 'the default model'} failed: ${failure.message}`);
      deps.notice(`trying ${models[index + 1]} in a new session`);
    }
  }
  throw new DriverError('usage', 'no model was given.');
}

async function once(
  deps: PromptDeps,
  options: PromptOptions,
  model: string | undefined,
  isLast: boolean,
  attempt: Attempt,
  wall: Wall,
): Promise<Omit<PromptResult, 'tries'>> {
  const { fromSession, context = [] } = options;
  // Read once for each try, so that a failure to read it is reported before a session is created.
  const before = fromSession === undefined ? [] : [await deps.lastAnswer(fromSession, wall.signal)];
  const { prompt, title = prompt, directory, agent, permission, parentID, keep = false } = options;
  const { signal } = wall;
  const session = await deps.createSession({
    title,
    signal,
    ...(directory !== undefined && { directory }),
    ...(agent !== undefined && { agent }),
    ...(permission && { permission }),
    ...(parentID !== undefined && { parentID }),
  });
  attempt.sessionID = session.id;
  const { model: _, ...rest } = options;
  let reply: Reply;
  try {
    const wish = {
      ...(isLast ? {} : { maxAttempts: FALLBACK_ATTEMPTS }),
      ...rest,
      context: [...before, ...context],
      ...(model !== undefined && { model }),
    };
    reply = await deps.send(session, prompt, wish, wall);
  } catch (error) {
    const failure = asDriverError(error).with({ sessionID: session.id });
    // A run that could not be ended would go on unseen if its session were deleted. The error says what to do.
    const isStuck = failure.details.aborted === false;
    const deleted = keep || isStuck ? false : await leave(deps, session, false);
    throw failure.with({ deleted });
  }
  const deleted = keep ? false : await leave(deps, session, true);
  return { ...reply, deleted };
}

/** A session that cannot be deleted does not spoil the reply, but a notice reports it. */
async function leave(
  { remove, notice }: PromptDeps,
  session: SessionRef,
  isAtRest: boolean,
): Promise<boolean> {
  try {
    await remove(session, isAtRest);
    return true;
  } catch (error) {
    const { kind, message } = asDriverError(error);
    if (kind === 'session_not_found') return true;
    notice(`the session ${session.id} is left behind: ${message}`);
    return false;
  }
}
