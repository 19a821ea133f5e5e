/** The traffic server's state: its sessions, their runs, open requests to people, and the findings about aborts. */
import { type Frame, json, newId } from './frames.js';

/**
 * An abort this much before its limit counts as no harm: the watchdog learns of a sign of life at most this late
 * (src/opencode/monitor/event-stream.ts).
 */
const EARLY_MS = 1_000;
/** A stuck run that is not aborted this long after its limit counts as missed. */
export const GRACE_MS = 5_000;

/** Kinds of runs that only their own frames keep from being taken for silent. */
const TALKATIVE = new Set(['works', 'slow', 'is deleted when done']);

/** When a run counts as stuck, as times of `performance.now()`. */
export interface Due {
  /** From then on it must be aborted. */
  at: number;
  /** From then on it may be aborted, by a rule that depends on other sessions (a pile-up). */
  from: number;
}

export interface Run {
  kind: string;
  startedAt: number;
  due: Due | undefined;
  /** Ends the run at once, without a frame. */
  cancel(): void;
}

export class FakeSession {
  readonly id: string = newId('ses');
  readonly created = Date.now();
  updated = this.created;
  /** When its last frame was sent (`performance.now()`). */
  saidAt = 0;
  /** When it last sent a frame after a silence that was too long. */
  lateAt = Number.NEGATIVE_INFINITY;
  deleted = false;
  /** The status as it is on the wire. Undefined while idle. */
  status: string | undefined;
  run: Run | undefined;
  /** The last prompt and its answer, in their newest state: what `/message` returns. */
  messages: { info: string; parts: Map<string, () => string> }[] = [];

  constructor(
    readonly directory: string,
    readonly title: string,
    readonly model: string,
    readonly parentID?: string,
  ) {}

  info(): string {
    const { id, directory, title, parentID, created, updated } = this;
    return json({
      id,
      slug: 'stellar-squid',
      projectID: 'global',
      directory,
      path: directory.slice(1),
      title,
      agent: 'build',
      model: { id: this.model, providerID: 'fake', variant: 'default' },
      version: '1.18.33',
      cost: 0,
      tokens: { input: 0, output: 0, reasoning: 0, cache: { read: 0, write: 0 } },
      time: { created, updated },
      ...(parentID !== undefined && { parentID }),
    });
  }
}

export interface Pending {
  kind: 'permission' | 'question';
  session: FakeSession;
  text: string;
}

export interface Findings {
  aborts: number;
  /** From the limit to the abort request, ms, by kind of fault. Only if the moment is known. */
  reactions: Record<string, number[]>;
  harmed: string[];
  /**
   * Aborts of sessions that were silent for longer than the limit because the traffic server's own process was starved.
   */
  starved: string[];
  late: string[];
  missed: string[];
  stuck: number;
}

export class FakeServerState {
  /** Newest last. Beyond `#maxKept` the oldest idle one is forgotten: the watchdog would never be asked about it. */
  readonly sessions = new Map<string, FakeSession>();
  readonly pending = new Map<string, Pending>();
  readonly findings: Findings = {
    aborts: 0,
    reactions: {},
    harmed: [],
    starved: [],
    late: [],
    missed: [],
    stuck: 0,
  };
  /** Reactions to runs that began before this (`performance.now()`) do not count: the daemon was still starting. */
  measuredFrom = 0;
  created = 0;
  runs = 0;
  running = 0;
  readonly #maxKept: number;

  readonly #silence: number;

  /** @param silence `stall.maxSilence`, ms */
  constructor(maxKept: number, silence: number) {
    this.#maxKept = maxKept;
    this.#silence = silence;
  }

  add(session: FakeSession): FakeSession {
    this.sessions.set(session.id, session);
    this.created += 1;
    if (this.sessions.size > this.#maxKept) this.#forgetOne();
    return session;
  }

  statuses(directory: string): string {
    const entries: string[] = [];
    for (const { id, status, directory: where } of this.sessions.values()) {
      if (status !== undefined && where === directory) entries.push(`"${id}":${status}`);
    }
    return `{${entries.join(',')}}`;
  }

  pendingIn(directory: string, kind: Pending['kind']): string {
    const texts: string[] = [];
    for (const each of this.pending.values()) {
      if (each.kind === kind && each.session.directory === directory) texts.push(each.text);
    }
    return `[${texts.join(',')}]`;
  }

  /** Called for each abort request: decides whether it was right. */
  judge(session: FakeSession, at: number): void {
    const { run } = session;
    const { findings } = this;
    findings.aborts += 1;
    if (run === undefined) return;
    const { kind, due } = run;
    if (due === undefined && TALKATIVE.has(kind) && this.#wasStarved(session, at)) {
      findings.starved.push(`${kind} ${session.id}`);
      return;
    }
    if (due === undefined || at < due.from - EARLY_MS) {
      findings.harmed.push(`${kind} ${session.id}`);
      return;
    }
    const reaction = at - due.at;
    if (reaction > GRACE_MS) findings.late.push(`${kind} ${session.id} ${Math.round(reaction)} ms`);
    // A run that a pile-up ended early tells nothing about its own limit.
    if (reaction < -EARLY_MS || run.startedAt < this.measuredFrom) return;
    findings.reactions[kind] ??= [];
    findings.reactions[kind].push(reaction);
  }

  said(session: FakeSession, at: number): void {
    if (at - session.saidAt >= this.#silence - EARLY_MS) session.lateAt = at;
    session.saidAt = at;
  }

  /** It was silent for as long as the limit, or was so shortly before the abort that this led to arrived. */
  #wasStarved({ saidAt, lateAt }: FakeSession, at: number): boolean {
    return at - saidAt >= this.#silence - EARLY_MS || at - lateAt < GRACE_MS;
  }

  /** The stuck runs that should be over by now. */
  missed(at: number): string[] {
    return [...this.sessions.values()].flatMap(({ id, run }) =>
      run?.due !== undefined && at > run.due.at + GRACE_MS ? [`${run.kind} ${id}`] : [],
    );
  }

  #forgetOne(): void {
    for (const [id, session] of this.sessions) {
      if (session.run !== undefined || session.status !== undefined) continue;
      this.sessions.delete(id);
      return;
    }
  }
}

export type Step = Frame | { wait: number } | { until: Promise<unknown> };
