/** The sessions of a run. Each is begun, observed past all network faults, and treated as a person would treat it. */
import type { Message, Status } from '../test/support/opencode-api.js';
import { pause } from '../test/support/wait.js';
import type { Environment } from './environment.js';
import type { Emit } from './evidence.js';
import { type KindName, kindOf, type PersonDoes } from './kinds.js';
import type { Limits } from './limits.js';
import type { PlannedSession } from './schedule.js';

interface SimulatedSession {
  id: string;
  directory: string;
  scenario: KindName;
  title: string;
  child: boolean;
  begunAt: number;
  /** Polls in a row that did not show it at work. */
  missed: number;
}

/** How long beginning a session is retried if it cannot be begun (no server, a full disk). */
const BEGIN_MS = 30_000;
const REQUEST_MS = 5_000;
const PROMPT_MS = 10_000;
const POLL_MS = 700;
/** A prompt is accepted a moment before the session is seen at work. */
const BEGINS_MS = 2_000;
const MISSES = 2;
/** A person who finds no question keeps trying for this long. */
const PERSON_MS = 30_000;

export class Workload {
  readonly #environment: Environment;
  readonly #limits: Limits;
  readonly #emit: Emit;
  readonly #stop: AbortSignal;
  readonly #open = new Map<string, SimulatedSession>();
  readonly #ids = new Set<string>();
  #count = 0;
  #beginning = 0;
  /** Sessions that could not be begun. */
  skipped = 0;
  begun = 0;

  constructor(environment: Environment, limits: Limits, emit: Emit, stop: AbortSignal) {
    this.#environment = environment;
    this.#limits = limits;
    this.#emit = emit;
    this.#stop = stop;
  }

  /** Sessions at work, or about to be. */
  get open(): number {
    return this.#open.size + this.#beginning;
  }

