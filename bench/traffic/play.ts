/** Plays the scripts: keeps the requested number of sessions at work, all at one common pace of events. */
import { randomFrom } from '../../test/support/random.js';
import { type FakeServerState, FakeSession, type Step } from './fake-server-state.js';
import type { Frame } from './frames.js';
import { chooseKind, type Limits, scripts } from './scripts.js';
import type { Dialect } from './simulated.js';

/** How many events are sent, by how many sessions. */
export interface Pace {
  /** How many are at work at once. */
  sessions: number;
  directories: number;
  eventsPerSecond: number;
  /** About how many frames an ordinary run has. */
  runLength: number;
  stuckShare: number;
  /** The share of runs that are the next prompt of an existing session. */
  reuseShare: number;
  limits: Limits;
  seed: number;
}

export interface PlayOptions extends Pace {
  state: FakeServerState;
  dialect: Dialect;
  send(frame: Frame): void;
}

/** Sessions begin spread over this time (ms), not all at once. */
const RAMP_MS = 10_000;
const TICK_MS = 1;
/** After a pause of this process at most this much time (ms) of events is made up for. */
const MAX_CATCH_UP_MS = 100;
const MODELS = 20;

interface Playing {
  session: FakeSession;
  steps: Generator<Step, void, void>;
  timer?: NodeJS.Timeout;
  over: boolean;
  /** Ends the run. */
  end(): void;
}

export class Play {
  sent = 0;
  readonly #o: PlayOptions;
  readonly #random: () => number;
  /** Those that have something to send now, in turn. */
  readonly #talking: Playing[] = [];
  readonly #idle: FakeSession[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #tick: NodeJS.Timeout | undefined;
  #turn = 0;
  #since = 0;
  #due = 0;
  #stopped = false;
  #generation = 0;

  constructor(options: PlayOptions) {
    this.#o = options;
    this.#random = randomFrom(options.seed);
  }

  start(): void {
    this.#stopped = false;
    this.#since = performance.now();
    const generation = this.#generation;
    for (let i = 0; i < this.#o.sessions; i += 1) {
      this.#after((RAMP_MS * i) / this.#o.sessions, () => void this.#slot(i, generation));
    }
    this.#beat();
  }

  /** The server is gone: every run is cut, without a frame. */
  stop(): void {
    this.#stopped = true;
    this.#generation += 1;
    clearTimeout(this.#tick);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const { run } of [...this.#o.state.sessions.values()]) run?.cancel();
    this.#talking.length = 0;
  }

  /** Plays one run after another, for ever. */
  async #slot(index: number, generation: number): Promise<void> {
    const { state, stuckShare, dialect } = this.#o;
    while (!this.#stopped && generation === this.#generation) {
      const kind = chooseKind(this.#random, stuckShare, dialect.api);
      const session = this.#session(index);
      await this.#play(session, kind);
      if (!session.deleted && state.sessions.has(session.id)) this.#idle.push(session);
      if (this.#idle.length > this.#o.sessions) this.#idle.shift();
      await new Promise<void>((resolve) => this.#after(this.#random() * 500, resolve));
    }
  }

  #session(index: number): FakeSession {
    const { state, directories, reuseShare } = this.#o;
    if (this.#random() < reuseShare) {
      const known = this.#idle.shift();
      if (known && known.run === undefined && !known.deleted) return known;
    }
    const directory = `/srv/projects/project-${index % directories}`;
    const model = `m${Math.floor(this.#random() * MODELS)}`;
    const session = state.add(new FakeSession(directory, `Work on part ${state.created}`, model));
    this.#send(this.#o.dialect.created(session));
    return session;
  }

  #play(session: FakeSession, kind: string): Promise<void> {
    const { state, dialect, limits, runLength: length } = this.#o;
    const script = scripts.get(kind);
    if (script === undefined) throw new Error(`no script ${kind}`);
    state.runs += 1;
    state.running += 1;
    return new Promise((resolve) => {
      const simulated = dialect.simulate(state, session);
      const delegate = (childKind: string) => {
        const title = `${session.title} (@explore subagent)`;
        const child = state.add(
          new FakeSession(session.directory, title, session.model, session.id),
        );
        this.#send(dialect.created(child));
        return { childID: child.id, over: this.#play(child, childKind) };
      };
      const steps = script({ simulated, state, limits, random: this.#random, length, delegate });
      const playing: Playing = {
        session,
        steps,
        over: false,
        end: () => {
          if (playing.over) return;
          playing.over = true;
          clearTimeout(playing.timer);
          state.running -= 1;
          session.run = undefined;
          session.status = undefined;
          for (const [id, each] of state.pending) {
            if (each.session === session) state.pending.delete(id);
          }
          resolve();
        },
      };
      session.saidAt = performance.now();
      session.run = { kind, startedAt: session.saidAt, due: undefined, cancel: playing.end };
      this.#talking.push(playing);
    });
  }

  #beat(): void {
    const now = performance.now();
    const { eventsPerSecond } = this.#o;
    const passed = Math.min(now - this.#since, MAX_CATCH_UP_MS);
    this.#since = now;
    this.#due += (passed * eventsPerSecond) / 1_000;
    while (this.#due >= 1 && this.#talking.length > 0) this.#due -= this.#say();
    // Time in which no session had anything to send is not made up for.
    this.#due = Math.min(this.#due, 1);
    this.#tick = setTimeout(() => this.#beat(), TICK_MS);
  }

  /** Returns how many events were sent. */
  #say(): number {
    for (;;) {
      this.#turn = (this.#turn + 1) % Math.max(1, this.#talking.length);
      const playing = this.#talking[this.#turn];
      if (playing === undefined) return 0;
      if (playing.over) {
        this.#silence();
        continue;
      }
      const { value, done } = playing.steps.next();
      if (done || value === undefined) {
        this.#silence();
        playing.end();
        continue;
      }
      if ('text' in value) {
        if (value.count === 0) continue;
        this.#send(value);
        this.#o.state.said(playing.session, performance.now());
        return value.count;
      }
      this.#silence();
      const goOn = () => {
        if (!playing.over) this.#talking.push(playing);
      };
      if ('until' in value) value.until.then(goOn, goOn);
      else if (value.wait < 2 ** 30) playing.timer = setTimeout(goOn, value.wait);
    }
  }

  #send(frame: Frame): void {
    this.#o.send(frame);
    this.sent += frame.count;
  }

  /** Removes the current session from the rotation. */
  #silence(): void {
    const last = this.#talking.pop();
    if (last !== undefined && this.#turn < this.#talking.length) this.#talking[this.#turn] = last;
  }

  #after(ms: number, fn: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      fn();
    }, ms);
    this.#timers.add(timer);
  }
}
