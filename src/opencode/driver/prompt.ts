/** One safe run: check, new session, send, bounded wait, delete; the next model in a new session when one is down. */
import type { OpencodeDriver } from './driver.js';
import { type Attempt, asDriverError, DriverError, isModelsFault } from './error.js';
import { modelName, parseModel } from './model.js';
import type { SessionRef } from './run.js';
import type { PromptOptions, PromptResult, Reply } from './types.js';

/** With another model to turn to, a second failure is enough. */
const FALLBACK_ATTEMPTS = 2;

/** @throws DriverError with all that was tried */
export async function runPrompt(
  driver: OpencodeDriver,
  options: PromptOptions,
  notice: (message: string) => void,
): Promise<PromptResult> {
  const { model, fallback = [], signal } = options;
  const models = [model, ...fallback].map((each) =>
    each === undefined ? undefined : modelName(parseModel(each)),
  );
  await driver.assertUp(signal);
  const tries: Attempt[] = [];
  for (const [index, name] of models.entries()) {
    const isLast = index === models.length - 1;
    const attempt: Attempt = name === undefined ? {} : { model: name };
    tries.push(attempt);
    try {
      return { ...(await once(driver, options, name, isLast, attempt, notice)), tries };
    } catch (error) {
      const failure = asDriverError(error);
      attempt.error = { kind: failure.kind, message: failure.message };
      if (isLast || !isModelsFault(failure)) throw failure.with({ tries });
      notice(`${name ?? 'the default model'} failed: ${failure.message}`);
      notice(`trying ${models[index + 1]} in a new session`);
    }
  }
  throw new DriverError('usage', 'no model was given.');
}

async function once(
  driver: OpencodeDriver,
  options: PromptOptions,
  model: string | undefined,
  isLast: boolean,
  attempt: Attempt,
  notice: (message: string) => void,
): Promise<Omit<PromptResult, 'tries'>> {
  const { prompt, title = prompt, directory, agent, permission, keep = false } = options;
  const session = await driver.createSession({
    title,
    ...(directory !== undefined && { directory }),
    ...(agent !== undefined && { agent }),
    ...(permission && { permission }),
  });
  attempt.sessionID = session.id;
  const { model: _, ...rest } = options;
  let reply: Reply;
  try {
    reply = await driver.send(session, prompt, {
      ...(isLast ? {} : { maxAttempts: FALLBACK_ATTEMPTS }),
      ...rest,
      ...(model !== undefined && { model }),
    });
  } catch (error) {
    const failure = asDriverError(error).with({ sessionID: session.id });
    // A run that could not be ended would go on unseen without its session: the error says what to do.
    const isStuck = failure.details.aborted === false;
    const deleted = keep || isStuck ? false : await leave(driver, session, notice);
    throw failure.with({ deleted });
  }
  const deleted = keep ? false : await leave(driver, session, notice);
  return { ...reply, deleted };
}

/** A session that cannot be deleted does not spoil the reply; it is not passed over either. */
async function leave(
  driver: OpencodeDriver,
  session: SessionRef,
  notice: (message: string) => void,
): Promise<boolean> {
  try {
    await driver.delete(session);
    return true;
  } catch (error) {
    const { kind, message } = asDriverError(error);
    if (kind === 'session_not_found') return true;
    notice(`the session ${session.id} is left behind: ${message}`);
    return false;
  }
}
