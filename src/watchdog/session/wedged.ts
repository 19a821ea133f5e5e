/**
 * A wedged run: aborts do not end it. Its directory is disposed, then the server is restarted, or a person must take
 * care of it.
 */

import type { StuckReason, WedgedNext } from '../decision.js';
import type { Context } from './rule-context.js';
import { fieldsOf, type Run, type Session } from './state.js';

export function wedge(
  context: Context,
  session: Session,
  run: Run,
  abortFlow: { reason: StuckReason; since: number; tries: number },
): void {
  const next = disposeMayHelp(context, run) ? 'dispose' : nextBut(context);
  run.abortFlow = { phase: 'wedged', ...abortFlow, next, disposed: false };
  sayWedged(context, session, abortFlow, next);
}

/** Whether a dispose of the run's directory is possible at all. */
function disposeMayHelp({ policy }: Context, run: Run): boolean {
  return policy.abort.dispose && run.directory !== undefined;
}

const nextBut = (context: Context): WedgedNext => (context.canRestart() ? 'restart' : 'nothing');

/**
 * The directory that is to be disposed for this wedged session; undefined if a dispose is not, or no longer, the next
 * step.
 */
export function disposedFor(context: Context, { run }: Session): string | undefined {
  const abortFlow = run?.abortFlow;
  if (run === undefined || abortFlow?.phase !== 'wedged' || abortFlow.disposed) return undefined;
  return disposeMayHelp(context, run) ? run.directory : undefined;
}

/** The dispose of its directory did not end the run. The next step is a restart, if restarts are allowed. */
export function disposeDidNotHelp(context: Context, session: Session): void {
  const abortFlow = session.run?.abortFlow;
  if (abortFlow?.phase !== 'wedged' || abortFlow.disposed) return;
  abortFlow.disposed = true;
  abortFlow.next = nextBut(context);
  sayWedged(context, session, abortFlow, abortFlow.next);
}

/** No dispose and no restart will be made for the session. A person is told, once. */
export function nothingHelps(context: Context, session: Session): void {
  const abortFlow = session.run?.abortFlow;
  if (abortFlow?.phase !== 'wedged' || abortFlow.next === 'nothing') return;
  abortFlow.next = 'nothing';
  sayWedged(context, session, abortFlow, abortFlow.next);
}

/** Whether the session is wedged, and its attempt in flight does not work either. */
export function isWedgedNow({ health }: Session): boolean {
  return health === 'wedged';
}

/** Whether the wedged session is left to a person. */
export function isLeft({ run }: Session): boolean {
  return run?.abortFlow?.phase === 'wedged' && run.abortFlow.next === 'nothing';
}

function sayWedged(
  context: Context,
  session: Session,
  { reason, tries }: { reason: StuckReason; tries: number },
  next: WedgedNext,
): void {
  context.emit({ note: 'session.wedged', ...fieldsOf(session), reason, tries, next });
}
