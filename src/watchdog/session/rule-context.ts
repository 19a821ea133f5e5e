/** What the rules about sessions share: the limits, a voice, and what they must know of the server. */
import type { Decision } from '../decision.js';
import type { CutsElsewhere } from '../group/cuts-elsewhere.js';
import type { Failover } from '../group/failover.js';
import type { ProviderOutages } from '../group/provider-outage.js';
import type { Policy } from '../policy.js';
import type { Run, Session } from './state.js';

export interface Context {
  readonly policy: Policy;
  readonly outages: ProviderOutages;
  readonly cuts: CutsElsewhere;
  readonly failover: Failover;
  emit(decision: Decision): void;
  /** Whether the server can be asked to abort now. */
  canAct(): boolean;
  /** Why no abort can be sent at all, not even a person's; undefined where one can. */
  whyNoAbort(): string | undefined;
  /** Whether it answered when it was last asked: what fails now is not for its silence. */
  isAnswering(): boolean;
  /** Whether the server's process may be restarted at all. */
  canRestart(): boolean;
  /** How long an abort that is sent now may take to be seen to work, ms. */
  verifyMs(at: number): number;
  /** Whether it is not responding just now. */
  isUnresponsive(): boolean;
  /** For how long of the time since then the server was not responding, ms. */
  unresponsiveMsSince(since: number): number;
  /** Has the run wait for its quota, which is back then; false where that is not asked for, or not possible. */
  park(session: Session, run: Run, until: number, at: number): boolean;
  /** Nothing but a person continues it (`recover.quarantineAfter`). */
  isQuarantined(sessionID: string): boolean;
  /** A run of the session begins, whoever prompted it; or one is over. */
  runBegan(sessionID: string): void;
  runOver(sessionID: string, at: number): void;
  /** Who is well, and may go on after a crash, has changed. */
  healthChanged(): void;
  /** Asks to be woken, and for this session to be judged then where one is named. */
  wakeAt(at: number, session?: Session): void;
}
