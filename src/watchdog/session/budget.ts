/**
 * What runs, sessions and the server's day have spent, and which budget is used up (contract, `budget`).
 *
 * A run is counted by its finished steps, including those of its subagents. Sessions and the day are counted by
 * opencode's own totals if it reports them (facts, section 11), otherwise by finished steps too.
 */
import type { BudgetKind, BudgetUnit } from '../decision.js';
import type { FinishedStep, Observation, Spent } from '../observation.js';
import type { Policy } from '../policy.js';
import type { SessionRegistry } from './registry.js';
import type { Context } from './rule-context.js';
import type { LimitExceeded } from './rules.js';
import { fieldsOf, type Run, type Session } from './state.js';

/** One budget of one unit, with what is spent of it. */
interface Account {
  budget: BudgetKind;
  unit: BudgetUnit;
  value: number;
  limit: number;
  /** What was already reported about this account. */
  said: Set<string>;
}

const nothingSpent = (): Spent => ({ costUsd: 0, tokens: 0 });

/**
 * Sessions whose totals are kept for the next daemon. As many as are watched. At the limit: those heard of longest ago
 * are left out.
 */
export const MAX_TOTALS = 10_000;
/** Models without a price that are reported. At the limit: further ones are not. */
export const MAX_UNPRICED = 100;

export class Spending {
  readonly #context: Context;
  readonly #registry: SessionRegistry;
  /** When the day began, on the observed clock; undefined until the daemon has reported it. */
  #dayStartedAt: number | undefined;
  #day = nothingSpent();
  #daySaid = new Set<string>();
  /** opencode's totals of sessions when the daemon last ran. What was spent since then counts for the day. */
  #totalsBefore: ReadonlyMap<string, Spent> = new Map();
  readonly #saidUnpriced = new Set<string>();

  constructor(context: Context, registry: SessionRegistry) {
    this.#context = context;
    this.#registry = registry;
  }

  /** What the whole server has spent since midnight. */
  get day(): Readonly<Spent> {
    return this.#day;
  }

