/**
 * The answer to an act that was decided but is not done, because of `dryRun`, a pause, or a replay by another policy.
 */
import type { Act } from './decision.js';
import type { Observation } from './observation.js';

/** Undefined if the state machine waits for no answer. */
export function skipped(act: Act, at: number): Observation | undefined {
  switch (act.act) {
    case 'abort':
      return { kind: 'abort.skipped', at, sessionID: act.sessionID };
    case 'start':
    case 'restart':
      return { kind: 'restart.skipped', at };
    case 'continue_process':
      return { kind: 'continue_process.skipped', at };
    case 'continue':
      return { kind: 'continue.skipped', at, sessionID: act.sessionID };
    case 'dispose':
      return { kind: 'dispose.skipped', at, directory: act.directory };
    case 'reject': {
      const { requestID } = act.request;
      return { kind: 'reject.skipped', at, sessionID: act.sessionID, requestID };
    }
    case 'inspect':
    case 'withdraw':
    case 'give_up':
      return undefined;
  }
}

/** Whether a person asked for the act. Such acts are done in a pause too. */
export function isManual(act: Act): boolean {
  return (act.act === 'restart' || act.act === 'abort') && act.reason === 'manual';
}