  async begin({ kind: scenario, project }: Omit<PlannedSession, 'at'>): Promise<void> {
    const directory = this.#environment.projects[project] ?? this.#environment.home.directory;
    const title = `${scenario}-${++this.#count}`;
    const deadline = Date.now() + BEGIN_MS;
    this.#beginning += 1;
    try {
      for (;;) {
        const begun = await this.#tryBegin(scenario, title, directory);
        if (begun || this.#stop.aborted) return;
        if (Date.now() > deadline) {
          this.skipped += 1;
          return;
        }
        await pause(1_000);
      }
    } finally {
      this.#beginning -= 1;
    }
  }

  /** The server process is gone, and every run with it. */
  cutAll(): void {
    for (const { id } of this.#open.values()) this.#emit({ kind: 'session.cut', sessionID: id });
    this.#open.clear();
  }

  /** Observes all sessions until it is told to stop. */
  async watch(): Promise<void> {
    while (!this.#stop.aborted) {
      const directories = new Set([...this.#open.values()].map(({ directory }) => directory));
      await Promise.all([...directories].map((directory) => this.#look(directory)));
      await pause(POLL_MS);
    }
  }

  /** Called for a subagent in a log line, which may come before our own poll finds it. */
  adopt(sessionID: string, parentID: string): void {
    const parent = this.#open.get(parentID);
    if (parent && !this.#ids.has(sessionID)) this.#enter({ ...parent, id: sessionID, child: true });
  }

  async #tryBegin(scenario: KindName, title: string, directory: string): Promise<boolean> {
    const kind = kindOf(scenario);
    const session = await this.#call<{ id: string }>('POST', '/session', directory, {
      title,
      ...(kind.permission && { permission: kind.permission }),
    });
    if (session === undefined) return false;
    const { id } = session;
    const text = `${kind.prompt(this.#limits).replaceAll('@', `(${title})`)} (${title})`;
    this.#ids.add(id);
    this.#emit({ kind: 'session.known', sessionID: id, title, scenario, child: false });
    const { provider: providerID = 'fake', model: modelID = 'm1' } = kind;
    const body = { model: { providerID, modelID }, parts: [{ type: 'text', text }] };
    // A prompt without an answer may have been accepted anyway. Our polls will show it.
    await this.#call('POST', `/session/${id}/prompt_async`, directory, body, PROMPT_MS);
    this.#enter({ id, directory, scenario, title, child: false, begunAt: 0, missed: 0 });
    if (kind.person) {
      void this.#person(id, directory, kind.person.does, kind.person.after(this.#limits));
    }
    return true;
  }

  #enter(simulated: SimulatedSession): void {
    const { id, scenario, title, child } = simulated;
    if (!this.#ids.has(id)) {
      this.#ids.add(id);
      this.#emit({ kind: 'session.known', sessionID: id, title, scenario, child });
    }
    this.#open.set(id, { ...simulated, begunAt: Date.now(), missed: 0 });
    this.begun += 1;
    this.#emit({ kind: 'session.begun', sessionID: id });
  }

  async #look(directory: string): Promise<void> {
    const asked = Date.now();
    const statuses = await this.#call<Record<string, Status>>('GET', '/session/status', directory);
    if (statuses === undefined) return;
    for (const id of Object.keys(statuses)) if (!this.#ids.has(id)) await this.#find(id, directory);
    for (const simulated of [...this.#open.values()]) {
      if (simulated.directory !== directory || simulated.begunAt > asked - BEGINS_MS) continue;
      simulated.missed = statuses[simulated.id] === undefined ? simulated.missed + 1 : 0;
      if (simulated.missed >= MISSES) await this.#ended(simulated);
    }
  }

  /** A session that we did not begin belongs to a subagent of one that we did. */
  async #find(id: string, directory: string): Promise<void> {
    const info = await this.#call<{ parentID?: string }>('GET', `/session/${id}`, directory);
    if (info?.parentID !== undefined) this.adopt(id, info.parentID);
  }

  async #ended({ id, directory, child }: SimulatedSession): Promise<void> {
    const messages = child
      ? undefined
      : await this.#call<Message[]>('GET', `/session/${id}/message`, directory);
    // Its server may have gone meanwhile.
    if (!this.#open.delete(id)) return;
    this.#emit({ kind: 'session.ended', sessionID: id, finish: finishOf(messages) });
  }

  async #person(id: string, directory: string, does: PersonDoes, after: number): Promise<void> {
    await pause(after);
    const deadline = Date.now() + PERSON_MS;
    while ((does === 'prompt' || this.#open.has(id)) && Date.now() < deadline) {
      if (await this.#act(id, directory, does)) return;
      await pause(1_000);
    }
  }

  async #act(id: string, directory: string, does: PersonDoes): Promise<boolean> {
    if (does === 'prompt') {
      // The run counts as parked if it was ended and its server is still there.
      if (this.#open.has(id) || this.#stop.aborted) return this.#stop.aborted;
      const body = { parts: [{ type: 'text', text: '[[ok]]' }] };
      const path = `/session/${id}/prompt_async`;
      const { opencode } = this.#environment;
      try {
        await opencode.call('POST', path, directory, body, PROMPT_MS);
        this.#emit({ kind: 'session.prompted', sessionID: id });
        return true;
      } catch (error) {
        // A server that is down has taken nothing. Of any other prompt without an answer nobody knows whether it was taken.
        return !isRefused(error);
      }
    }
    if (does === 'delete') {
      if ((await this.#call('DELETE', `/session/${id}`, directory)) !== true) return false;
      this.#emit({ kind: 'session.ripe', sessionID: id });
      return true;
    }
    const what = does === 'allow' ? 'permission' : 'question';
    const pending = await this.#call<{ id: string; sessionID: string }[]>(
      'GET',
      `/${what}`,
      directory,
    );
    const request = pending?.find(({ sessionID }) => sessionID === id);
    if (request === undefined) return false;
    const answer = does === 'allow' ? { reply: 'once' } : { answers: [['left']] };
    return (
      (await this.#call('POST', `/${what}/${request.id}/reply`, directory, answer)) !== undefined
    );
  }

  /** Undefined if it failed, which is common under chaos. */
  async #call<T>(
    method: string,
    path: string,
    directory: string,
    body?: unknown,
    ms = REQUEST_MS,
  ): Promise<T | undefined> {
    try {
      return await this.#environment.opencode.call<T>(method, path, directory, body, ms);
    } catch {
      return undefined;
    }
  }
}

function isRefused(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED';
}

function finishOf(messages: Message[] | undefined): string {
  const last = messages?.findLast(({ info }) => info.role === 'assistant')?.info;
  if (last === undefined) return 'unknown';
  return last.error ? 'error' : (last.finish ?? 'unknown');
}