  /** opencode's totals of sessions, including those of earlier daemons; the newest last. */
  get totals(): ReadonlyMap<string, Spent> {
    const all = new Map(this.#totalsBefore);
    for (const { id, total } of this.#registry.all) {
      if (total === undefined) continue;
      all.delete(id);
      all.set(id, total);
    }
    return new Map([...all].slice(-MAX_TOTALS));
  }

  dayBegan(o: Extract<Observation, { kind: 'budget.day' }>): void {
    this.#dayStartedAt = o.at - o.sinceMs;
    this.#day = { ...o.spent };
    this.#daySaid = new Set();
    if (o.totals !== undefined) this.#totalsBefore = o.totals;
  }

  /** A step of this run, or of a subagent below it, has ended. */
  stepFinished(session: Session, step: FinishedStep): void {
    const spent = { costUsd: step.costUsd ?? 0, tokens: step.tokens ?? 0 };
    for (const each of this.#withAncestors(session)) {
      if (each.run === undefined) continue;
      add(each.run.spent, spent);
      each.run.spent.steps += 1;
      if (spent.costUsd > 0) each.run.isPriced = true;
    }
    if (session.total === undefined) this.#spend(session, spent, true);
  }

  /**
   * opencode's own total for a session, from an event or from an answer to a question that was asked at `askedAt`.
   * `ageMs`: how long ago the session was created, if that is known.
   */
  totalHeard(
    session: Session,
    total: Spent,
    ageMs: number | undefined,
    askedAt: number,
    at: number,
  ): void {
    // The answer may be older than what an event said meanwhile. What was spent in between would count twice.
    if (askedAt < session.totalAt) return;
    session.totalAt = at;
    const counted = { ...(session.total ?? session.spent) };
    const kept = this.#totalsBefore.get(session.id);
    // Steps that ended before the first total have been counted by themselves.
    const before = session.total ?? (kept && sum(kept, counted));
    session.total = total;
    const delta = difference(total, counted);
    if (delta === undefined) return;
    if (before !== undefined) {
      // Only what was spent since the last known total is new today, even if the daemon did not run in between.
      this.#spend(session, delta, false);
      add(this.#day, difference(total, before) ?? nothingSpent());
      return;
    }
    const dayStart = this.#dayStartedAt ?? Number.POSITIVE_INFINITY;
    this.#spend(session, delta, ageMs !== undefined && at - ageMs >= dayStart);
  }

  /** The first budget that this run has used up. */
  exceeded(session: Session, run: Run): LimitExceeded | undefined {
    if (this.#context.policy.budget.action !== 'abort') return undefined;
    for (const { budget, unit, value, limit } of this.#accounts(session, run)) {
      if (value >= limit) return { reason: 'budget', kind: budget, unit, limit, value };
    }
    return undefined;
  }

  /** Reports each budget that comes near its limit or reaches it, once for each of the two. */
  say(session: Session, run: Run): void {
    const { warnAt } = this.#context.policy.budget;
    this.#sayUnpriced(run);
    for (const { budget, unit, value, limit, said } of this.#accounts(session, run)) {
      const isNear = warnAt > 0 && value >= limit * warnAt;
      const note = value >= limit ? 'budget.exceeded' : isNear ? 'budget.warning' : undefined;
      // A reload may set another limit, which is reported in its turn.
      const key = `${note} ${budget} ${unit} ${limit}`;
      if (note === undefined || said.has(key)) continue;
      said.add(key);
      const whose = budget === 'day' ? {} : fieldsOf(session);
      this.#context.emit({ note, ...whose, budget, unit, value, limit });
    }
  }

  /** opencode calculates no cost for a model without a price. So no budget of cost bounds it, only one of tokens. */
  #sayUnpriced(run: Run): void {
    const { run: ofRun, session, day } = this.#context.policy.budget;
    if (ofRun.cost === 0 && session.cost === 0 && day.cost === 0) return;
    const { model, spent, isPriced } = run;
    if (model === undefined || isPriced || spent.steps === 0 || spent.tokens === 0) return;
    if (this.#saidUnpriced.has(model) || this.#saidUnpriced.size >= MAX_UNPRICED) return;
    this.#saidUnpriced.add(model);
    const isBounded = ofRun.tokens > 0 || session.tokens > 0 || day.tokens > 0;
    this.#context.emit({ note: 'budget.unpriced', model, tokens: spent.tokens, isBounded });
  }

  /** The budgets that are on, with what this run, its session and the day have spent of them. */
  #accounts(session: Session, run: Run): Account[] {
    const { budget } = this.#context.policy;
    const whole = sum(session.spent, session.spentBelow);
    // A new run may always begin: the day's budget counts against it only from its first step on.
    const day = run.spent.steps > 0 ? this.#day : nothingSpent();
    return [
      ...accounts('run', budget.run, run.spent, run.saidBudgets),
      ...accounts('session', budget.session, whole, session.saidBudgets),
      ...accounts('day', budget.day, day, this.#daySaid),
    ];
  }

  #spend(session: Session, spent: Spent, isOfToday: boolean): void {
    add(session.spent, spent);
    if (isOfToday) add(this.#day, spent);
    for (const each of this.#withAncestors(session)) {
      if (each !== session) add(each.spentBelow, spent);
    }
  }

  /** The session, its parent, and so on. No parent comes twice, because `registry.ts` accepts no circles. */
  *#withAncestors(session: Session): Generator<Session> {
    let each: Session | undefined = session;
    while (each !== undefined) {
      yield each;
      const { parentID }: { parentID?: string } = each.info;
      each = parentID === undefined ? undefined : this.#registry.find(parentID);
    }
  }
}

type Limits = Policy['budget']['run'] | Policy['budget']['session'];

function accounts(
  budget: BudgetKind,
  limits: Limits,
  spent: Spent & { steps?: number },
  said: Set<string>,
): Account[] {
  const values: Record<BudgetUnit, number> = {
    cost: spent.costUsd,
    tokens: spent.tokens,
    steps: spent.steps ?? 0,
  };
  const all: Partial<Record<BudgetUnit, number>> = limits;
  return (['cost', 'tokens', 'steps'] as const).flatMap((unit) => {
    const limit = all[unit] ?? 0;
    return limit === 0 ? [] : [{ budget, unit, value: values[unit], limit, said }];
  });
}

function add(to: Spent, what: Spent): void {
  to.costUsd += what.costUsd;
  to.tokens += what.tokens;
}

const sum = (a: Spent, b: Spent): Spent => ({
  costUsd: a.costUsd + b.costUsd,
  tokens: a.tokens + b.tokens,
});

/** Undefined if nothing was spent. A total that falls was a revert, which gives nothing back. */
function difference(now: Spent, before: Spent): Spent | undefined {
  const costUsd = Math.max(0, now.costUsd - before.costUsd);
  const tokens = Math.max(0, now.tokens - before.tokens);
  return costUsd === 0 && tokens === 0 ? undefined : { costUsd, tokens };
}
