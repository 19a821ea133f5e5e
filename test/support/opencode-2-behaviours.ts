/**
 * What runs of the fake OpenCode 2 do. The text of the prompt names the behaviour: `[[quiet-tool 2500]]`. These are the
 * counterpart of the fake provider's markers, which are used with a real opencode 1.x.
 */
import { type Fake2Session, type FakeOpencode2, RETRY_GAPS_MS } from './fake-opencode-2.js';

/** OpenCode 2 batches deltas: one for each 100 ms (opencode-2-facts, section 3.2). */
const DELTA_MS = 100;
const RATE_LIMIT = { type: 'provider.rate-limit', message: 'Too many requests', status: 429 };
/** The wait between two attempts of a run that retries for ever. */
const RETRY_MS = 200;
/** How many retries come before a run recovers or gives up, if its prompt does not say. */
const FEW_RETRIES = 2;
/** The time for one sentence of an answer that is long in time, not in words. */
const SENTENCE_MS = 1_000;
const PASSAGE =
  'I will look at the configuration once more, since the error names a key that the schema does not have. ' +
  'The schema is written in one place, and whatever reads it goes through the loader: that is where to begin. ';
const WORDS = 'The next part says something that no part before it has said, in words of its own: ';

/** Thrown if somebody has ended the run. */
class Ended extends Error {}

/** One execution, until somebody ends it. */
class Run {
  readonly #execution: number;

  constructor(
    readonly fake: FakeOpencode2,
    readonly session: Fake2Session,
    /** How many times faster than real the waits between attempts pass. */
    readonly retryPace: number,
  ) {
    this.#execution = session.executions;
  }

  get isOver(): boolean {
    const { fake, session } = this;
    if (session.stopping || session.executions !== this.#execution) return true;
    return !fake.active.has(session.id);
  }

  async wait(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms).unref());
    if (this.isOver) throw new Ended();
  }

  /** Waits until somebody ends the run. */
  async forever(): Promise<never> {
    for (;;) await this.wait(DELTA_MS);
  }

  async until(what: () => boolean): Promise<void> {
    while (!what()) await this.wait(20);
  }

  step(): string {
    const id = this.fake.newMessageID();
    this.fake.step(this.session, id);
    return id;
  }

  async write(ms: number, of: 'text' | 'reasoning' = 'text', id = this.step()): Promise<string> {
    const part = this.fake.speak(this.session, id, of);
    for (let at = 0; at < ms; at += DELTA_MS) {
      await this.wait(DELTA_MS);
      part.add(`${WORDS}${at}. `);
    }
    part.end();
    return id;
  }

  answer(): void {
    this.fake.answer(this.session, 'All done.');
  }

  /** This many retries of one step, each with its wait (section 5). */
  async retries(count: number): Promise<string> {
    const id = this.fake.newMessageID();
    for (const [nth, gapMs] of RETRY_GAPS_MS.slice(0, count || FEW_RETRIES).entries()) {
      const waitMs = gapMs / this.retryPace;
      this.fake.retry(this.session, id, nth + 2, waitMs);
      await this.wait(waitMs);
    }
    return id;
  }

  /** Writes a sentence each second. */
  async recite(sentence: (nth: number) => string, ms = Number.POSITIVE_INFINITY): Promise<string> {
    const id = this.step();
    const part = this.fake.speak(this.session, id);
    for (let nth = 0; nth * SENTENCE_MS < ms; nth += 1) {
      part.add(sentence(nth));
      await this.wait(SENTENCE_MS);
    }
    part.end();
    return id;
  }

  async shell(ms: number, command = 'sleep'): Promise<void> {
    const id = this.step();
    const call = this.fake.call(this.session, id, 'shell');
    await this.wait(20);
    call.run({ command });
    call.progress({ shellID: 'sh_1' });
    await this.wait(ms);
    call.done('done');
    this.fake.stepEnded(this.session, id, 'tool-calls');
  }

  /**
   * A subagent with its prompt. With `isNamed` the call's progress names the subagent's session. Without it only the
   * subagent's parent tells the two belong together, as before the first progress.
   */
  async subagent(text: string, isNamed = true): Promise<void> {
    const { fake, session } = this;
    const id = this.step();
    const call = fake.call(session, id, 'subagent');
    call.run({ prompt: text });
    const { directory } = session;
    const child = fake.addSession({
      directory,
      parentID: session.id,
      title: `of ${session.title}`,
    });
    if (isNamed) call.progress({ sessionID: child.id, status: 'running' });
    fake.begin(child, { text });
    await this.until(() => !fake.active.has(child.id));
    call.done('The subagent has ended.');
    fake.stepEnded(session, id, 'tool-calls');
  }
}

