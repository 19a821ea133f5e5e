/** The shape of `/status`, which the page and the commands read. */
import type { Health, RunOutcome, ServerHealth } from '../watchdog/decision.js';
import type { RestartEntry } from './history.js';
import type { Incident } from './incidents.js';
import type { ShownLimits } from './source.js';

export interface SessionRow {
  id: string;
  health: Health;
  /** Epoch ms, like all times in a row. */
  since: number;
  directory?: string;
  title?: string;
  parentID?: string;
  attempt?: number;
  model?: string;
  tool?: string;
  toolSince?: number;
  /** What opencode says about the retry; for an idle session, about its last run's failure. */
  message?: string;
  nextAt?: number;
  /** Why it counts as stuck; for an idle session, why the watchdog aborted its last run. */
  reason?: string;
  /** How the last run of an idle session ended. */
  outcome?: RunOutcome;
  waitingFor?: string;
  waitingSince?: number;
  /** The last sign of life; absent if something explains the silence, such as a running tool. */
  quietSince?: number;
  runSince?: number;
  steps?: number;
  filesChanged?: number;
  /** The model's last words, the running tool's arguments and the question to a person, as last read. */
  lastWords?: string;
  toolInput?: string;
  question?: string;
  /** When the last run of an idle session ended. */
  endedAt?: number;
  /**
   * Who ended it. For an abort that was asked for: page, command or http. For an interrupted run: the restart's reason,
   * dispose, stop or elsewhere.
   */
  endedBy?: string;
  /** When an idle session's run is continued, because its quota is back. */
  parkedUntil?: number;
  /** The session was at work in too many server crashes in a row. It is not continued until a person prompts it. */
  quarantined?: true;
  /** What the run has spent, its subagents included; for an idle session, its last run. */
  costUsd?: number;
  tokens?: number;
  /** Health over the last hour, see `health-timeline.ts`. */
  timeline: string;
}

export interface StatusJson {
  time: string;
  watchdog: {
    version: string;
    pid: number;
    startedAt: string;
    paused: boolean;
    dryRun: boolean;
    /** `status.acts`: whether anybody may act over HTTP. */
    acts: boolean;
    memoryBytes: number;
    loopLagMs: number;
    /** The limits that sessions are measured against. */
    limits: ShownLimits;
  };
  server: {
    url: string;
    health: ServerHealth;
    /** Why the server is not understood, or what is known about one that refuses the password. */
    says?: string;
    since?: string;
    version?: string;
    api?: number;
    pid?: number;
    memoryBytes?: number;
    restarts: number;
    recentRestarts: number;
    breaker: { state: string; until?: string };
    stream: { connected: boolean; silentMs?: number; events: number };
  };
  counts: Record<Health, number>;
  /** What the whole server has spent since midnight of the daemon's time zone. */
  spentToday: { costUsd: number; tokens: number };
  /** Slot length of the timelines, and the number of their last slot (epoch ms divided by the slot length). */
  timelines: { slotMs: number; lastSlot: number };
  sessions: SessionRow[];
  sessionsTotal: number;
  incidents: readonly Incident[];
  openIncidents: number;
  restarts: readonly RestartEntry[];
  history: { states: [number, ServerHealth][]; memory: [number, number][] };
  counters: Counters;
}

export interface Counters {
  stuck: number;
  aborted: number;
  abortsFailed: number;
  wedged: number;
  recovered: number;
  failed: number;
  continued: number;
  interrupted: number;
  streamLost: number;
  restarts: number;
}
