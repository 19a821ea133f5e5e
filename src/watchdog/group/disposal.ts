/**
 * Disposing directories: the step between aborts that do not work and a restart of the server.
 *
 * It ends the runs of one directory and no other's, needs no hold of the process, and frees what hangs there (MCP
 * servers, plugins). It waits for the directory's healthy runs as a restart waits for all; where the time is up and it
 * would cut as many of them as it ends stuck ones, a person must see to it.
 */
import type { DisposeObservation } from '../observation.js';
import { Deferral } from '../server/deferral.js';
import type { Cut } from '../session/crashes.js';
import type { SessionRegistry } from '../session/registry.js';
import type { Context } from '../session/rule-context.js';
import type { Session } from '../session/state.js';
import { disposeDidNotHelp, disposedFor, nothingHelps } from '../session/wedged.js';

/** The directory's next boot is part of it (5–8 s, facts, section 12). */
const MIN_VERIFY_MS = 15_000;
/** One that was held back because a run had just begun there is judged again after this many ms. */
const AGAIN_MS = 2_000;
/** `server.instance.disposed` may follow this late (ms): it tells of our own dispose, not of another. */
const ECHO_MS = 10_000;

type Disposal =
  | { phase: 'waiting'; deferral: Deferral; notBefore: number }
  | { phase: 'disposing'; deferral: Deferral; wedged: readonly Cut[]; others: readonly Cut[] }
  /** `dryRun`, or a pause. */
  | { phase: 'left' };

/** What a dispose has ended: the wedged sessions' runs, and whatever else ran there. */
export interface Disposed {
  directory: string;
  wedged: readonly Cut[];
  others: readonly Cut[];
}

export class Disposals {
  readonly #context: Context;
  readonly #book: SessionRegistry;
  readonly #disposals = new Map<string, Disposal>();
  /** When a dispose of ours was last proven, by directory. */
  readonly #doneAt = new Map<string, number>();

  constructor(context: Context, book: SessionRegistry) {
    this.#context = context;
    this.#book = book;
  }

  /** The server is another process now. */
  clear(): void {
    this.#disposals.clear();
    this.#doneAt.clear();
  }

  /** What `dryRun` or a pause left undone is decided anew. */
  takeUpLeft(): void {
    for (const [directory, { phase }] of this.#disposals) {
      if (phase === 'left') this.#disposals.delete(directory);
    }
  }

  /** The stream says that the directory was disposed: whether that is the dispose that we have made, or are making. */
  isOwn(directory: string, at: number): boolean {
    const doneAt = this.#doneAt.get(directory) ?? Number.NEGATIVE_INFINITY;
    return this.#disposals.get(directory)?.phase === 'disposing' || at - doneAt <= ECHO_MS;
  }

  /** Decides for each directory that holds a wedged session. */
  review(at: number): void {
    if (this.#book.wedged.size === 0 && this.#disposals.size === 0) return;
    const wanted = new Map<string, Session[]>();
    for (const session of this.#book.wedged) {
      const directory = disposedFor(this.#context, session);
      if (directory === undefined) continue;
      wanted.set(directory, [...(wanted.get(directory) ?? []), session]);
    }
    for (const [directory, { phase }] of this.#disposals) {
      if (!wanted.has(directory) && phase !== 'disposing') this.#disposals.delete(directory);
    }
    if (!this.#context.canAct() || this.#context.isUnresponsive()) return;
    for (const [directory, wedged] of wanted) this.#judge(directory, wedged, at);
  }

  #judge(directory: string, wedged: readonly Session[], at: number): void {
    const known: Disposal = this.#disposals.get(directory) ?? {
      phase: 'waiting',
      deferral: new Deferral(this.#context.policy.restart),
      notBefore: at,
    };
    if (known.phase !== 'waiting') return;
    this.#disposals.set(directory, known);
    if (at < known.notBefore) {
      this.#context.wakeAt(known.notBefore);
      return;
    }
    const active = [...this.#book.active].filter(({ run }) => run?.directory === directory);
    const healthy = this.#book
      .healthy(new Set(wedged))
      .filter(({ run }) => run?.directory === directory);
    const answer = known.deferral.judge(wedged.length, healthy.length, at);
    switch (answer.kind) {
      case 'restart':
        this.#dispose({ directory, wedged, active, deferral: known.deferral }, at);
        return;
      case 'wait':
        this.#context.wakeAt(answer.askAgainAt);
        if (answer.isNew) {
          this.#context.emit({
            note: 'directory.deferred',
            reason: 'wedged',
            directory,
            waitsFor: healthy.map(({ id }) => id),
            waitForHealthyMs: this.#context.policy.restart.waitForHealthy,
          });
        }
        return;
      case 'nothing':
        for (const session of wedged) nothingHelps(this.#context, session);
    }
  }

  #dispose(
    of: {
      directory: string;
      wedged: readonly Session[];
      active: readonly Session[];
      deferral: Deferral;
    },
    at: number,
  ): void {
    const { directory, wedged, active, deferral } = of;
    const cut = active.flatMap((session) =>
      session.run === undefined ? [] : [{ session, run: session.run, health: session.health, at }],
    );
    const isWedged = ({ session }: Cut) => wedged.includes(session);
    this.#disposals.set(directory, {
      phase: 'disposing',
      deferral,
      wedged: cut.filter(isWedged),
      others: cut.filter((each) => !isWedged(each)),
    });
    const ids = active.map(({ id }) => id);
    this.#context.emit({
      note: 'directory.disposing',
      reason: 'wedged',
      directory,
      interrupted: ids,
    });
    this.#context.emit({
      act: 'dispose',
      directory,
      reason: 'wedged',
      sessions: wedged.map(({ id }) => id),
      known: ids,
      verifyTimeoutMs: Math.max(MIN_VERIFY_MS, this.#context.verifyMs(at)),
    });
  }

  /** The executor reports the end of a dispose. What it has ended is for the caller to end here too. */
  observe(o: DisposeObservation): Disposed | undefined {
    const { directory, at } = o;
    const disposal = this.#disposals.get(directory);
    // A restart came between.
    if (disposal?.phase !== 'disposing') return undefined;
    this.#disposals.delete(directory);
    const { wedged, others, deferral } = disposal;
    switch (o.kind) {
      case 'dispose.done':
        this.#doneAt.set(directory, at);
        this.#forgetEchoes(at);
        this.#context.emit({
          note: 'directory.disposed',
          reason: 'wedged',
          directory,
          interrupted: [...wedged, ...others].map(({ session }) => session.id),
          tookMs: o.tookMs,
        });
        return { directory, wedged, others };
      case 'dispose.failed':
        this.#context.emit({
          note: 'directory.dispose_failed',
          reason: 'wedged',
          directory,
          error: o.error,
        });
        for (const { session, run } of wedged) {
          if (session.run === run) disposeDidNotHelp(this.#context, session);
        }
        return undefined;
      case 'dispose.withdrawn':
        if (o.seen === 'idle') return { directory, wedged, others: [] };
        this.#disposals.set(directory, { phase: 'waiting', deferral, notBefore: at + AGAIN_MS });
        return undefined;
      case 'dispose.skipped':
        this.#disposals.set(directory, { phase: 'left' });
        return undefined;
    }
  }

  #forgetEchoes(at: number): void {
    for (const [directory, doneAt] of this.#doneAt) {
      if (at - doneAt > ECHO_MS) this.#doneAt.delete(directory);
    }
  }
}