/** `ms`: the number in the prompt. For retries it is how many. */
type Behaviour = (run: Run, ms: number) => Promise<void>;

/** Steps without end, `ms` apart, or a moment if there is no number. */
const without =
  (step: (run: Run, nth: number) => void): Behaviour =>
  async (run, ms) => {
    for (let nth = 1; ; nth += 1) {
      await run.wait(ms || 30);
      step(run, nth);
    }
  };

const readFile = ({ fake, session }: Run, path: string, text: string) =>
  fake.tool(session, fake.newMessageID(), 'read', { path }, text);

const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  // Healthy, each for `ms`.
  text: async (run, ms) => {
    const id = await run.write(ms);
    run.fake.stepEnded(run.session, id, 'stop');
    run.fake.end(run.session, 'succeeded');
  },
  reasoning: async (run, ms) => {
    const id = await run.write(ms, 'reasoning');
    run.fake.say(run.session, id, 'All done.');
    run.fake.stepEnded(run.session, id, 'stop');
    run.fake.end(run.session, 'succeeded');
  },
  /** The run waits for the plugins or the provider: nothing comes after `inbox.delivered` (section 3.4). */
  'slow-begin': async (run, ms) => {
    await run.wait(ms);
    run.answer();
  },
  'quiet-tool': async (run, ms) => {
    await run.shell(ms);
    run.answer();
  },
  'two-quiet-tools': async (run, ms) => {
    await run.shell(ms);
    await run.shell(ms, 'sleep more');
    run.answer();
  },
  'long-argument': async (run, ms) => {
    const { fake, session } = run;
    const id = run.step();
    const call = fake.call(session, id, 'write');
    await run.wait(ms);
    call.run({ path: 'a.txt', content: 'long' });
    call.done('written');
    fake.stepEnded(session, id, 'tool-calls');
    run.answer();
  },
  compaction: async (run, ms) => {
    const compaction = run.fake.compact(run.session);
    await run.wait(ms);
    compaction.done();
    run.answer();
  },
  permission: async (run) => {
    const { fake, session } = run;
    const id = run.step();
    const call = fake.call(session, id, 'shell');
    call.run({ command: 'touch a' });
    fake.ask(session, 'permission');
    await run.until(() => session.asks.size === 0);
    call.done('done');
    fake.stepEnded(session, id, 'tool-calls');
    run.answer();
  },
  form: async (run) => {
    const { fake, session } = run;
    const id = run.step();
    const call = fake.call(session, id, 'question');
    call.run({ questions: [] });
    fake.ask(session, 'form');
    await run.until(() => session.asks.size === 0);
    call.done('Tea');
    fake.stepEnded(session, id, 'tool-calls');
    run.answer();
  },
  delegating: async (run, ms) => {
    await run.subagent(`[[text ${ms}]]`);
    run.answer();
  },
  'delegating-quietly': async (run, ms) => {
    await run.subagent(`[[quiet-tool ${ms}]]`, false);
    run.answer();
  },
  deep: async (run, ms) => {
    await run.subagent(`[[delegating ${ms}]]`);
    run.answer();
  },
  'even-text': async (run, ms) => {
    const id = await run.recite(
      (nth) => `${nth} of the parts of it are read. ${WORDS}${nth}. `,
      ms,
    );
    run.fake.stepEnded(run.session, id, 'stop');
    run.fake.end(run.session, 'succeeded');
  },
  flaky: async (run, count) => {
    const { fake, session } = run;
    const id = await run.retries(count);
    // The same message again (section 3.4).
    fake.step(session, id);
    fake.say(session, id, 'All done.');
    fake.stepEnded(session, id, 'stop');
    fake.end(session, 'succeeded');
  },
  'many-steps': async (run) => {
    for (let nth = 1; nth <= 12; nth += 1) {
      await run.wait(30);
      readFile(run, `${nth}.txt`, `text ${nth}`);
    }
    run.answer();
  },
  'compacts-now-and-then': async (run) => {
    for (let nth = 1; nth <= 12; nth += 1) {
      await run.wait(30);
      readFile(run, `${nth}.txt`, `text ${nth}`);
      if (nth % 3 === 0) run.fake.compact(run.session).done();
    }
    run.answer();
  },

  // Ended by opencode itself.
  refused: async (run) => {
    run.fake.fail(run.session, {
      type: 'provider.invalid-request',
      message: 'Bad request',
      status: 400,
    });
  },
  'retries-spent': async (run, count) => {
    const id = await run.retries(count);
    run.fake.fail(run.session, RATE_LIMIT, id);
  },
  inactive: async (run) => {
    run.step();
    await run.wait(100);
    run.fake.end(run.session, 'interrupted', { reason: 'inactivity' });
  },

  // Stuck.
  429: async (run) => {
    const { fake, session } = run;
    const id = fake.newMessageID();
    for (let attempt = 2; ; attempt += 1) {
      fake.retry(session, id, attempt, RETRY_MS);
      await run.wait(RETRY_MS);
    }
  },
  'retry-after': async (run, ms) => {
    run.fake.retry(run.session, run.fake.newMessageID(), 2, ms);
    await run.forever();
  },
  'hang-before-plugins': (run) => run.forever(),
  /** Its prompt is delivered, and the provider never sends anything. */
  'hang-before-answer': (run) => run.forever(),
  hang: async (run) => {
    run.step();
    await run.forever();
  },
  stall: async (run) => {
    const part = run.fake.speak(run.session, run.step());
    part.add(WORDS);
    await run.forever();
  },
  'hang-after-tool': async (run) => {
    await run.shell(50);
    await run.forever();
  },
  'endless-tool': async (run) => {
    const call = run.fake.call(run.session, run.step(), 'shell');
    call.run({ command: 'sleep 600' });
    await run.forever();
  },
  'endless-argument': async (run) => {
    run.fake.call(run.session, run.step(), 'write');
    await run.forever();
  },
  'endless-compaction': async (run) => {
    run.step();
    run.fake.compact(run.session);
    await run.forever();
  },
  'parent-of-hang': async (run) => {
    await run.subagent('[[hang]]');
    run.answer();
  },
  'parent-of-429': async (run) => {
    await run.subagent('[[429]]');
    run.answer();
  },

  // Runaways.
  'same-call': without((run) => readFile(run, '1.txt', 'the same')),
  cycle: without((run, nth) => readFile(run, `${nth % 2}.txt`, `the same ${nth % 2}`)),
  'empty-steps': without(({ fake, session }) => {
    const id = fake.newMessageID();
    fake.step(session, id);
    fake.stepEnded(session, id, 'unknown');
  }),
  compactions: without((run, nth) => {
    run.fake.compact(run.session).done();
    readFile(run, `${nth}.txt`, `text ${nth}`);
  }),
  'same-text': async (run) => {
    await run.recite(() => PASSAGE);
  },
  'many-many-steps': without((run, nth) => readFile(run, `${nth}.txt`, `text ${nth}`)),
};

const MARKER = /\[\[([\w-]+)(?: (\d+))?\]\]/;

/**
 * From now on a prompt that names a behaviour is played. Other prompts are left to the test. By default the waits
 * between attempts take a tenth of their time.
 */
export function behave(fake: FakeOpencode2, { retryPace = 10 } = {}): void {
  fake.onPrompt = (session, { text }) => {
    const [, name = '', ms = '0'] = MARKER.exec(text) ?? [];
    const play = BEHAVIOURS[name];
    if (play === undefined) return;
    play(new Run(fake, session, retryPace), Number(ms)).catch((error: unknown) => {
      if (!(error instanceof Ended)) throw error;
    });
  };
}
