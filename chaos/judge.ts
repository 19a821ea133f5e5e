/** All laws together. They get every piece of evidence in the order in which it was observed. */
import type { Evidence, Law, Violation } from './evidence.js';
import { DaemonLives } from './laws/daemon-lives.js';
import { DisposeSpares } from './laws/dispose-spares.js';
import { HealthyUntouched } from './laws/healthy-untouched.js';
import { History } from './laws/history.js';
import { LoggedOnce } from './laws/logged-once.js';
import { NoOrphan } from './laws/no-orphan.js';
import { NoSecret } from './laws/no-secret.js';
import { OneServer } from './laws/one-server.js';
import { Recovers } from './laws/recovers.js';
import { RestartJustified } from './laws/restart-justified.js';
import { StuckEnded } from './laws/stuck-ended.js';
import { WaysBack } from './laws/ways-back.js';
import type { Limits } from './limits.js';

export interface JudgeOptions {
  limits: Limits;
  secrets: Readonly<Record<string, string>>;
  /** On top of the limit and the verification, ms. */
  slackMs: number;
  /** The most that may pass from the end of the last fault to a healthy server, ms. */
  recoverMs: number;
  /** False if the daemon only observes. */
  startsServer?: boolean;
}

export class Judge {
  readonly history = new History();
  readonly laws: readonly Law[];
  readonly #told: number[] = [];
  readonly stuckEnded: StuckEnded;
  readonly recovers: Recovers;
  readonly waysBack: WaysBack;

  constructor({ limits, secrets, slackMs, recoverMs, startsServer = true }: JudgeOptions) {
    const { history } = this;
    this.stuckEnded = new StuckEnded(history, limits, slackMs);
    this.recovers = new Recovers(history, recoverMs);
    this.waysBack = new WaysBack(history);
    this.laws = [
      new OneServer(),
      new NoOrphan(),
      new HealthyUntouched(history, limits),
      new RestartJustified(history),
      this.stuckEnded,
      new LoggedOnce(history, startsServer),
      new NoSecret(secrets),
      new DaemonLives(history, limits.healthInterval),
      this.recovers,
      this.waysBack,
      new DisposeSpares(history, limits.waitForHealthy),
    ];
  }

  take(e: Evidence): void {
    this.history.take(e);
    for (const law of this.laws) law.take(e);
  }

  finish(at: number): void {
    for (const law of this.laws) law.finish(at);
  }

  /** The violations since the last call. */
  news(): Violation[] {
    return this.laws.flatMap((law, index) => {
      const told = this.#told[index] ?? 0;
      this.#told[index] = law.violations.length;
      return law.violations.slice(told);
    });
  }

  get violations(): Violation[] {
    return this.laws.flatMap(({ violations }) => violations).sort((a, b) => a.at - b.at);
  }
}
