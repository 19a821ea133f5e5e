/** What the rules about sessions share: the limits, the output, and what they must know about the server. */
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
  /** Whether a person has paused the acts. What is left undone then is done when the pause ends. */
  isPaused(): boolean;
  /** Why no abort can be sent at all, not even a person's; undefined if one can. */
  whyNoAbort(): string | undefined;
  /** Whether the server has answered its latest probes. If so, a failure is not due to its silence. */
  isAnswering(): boolean;
  /** Whether the server's process may be restarted at all. */
  canRestart(): boolean;
  /** How long an abort that is sent now may take to be seen to work, ms. */
  verifyMs(at: number): number;
  /** Whether the server is not responding just now. */
  isUnresponsive(): boolean;
  /** How long the server was not responding since then, ms. */
  unresponsiveMsSince(since: number): number;
  /** Whether a dispose of this directory by the watchdog is under way. */
  isDisposing(directory: string | undefined): boolean;
  /** Parks the run until its quota is back, at `until`. Returns false if that is not asked for, or not possible. */
  park(session: Session, run: Run, until: number, at: number): boolean;
  /** Whether only a person may continue the session (`recover.quarantineAfter`). */
  isQuarantined(sessionID: string): boolean;
  /** A run of the session begins, whoever prompted it, or (`runOver`) is over. */
  runBegan(sessionID: string): void;
  runOver(sessionID: string, at: number): void;
  /** A session's health has changed, and with it which runs may go on after a crash. */
  healthChanged(): void;
  /** Asks for a review at `at`, of this session if one is named. */
  wakeAt(at: number, session?: Session): void;
}
