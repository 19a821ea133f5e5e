/** A real opencode, its failing provider and the daemon that watches it, for many sessions side by side. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { type LogLine, startDaemon, type TestDaemon } from './daemon.js';
import { type FakeProvider, startFakeProvider } from './fake-provider.js';
import { api, binary, type Opencode, opencodeEnv, prepareHome, startOpencode } from './opencode.js';
import type { Model, NewSession, OpencodeApi } from './opencode-api.js';
import type { Home, HomeOptions } from './opencode-home.js';
import { freePort } from './ports.js';
import { measureSlowness, noteBoot, patientProbes, slowness } from './slowness.js';
import { waitFor } from './wait.js';

/** A session that was prompted. Its title says what it is about, and makes its prompt unlike all others. */
export interface Judged {
  id: string;
  directory: string;
  title: string;
}

export interface Ask {
  title: string;
  /** The provider's markers. `@` stands for the title: a subagent's prompt contains the title only if `@` is in it. */
  text: string;
  directory?: string;
  permission?: NewSession['permission'];
  /** `provider/model`, or a model of the provider `fake`; else opencode's default. */
  model?: string;
}

const START_TIMEOUT_MS = 120_000;
const RUN_TIMEOUT_MS = 90_000;

/** Events that say that the daemon acted on a session. */
const TOUCHES = [
  'session.stuck',
  'session.aborting',
  'session.aborted',
  'session.abort_failed',
  'session.wedged',
  'session.interrupted',
];

/** The session asks before each bash command. */
export const ASK_BASH: NewSession['permission'] = [
  { permission: 'bash', pattern: '*', action: 'ask' },
];

export class JudgedWorld {
  readonly #cleanups: (() => Promise<unknown>)[] = [];
  #watchdog: TestDaemon | undefined;
  #takenSlowness: number | undefined;

  private constructor(
    readonly provider: FakeProvider,
    readonly home: Home,
    readonly port: number,
    readonly opencode: OpencodeApi,
    /** The server's own directory. */
    readonly directory: string,
    /** Another project's directory. */
    readonly other: string,
  ) {}

  /** Starts no server: `serve` and `daemon` do. */
  static async make(options: HomeOptions = {}): Promise<JudgedWorld> {
    const provider = await startFakeProvider();
    const home = await prepareHome(provider, options);
    const port = await freePort();
    const other = await home.project('other');
    const opencode = api(`http://127.0.0.1:${port}`);
    const world = new JudgedWorld(provider, home, port, opencode, home.directory, other);
    world.#cleanups.push(
      () => provider.stop(),
      () => home.remove(),
    );
    return world;
  }

  async end(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }

  async serve(): Promise<Opencode> {
    const { provider, home, port } = this;
    const server = await startOpencode({ provider, home, port });
    this.#cleanups.push(() => server.stop());
    return server;
  }

  /**
   * Measured once, so that limits and the times compared with them grow alike, even if the machine gets slower in
   * between.
   */
  get #slowness(): number {
    this.#takenSlowness ??= slowness();
    return this.#takenSlowness;
  }

  /**
   * A duration for the daemon's configuration, longer on a slow machine. There, too, what is healthy must stay within
   * its limit, and what the provider does must exceed it (`count`).
   */
  time(seconds: number): string {
    return `${Math.round(seconds * 1_000 * this.#slowness)}ms`;
  }

  /** A number of chunks, or of seconds, in a marker of the provider. It grows as `time` does. */
  count(amount: number): number {
    return Math.ceil(amount * this.#slowness);
  }

  /**
   * Resolves when the daemon has found the server healthy and listens to its stream. If there is no server, the daemon
   * starts one.
   */
  async daemon(config: Record<string, unknown>): Promise<TestDaemon> {
    // A server has one daemon: the one of an earlier test is stopped.
    await this.#watchdog?.stop();
    await measureSlowness();
    const watchdog = await startDaemon({
      config: {
        watch: { pollInterval: '1s' },
        log: { healthInterval: '5s' },
        probe: patientProbes(),
        ...config,
        server: {
          url: `http://127.0.0.1:${this.port}`,
          directory: this.directory,
          startTimeout: `${START_TIMEOUT_MS}ms`,
        },
        status: { listen: 'off' },
      },
      env: opencodeEnv(this.home.path),
    });
    this.#watchdog = watchdog;
    this.#cleanups.push(() => watchdog.stop());
    const { tookMs } = await watchdog.saw('server.healthy', {}, START_TIMEOUT_MS);
    if (typeof tookMs === 'number') noteBoot(tookMs);
    await watchdog.saw('stream.connected', {}, START_TIMEOUT_MS);
    return watchdog;
  }

  async begin({
    title,
    text,
    directory = this.directory,
    permission,
    model,
  }: Ask): Promise<Judged> {
    const { id } = await this.opencode.createSession({
      directory,
      title,
      ...(permission && { permission }),
    });
    await this.opencode.promptAsync(
      id,
      directory,
      `${text.replaceAll('@', `(${title})`)} (${title})`,
      model === undefined ? undefined : modelNamed(model),
    );
    return { id, directory, title };
  }

  /**
   * Loads plugins and everything else that a directory's first prompt triggers, so that later prompts are not delayed
   * by it.
   */
  async warmUp(...directories: string[]): Promise<void> {
    await measureSlowness();
    for (const directory of directories) {
      await this.finished(await this.begin({ title: 'warm-up', text: '[[ok]]', directory }));
    }
  }

  /** Waits until the provider got a request for the session. */
  async asked({ title }: Judged): Promise<void> {
    await waitFor(() => this.provider.count(`(${title})`) > 0, {
      what: `the provider to be asked: ${title}`,
      timeout: RUN_TIMEOUT_MS,
    });
  }

  async retrying({ id, directory, title }: Judged, attempt = 1): Promise<void> {
    await waitFor(
      async () => {
        const status = (await this.opencode.status(directory))[id];
        return status?.type === 'retry' && (status.attempt ?? 0) >= attempt;
      },
      { what: `${title} to be in retry`, timeout: RUN_TIMEOUT_MS },
    );
  }

  async idle({ id, directory, title }: Judged): Promise<void> {
    await waitFor(async () => !(await this.opencode.status(directory))[id], {
      what: `${title} to be idle`,
      timeout: RUN_TIMEOUT_MS,
    });
  }

  /** The text of the session's last message. */
  async answer({ id, directory }: Judged): Promise<string> {
    const last = (await this.opencode.messages(id, directory)).at(-1);
    return (last?.parts ?? []).map(({ text }) => text ?? '').join('');
  }

  /** Waits until the session's last run came to its regular end. */
  async finished(session: Judged): Promise<void> {
    await waitFor(
      async () => {
        const messages = await this.opencode.messages(session.id, session.directory);
        const last = messages.at(-1)?.info;
        if (last?.role === 'assistant' && last.finish === 'stop') return true;
        throw new Error(`its last message is ${JSON.stringify(last)}`);
      },
      { what: `${session.title} to finish`, timeout: RUN_TIMEOUT_MS },
    );
    await this.idle(session);
  }

  /** The session's subagent. */
  async child(parent: Judged): Promise<Judged> {
    return waitFor(
      async () => {
        const [child] = await this.opencode.children(parent.id, parent.directory);
        return child && { ...parent, id: child.id, title: `subagent of ${parent.title}` };
      },
      { what: `the subagent of ${parent.title}`, timeout: RUN_TIMEOUT_MS },
    );
  }

  /**
   * How many requests the session itself made. They count even if a compaction has removed its prompt from the
   * conversation.
   */
  requests({ id }: Judged): number {
    return this.provider.requests.filter(({ key }) => key === id).length;
  }

  /** How many requests of the session (or its subagents) the client hung up on. */
  hungUp({ title }: Judged): number {
    return this.provider.about(`(${title})`).filter(({ aborted }) => aborted).length;
  }
}

