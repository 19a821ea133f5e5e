/**
 * Disposing directories: the step between aborts that do not work and a restart of the server.
 *
 * A dispose ends only the runs of one directory, needs no control of the process, and frees what hangs there (MCP
 * servers, plugins). It waits for the directory's healthy runs as a restart waits for all healthy runs. If the time is
 * up and it would cut at least as many of them as it ends stuck ones, a person must take care of it.
 */
import type { DisposeObservation } from '../observation.js';
import { Deferral } from '../server/deferral.js';
import type { Cut } from '../session/crashes.js';
import type { SessionRegistry } from '../session/registry.js';
import type { Context } from '../session/rule-context.js';
import type { Session } from '../session/state.js';
import {
  disposeDidNotHelp,
  disposedFor,
  isLeft,
  isWedgedNow,
  nothingHelps,
} from '../session/wedged.js';

/** Shortest time for verifying a dispose, ms. It includes the directory's next boot (5–8 s, facts, section 12). */
const MIN_VERIFY_MS = 15_000;
/** A dispose that was held back because a run had just begun there is judged again after this many ms. */
const AGAIN_MS = 2_000;
/**
 * `server.instance.disposed` may follow our own dispose this late (ms). Until then it reports our dispose, not another
 * one.
 */
const ECHO_MS = 10_000;

type Disposal =
  | { phase: 'waiting'; deferral: Deferral; notBefore: number }
  | { phase: 'disposing'; deferral: Deferral; wedged: readonly Cut[]; others: readonly Cut[] }
  /** Not done, because of `dryRun` or a pause. */
  | { phase: 'left' };

/** What a dispose has ended: the runs of the wedged sessions, and the other runs of the directory. */
export interface Disposed {
  directory: string;
  wedged: readonly Cut[];
  others: readonly Cut[];
}

export class Disposals {
  readonly #context: Context;
  readonly #registry: SessionRegistry;
  readonly #disposals = new Map<string, Disposal>();
  /** When a dispose of ours was last proven, by directory. */
  readonly #doneAt = new Map<string, number>();

  constructor(context: Context, registry: SessionRegistry) {
    this.#context = context;
    this.#registry = registry;
  }

  /** The server's process is gone or is being replaced. */
  clear(): void {
    this.#disposals.clear();
    this.#doneAt.clear();
  }

  /** What `dryRun` or a pause left undone may be decided again. */
  takeUpLeft(): void {
    for (const [directory, { phase }] of this.#disposals) {
      if (phase === 'left') this.#disposals.delete(directory);
    }
  }

  /**
   * The stream reports that the directory was disposed. Returns whether that was our own dispose, finished or under
   * way.
   */
  isOwn(directory: string, at: number): boolean {
    const doneAt = this.#doneAt.get(directory) ?? Number.NEGATIVE_INFINITY;
    return this.isDisposing(directory) || at - doneAt <= ECHO_MS;
  }

  isDisposing(directory: string): boolean {
    return this.#disposals.get(directory)?.phase === 'disposing';
  }

  /** Decides for each directory that holds a wedged session. */
  review(at: number): void {
    if (this.#registry.unabortable.size === 0 && this.#disposals.size === 0) return;
    const wanted = new Map<string, Session[]>();
    for (const session of this.#registry.unabortable) {
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

  /** @param everWedged the directory's wedged sessions, also those that work again and may fail again */
  #judge(directory: string, everWedged: readonly Session[], at: number): void {
    const wedged = everWedged.filter(isWedgedNow);
    if (wedged.length === 0) return;
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
    const active = [...this.#registry.active].filter(({ run }) => run?.directory === directory);
    const healthy = this.#registry
      .healthy(new Set(wedged))
      .filter(({ run }) => run?.directory === directory);
    if (everWedged.every(isLeft)) known.deferral.clear();
    const answer = known.deferral.judge(
      { stuck: wedged.length, healthy: healthy.length, allLeft: wedged.every(isLeft) },
      at,
    );
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

  /**
   * The executor reports the end of a dispose. Returns the runs that it has ended; the caller must end them here too.
   */
  observe(o: DisposeObservation): Disposed | undefined {
    const { directory, at } = o;
    const disposal = this.#disposals.get(directory);
    // A restart came in between.
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