function modelNamed(name: string): Model {
  const [providerID = '', modelID = ''] = name.includes('/') ? name.split('/') : ['fake', name];
  return { providerID, modelID };
}

/**
 * A configuration that allows subagents of subagents. A key that this opencode does not know is left out, because
 * opencode then refuses to start.
 */
export function nestedSubagents(): Record<string, unknown> {
  const limited = readFileSync(binary()).includes('subagent_depth');
  return {
    agent: { general: { permission: { task: 'allow' } } },
    ...(limited && { subagent_depth: 3 }),
  };
}

/** What the daemon did to the session, in the log's words. */
export function touches(watchdog: TestDaemon, { id }: Judged): string[] {
  return watchdog.lines
    .filter(({ event, sessionID }) => TOUCHES.includes(event) && sessionID === id)
    .map(({ event, reason, msg }) => `${event} ${reason ?? ''}: ${msg}`);
}

/** Every line of this event about the session. */
export function lines(watchdog: TestDaemon, event: string, session: Judged): LogLine[] {
  return watchdog.events(event, { sessionID: session.id });
}

/**
 * Checks that the session was declared stuck once, for this reason (or one of these, if versions tell more or less),
 * and that the abort was verified.
 */
export async function expectEnded(
  watchdog: TestDaemon,
  session: Judged,
  reason: string | readonly string[],
): Promise<LogLine> {
  const { id: sessionID, title } = session;
  const stuck = await watchdog.saw('session.stuck', { sessionID }, RUN_TIMEOUT_MS);
  await watchdog.saw('session.aborted', { sessionID });
  expect(lines(watchdog, 'session.stuck', session), title).toHaveLength(1);
  expect([reason].flat(), `${title}: ${stuck.msg}`).toContain(stuck.reason);
  return stuck;
}

/** Begins one session that asks for a permission, and one that asks a question in another directory. */
export async function askPerson(world: JudgedWorld, about: string) {
  const { other } = world;
  const permission = await world.begin({
    title: `permission ${about}`,
    text: '[[bash touch must-not-be]]',
    permission: ASK_BASH,
  });
  const question = await world.begin({
    title: `question ${about}`,
    text: '[[question]]',
    directory: other,
  });
  return { permission, question };
}

/** Waits for a continuation's outcome. If it failed, the line says why. */
export const continuation = (watchdog: TestDaemon, session: Judged): Promise<LogLine> =>
  waitFor(
    () =>
      [
        ...lines(watchdog, 'session.continued', session),
        ...lines(watchdog, 'session.continue_failed', session),
      ][0],
    { what: `${session.title} to be continued`, timeout: 60_000 },
  );
