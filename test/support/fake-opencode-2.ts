/**
 * A fake OpenCode 2 server. It follows opencode-2-facts, because no 2.x binary was available. Section 13 of the sheet
 * lists what it imitates. What only a process can show (ports, the managed service) is in opencode-2-program.ts.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { constants, createGzip } from 'node:zlib';

type Data = Record<string, unknown>;

export interface Fake2Options {
  version?: string;
  password?: string;
  port?: number;
  hostname?: string;
  /** Point 3. The real server sends one every 15 s. Null: no comment at all, like a frozen server. */
  heartbeatMs?: number | null;
  /** Point 1: without the password, 2.0.5–2.0.12 answer every request with 401 and HTML. */
  answers401Html?: boolean;
  /** Before 2.0 (section 1.1): `/api/health` and no `/api/info`. */
  beta?: boolean;
}

export interface Fake2Session {
  id: string;
  directory: string;
  parentID?: string;
  /** Newest first. */
  messages: Data[];
  /** Point 7: the session stays active for this long after an interrupt, ms. Null: for ever. */
  stopsAfterMs: number | null;
  stopping: boolean;
  seq: number;
  /** The open requests that its run waits for. */
  asks: Map<string, Data>;
  title: string;
  metadata?: Data;
  agent?: string;
  model?: Model;
  /** Waiting prompts, oldest first. */
  inbox: Prompt[];
  /** Point 10: set from a run's start to its end. If a shutdown ended the run, it stays. */
  claim: { text: string; resumes: number } | undefined;
  /** Executions so far. Code that plays an execution sees by a change that its own is over. */
  executions: number;
}

interface Prompt {
  id: string;
  text: string;
  delivery: 'steer' | 'queue';
  metadata?: Data;
  files?: { uri: string; name?: string }[];
}

interface Model {
  id: string;
  providerID: string;
  variant?: string;
}

const DEFAULT_MODEL: Model = { id: 'm', providerID: 'fake' };
const NO_TOKENS = { input: 10, output: 5, reasoning: 0, cache: { read: 0, write: 0 } };

/** Section 6. */
const MAX_RESUMES = 10;

/** Section 5: the waits before the ten retries of a step, without their ±20 %. */
export const RETRY_GAPS_MS = [2, 4, 8, 10, 10, 10, 10, 10, 10, 10].map((s) => s * 1_000);

const ERROR = { type: 'provider.rate-limit', message: 'Too many requests', status: 429 };

/** An event stream of one client, compressed or not. */
interface EventStream {
  write(text: string, then?: () => void): void;
  end(): void;
  destroy(): void;
}

export class FakeOpencode2 {
  /** Point 2: what the server answers while it starts, stops, or has failed to start. */
  state: 'ready' | 'starting' | 'stopping' | 'failed' = 'ready';
  /** Point 8: a delete waits for the run to end. True: it waits for ever. */
  deleteHangs = false;
  /**
   * What an eviction does to the runs of its directory; the sheet leaves this open (section 6). `missing`: the route
   * does not exist, because debug routes move between releases (section 4.1).
   */
  eviction: 'nothing' | 'ends_runs' | 'missing' = 'nothing';
  /** Called once a run's prompt was delivered, to play the run. By default nothing happens, and the test plays it. */
  onPrompt: (session: Fake2Session, prompt: { id: string; text: string }) => void = () => {};
  /** Called when a claim was set or cleared. */
  onClaim: () => void = () => {};
  models: Data[] = [
    { ...DEFAULT_MODEL, name: 'Model', enabled: true, variants: [{ id: 'high' }], limit: {} },
  ];
  /** By directory; null: none. Elsewhere it is the first of the models. */
  readonly defaultModels = new Map<string, Data | null>();
  readonly version: string;
  readonly password: string;
  readonly sessions = new Map<string, Fake2Session>();
  readonly active = new Set<string>();
  readonly requests: Array<{
    method: string;
    path: string;
    body: unknown;
    encodings?: string | undefined;
  }> = [];
  readonly #options: Fake2Options;
  /** Point 8: bodies of the prompts that were accepted, by id. */
  readonly #admitted = new Map<string, string>();
  readonly #streams = new Set<EventStream>();
  readonly #server: Server;
  #ids = 0;

  constructor(options: Fake2Options) {
    this.#options = options;
    this.version = options.version ?? '2.0.26';
    this.password = options.password ?? 'pw';
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<this> {
    this.#server.listen(this.#options.port ?? 0, this.#options.hostname ?? '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  /** What a SIGTERM does: runs end, and their claims are kept for a service that starts later (section 6). */
  shutDown(): void {
    this.state = 'stopping';
    for (const id of [...this.active]) {
      const session = this.sessions.get(id);
      if (session) this.end(session, 'interrupted', { reason: 'shutdown' });
    }
  }

  /** Point 10: a service that starts continues a run that was cut, at most ten times. */
  resume(session: Fake2Session): void {
    const { claim } = session;
    if (claim === undefined) return;
    claim.resumes += 1;
    if (claim.resumes > MAX_RESUMES) {
      this.#begin(session);
      this.end(session, 'failed', { error: { type: 'aborted', message: 'resumed too often' } });
      return;
    }
    const id = this.newMessageID();
    const note = { description: 'Continuing after restart', text: 'The server was restarted.' };
    session.messages.unshift({ id, type: 'synthetic', ...note, time: { created: Date.now() } });
    this.emit(session, 'session.synthetic', note);
    this.#begin(session);
    this.onPrompt(session, { id, text: claim.text });
    this.onClaim();
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close').catch(() => undefined);
  }

  addSession(
    more: Partial<Pick<Fake2Session, 'directory' | 'parentID' | 'title' | 'metadata'>> = {},
  ): Fake2Session {
    const id = `ses_${++this.#ids}`;
    const session: Fake2Session = {
      id,
      directory: '/p',
      messages: [],
      stopsAfterMs: 0,
      stopping: false,
      seq: 0,
      asks: new Map(),
      title: 'A title',
      inbox: [],
      executions: 0,
      claim: undefined,
      ...more,
    };
    this.sessions.set(id, session);
    const { directory, parentID } = session;
    this.emit(session, 'session.created', { location: { directory }, projectID: 'p', parentID });
    return session;
  }

  /** Point 4: events of an execution have no location; `seq` has gaps. */
  emit(session: Fake2Session, type: string, data: Data = {}): void {
    const bare = /^session\.(execution\.|usage\.updated|viewed)/.test(type);
    const isEphemeral = /\.(delta|progress)$|^(permission|form|shell)\.|usage\.updated/.test(type);
    session.seq += 1 + (session.seq % 3 === 2 ? 1 : 0);
    this.send({
      id: `evt_${++this.#ids}`,
      created: Date.now(),
      type,
      ...(!bare && { location: { directory: session.directory } }),
      data: { sessionID: session.id, ...data },
      ...(!isEphemeral && { durable: { aggregateID: session.id, seq: session.seq, version: 1 } }),
    });
  }

  newMessageID(): string {
    return `msg_${++this.#ids}`;
  }

  send(frame: unknown): void {
    for (const stream of this.#streams) stream.write(`data: ${JSON.stringify(frame)}\n\n`);
  }

  /** Point 3: every stream ends, as when the server stops. */
  endStreams(): void {
    for (const stream of this.#streams) stream.end();
  }

  /** Point 3: the connection breaks in the middle of a frame. */
  breakStreams(): void {
    for (const stream of this.#streams) stream.write('data: {"id":"evt_', () => stream.destroy());
  }

  /** A turn, up to its first request (section 3.4). */
  begin(session: Fake2Session, more: Partial<Prompt> = {}): void {
    const prompt: Prompt = { id: `msg_${++this.#ids}`, text: 'hi', delivery: 'steer', ...more };
    this.#enqueue(session, prompt);
    this.#start(session);
  }

  #enqueue(session: Fake2Session, prompt: Prompt): void {
    const { id: inboxID, delivery, ...payload } = prompt;
    session.inbox.push(prompt);
    const item = { type: 'user', payload, delivery };
    this.emit(session, 'session.inbox.enqueued', { inboxID, item });
  }

  /** Starts one execution, which takes the prompts that wait in the session's inbox. */
  #start(session: Fake2Session): void {
    if (this.active.has(session.id)) return;
    this.#begin(session);
    this.#deliver(session);
  }

  #begin(session: Fake2Session): void {
    this.active.add(session.id);
    session.executions += 1;
    this.emit(session, 'session.execution.started');
  }

  /** A step boundary: steered prompts are delivered; at the end of a turn, queued ones too. */
  #deliver(session: Fake2Session, isIdle = true): boolean {
    const next = session.inbox.find(({ delivery }) => delivery === 'steer') ?? session.inbox[0];
    if (next === undefined || (!isIdle && next.delivery === 'queue')) return false;
    session.inbox.splice(session.inbox.indexOf(next), 1);
    const { id, text, metadata, files } = next;
    this.emit(session, 'session.inbox.delivered', { inboxID: id });
    const time = { created: Date.now() };
    session.messages.unshift({ id, type: 'user', text, metadata, files, time });
    session.claim = { text, resumes: 0 };
    this.onClaim();
    this.onPrompt(session, { id, text });
    return true;
  }

  step(session: Fake2Session, messageID: string): void {
    const model = session.model ?? DEFAULT_MODEL;
    const agent = session.agent ?? 'build';
    const known = session.messages.find(({ id }) => id === messageID);
    if (known) delete known.retry;
    else {
      const time = { created: Date.now() };
      const message = { id: messageID, type: 'assistant', agent, model, content: [], time };
      session.messages.unshift(message);
    }
    const data = { assistantMessageID: messageID, agent, model, started: Date.now() };
    this.emit(session, 'session.step.started', data);
  }

  /** The message of an answer that was begun. */
  #begun(session: Fake2Session, messageID: string): Data & { content: Data[]; time: Data } {
    const known = session.messages.find(({ id }) => id === messageID);
    if (known === undefined) throw new Error(`the fake has begun no ${messageID}`);
    return known as Data & { content: Data[]; time: Data };
  }

  /** Writes a text in pieces, as a model does. */
  say(session: Fake2Session, messageID: string, ...pieces: string[]): void {
    const part = this.speak(session, messageID);
    for (const piece of pieces) part.add(piece);
    part.end();
  }

  /** Begins a text or a thought, to be written piece by piece. */
  speak(session: Fake2Session, messageID: string, of: 'text' | 'reasoning' = 'text') {
    const { content } = this.#begun(session, messageID);
    const base = { assistantMessageID: messageID, ordinal: content.length };
    const part = { type: of, text: '', time: { created: Date.now() } };
    content.push(part);
    this.emit(session, `session.${of}.started`, base);
    return {
      add: (delta: string) => {
        part.text += delta;
        this.emit(session, `session.${of}.delta`, { ...base, delta });
      },
      end: () => this.emit(session, `session.${of}.ended`, { ...base, text: part.text }),
    };
  }

  /** A whole answer to the prompt that was delivered last. */
  answer(session: Fake2Session, ...pieces: string[]): void {
    const messageID = `msg_${++this.#ids}`;
    this.step(session, messageID);
    if (pieces.length > 0) this.say(session, messageID, ...pieces);
    this.stepEnded(session, messageID, 'stop');
    this.end(session, 'succeeded');
  }

  /** A step that fails, and the turn with it. `messageID`: that of a step that was tried before. */
  fail(session: Fake2Session, error: Data, messageID = `msg_${++this.#ids}`): void {
    this.step(session, messageID);
    const message = this.#begun(session, messageID);
    Object.assign(message, { error, finish: 'error' });
    message.time.completed = Date.now();
    this.emit(session, 'session.step.failed', { assistantMessageID: messageID, error });
    this.end(session, 'failed', { error });
  }

  /** Point 6: `attempt` is the number of the next attempt, 2 at first. */
  retry(session: Fake2Session, messageID: string, attempt: number, waitMs: number, error = ERROR) {
    this.step(session, messageID);
    const at = Date.now() + waitMs;
    const known = session.messages.find(({ id }) => id === messageID);
    if (known) known.retry = { attempt, at, error };
    const data = { assistantMessageID: messageID, attempt, at, error };
    this.emit(session, 'session.retry.scheduled', data);
  }

  /** A step with one tool call, from the model's first word to the end of the step. */
  tool(session: Fake2Session, messageID: string, name: string, input: unknown, result: string) {
    this.step(session, messageID);
    const call = this.call(session, messageID, name);
    call.run(input);
    this.emit(session, 'session.renamed', { title: session.title });
    call.done(result);
    this.stepEnded(session, messageID, 'tool-calls');
  }

  /**
   * A tool call whose argument is begun. Point 5: the tool's name comes once, then nothing while the argument is
   * written.
   */
  call(session: Fake2Session, messageID: string, name: string) {
    const id = `call_${++this.#ids}`;
    const call = { assistantMessageID: messageID, id };
    const time: Data = { created: Date.now() };
    const part: Data = { type: 'tool', id, name, time };
    this.#begun(session, messageID).content.push(part);
    part.state = { status: 'streaming', input: '' };
    this.emit(session, 'session.tool.input.started', { ...call, name });
    let input: unknown;
    return {
      id,
      run: (given: unknown) => {
        input = given;
        time.ran = Date.now();
        this.emit(session, 'session.tool.input.ended', { ...call, text: JSON.stringify(input) });
        part.state = { status: 'running', input, metadata: {} };
        this.emit(session, 'session.tool.called', { ...call, input, executed: true });
        this.emit(session, 'session.step.streamed', { assistantMessageID: messageID });
      },
      progress: (metadata: Data) => {
        part.state = { status: 'running', input, metadata };
        this.emit(session, 'session.tool.progress', { ...call, metadata });
      },
      done: (result: string) => {
        const content = [{ type: 'text', text: result }];
        part.state = { status: 'completed', input, content };
        time.completed = Date.now();
        this.emit(session, 'session.tool.success', { ...call, content, executed: true });
      },
    };
  }

  /** A compaction. It is not a step, and it says nothing while it fails (section 5). */
  compact(session: Fake2Session, reason: 'auto' | 'manual' = 'auto') {
    const id = `msg_${++this.#ids}`;
    const message: Data = { id, type: 'compaction', status: 'running', reason };
    session.messages.unshift(Object.assign(message, { time: { created: Date.now() } }));
    this.emit(session, 'session.compaction.started', { reason });
    return {
      done: () => {
        Object.assign(message, { status: 'completed', summary: 'What was done.' });
        const data = { reason, text: 'What was done.', cost: 0.001, tokens: NO_TOKENS };
        this.emit(session, 'session.compaction.ended', data);
      },
    };
  }

  stepEnded(session: Fake2Session, messageID: string, finish: string): void {
    const tokens = NO_TOKENS;
    const message = this.#begun(session, messageID);
    Object.assign(message, { finish, cost: 0.01, tokens });
    message.time.completed = Date.now();
    const data = { assistantMessageID: messageID, finish, cost: 0.01, tokens };
    this.emit(session, 'session.step.ended', data);
    this.emit(session, 'session.usage.updated', { cost: 0.02, tokens });
    if (finish === 'tool-calls') this.#deliver(session, false);
  }

  /** Ends the turn, with a message of its own unless the server was shut down (section 4.1). */
  end(session: Fake2Session, how: 'succeeded' | 'failed' | 'interrupted', data: Data = {}): void {
    this.active.delete(session.id);
    session.stopping = false;
    if (data.reason !== 'shutdown') {
      session.claim = undefined;
      this.onClaim();
      const { error } = data;
      const idle = { id: `msg_${++this.#ids}`, type: 'idle', outcome: how, error };
      session.messages.unshift({ ...idle, time: { created: Date.now() } });
    }
    this.emit(session, `session.execution.${how}`, data);
    this.emit(session, 'session.viewed', { idle: 1 });
    // After an interrupt, waiting prompts stay parked (section 4.5).
    if (how !== 'interrupted' && session.inbox.length > 0) this.#start(session);
  }

  /** Point 9: the run waits for an answer. */
  ask(session: Fake2Session, on: 'permission' | 'form'): string {
    const id = `${on === 'form' ? 'frm' : 'per'}_${++this.#ids}`;
    const request = { id, sessionID: session.id, action: 'shell', resources: ['touch a'] };
    session.asks.set(id, request);
    if (on === 'permission') this.emit(session, 'permission.asked', request);
    else
      this.emit(session, 'form.created', {
        sessionID: undefined,
        form: { ...request, fields: [] },
      });
    return id;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET' } = request;
    const url = new URL(request.url ?? '/', 'http://x');
    const { pathname } = url;
    const body = await text(request);
    const read: unknown = body === '' ? undefined : JSON.parse(body);
    const encodings = request.headers['accept-encoding']?.toString();
    this.requests.push({ method, path: pathname, body: read, encodings });
    const html = (status: number) => {
      response.writeHead(status, { 'content-type': 'text/html' }).end('<!doctype html>');
    };
    const json = (status: number, value: unknown, headers: Record<string, string> = {}) => {
      const type = { 'content-type': 'application/json' };
      response.writeHead(status, { ...type, ...headers }).end(JSON.stringify(value));
    };
    const expected = `Basic ${Buffer.from(`opencode:${this.password}`).toString('base64')}`;
    const isKnown = request.headers.authorization === expected;
    if (this.#options.answers401Html && !isKnown) return html(401);
    if (!pathname.startsWith('/api')) {
      if (method === 'GET' || method === 'HEAD') return html(200);
      response.writeHead(405).end();
      return;
    }
    if (!isKnown) {
      const error = { _tag: 'UnauthorizedError', message: 'Authentication required' };
      return json(401, error, { 'www-authenticate': 'Basic realm="Secure Area"' });
    }
    const info = {
      version: this.version,
      pid: process.pid,
      urls: [this.url],
      paths: { tmp: '/tmp' },
    };
    if (this.#options.beta) {
      if (pathname === '/api/health') return json(200, { healthy: true });
      if (pathname === '/api/info') return void response.writeHead(404).end();
    }
    if (pathname === '/api/info') {
      if (this.state === 'ready') return json(200, info);
      if (this.state === 'failed') return json(500, info);
      return json(503, info, { 'retry-after': '1' });
    }
    if (this.state !== 'ready') return json(503, { code: `service_${this.state}` });
    if (pathname === '/api/event') {
      return this.#stream(response, encodings?.includes('gzip') ?? false);
    }
    const [, , kind, id = '', what, requestID, reply] = pathname.split('/');
    const no = (tag: string) => json(404, { _tag: tag, message: 'no such thing' });
    const done = () => void response.writeHead(204).end();
    if (kind === 'permission' || kind === 'form') {
      const directory = url.searchParams.get('location[directory]');
      const inside = [...this.sessions.values()].filter((each) => each.directory === directory);
      return json(200, {
        location: { directory },
        data: inside.flatMap((each) => asksOf(each, kind)),
      });
    }
    const place = { directory: url.searchParams.get('location[directory]') ?? '/p' };
    if (kind === 'model' && id === '') return json(200, { location: place, data: this.models });
    if (kind === 'model') {
      const own = this.defaultModels.get(place.directory);
      const data = own === undefined ? this.models[0] : (own ?? undefined);
      return json(200, { location: place, data });
    }
    if (kind === 'provider') {
      const ids = new Set(this.models.map(({ providerID }) => providerID));
      return json(200, { location: place, data: [...ids].map((each) => ({ id: each })) });
    }
    if (kind === 'agent') {
      const permissions = [
        { action: '*', resource: '*', effect: 'allow' },
        { action: 'read', resource: '*.env', effect: 'ask' },
        { action: 'read', resource: '*.env.example', effect: 'allow' },
      ];
      const agent = { mode: 'primary', hidden: false, permissions };
      const agents = [
        { ...agent, id: 'build', name: 'Build' },
        { ...agent, id: 'title', name: 'Title', hidden: true },
      ];
      return json(200, { location: place, data: agents });
    }
    if (kind === 'debug' && id === 'location' && this.eviction !== 'missing') {
      this.#evict(place.directory);
      return done();
    }
    if (kind === 'location') return json(200, { ...place, project: { id: 'p' } });
    if (kind !== 'session') {
      response.writeHead(404).end();
      return;
    }
    if (id === '' && method === 'POST') {
      const { location, title, parentID, metadata } = (read ?? {}) as {
        location?: { directory: string };
        title?: string;
        parentID?: string;
        metadata?: Data;
      };
      const made = this.addSession({
        ...location,
        ...(title !== undefined && { title }),
        ...(parentID !== undefined && { parentID }),
        ...(metadata && { metadata }),
      });
      return json(200, { data: infoOf(made) });
    }
    if (id === '') return json(200, { data: [...this.sessions.values()].map(infoOf), cursor: {} });
    if (id === 'active') {
      const running = [...this.active].map((each) => [each, { type: 'running' }]);
      return json(200, { data: Object.fromEntries(running) });
    }
    const session = this.sessions.get(id);
    if (session === undefined) return no('SessionNotFoundError');
    switch (what) {
      case undefined:
        if (method === 'DELETE') {
          if (this.deleteHangs) return;
          if (this.active.has(id)) this.end(session, 'interrupted', { reason: 'user' });
          this.sessions.delete(id);
          this.emit(session, 'session.deleted');
          return done();
        }
        return json(200, { data: infoOf(session) });
      case 'message': {
        const limit = Number(url.searchParams.get('limit') ?? 50);
        if (limit > 200) return json(400, { _tag: 'InvalidRequestError', field: 'limit' });
        const from = Number(url.searchParams.get('cursor') ?? 0);
        const page = session.messages.slice(from, from + limit);
        const next = from + limit < session.messages.length ? String(from + limit) : undefined;
        return json(200, { data: page, cursor: { next } });
      }
      case 'interrupt':
        return json(200, { interrupted: this.#interrupt(session) });
      case 'agent':
        session.agent = (read as { agent: string }).agent;
        this.emit(session, 'session.agent.selected', { agent: session.agent });
        return done();
      case 'model':
        session.model = (read as { model: Model }).model;
        this.emit(session, 'session.model.selected', { model: session.model });
        session.messages.unshift({
          id: `msg_${++this.#ids}`,
          type: 'model-switched',
          model: session.model,
          time: { created: Date.now() },
        });
        return done();
      case 'inbox': {
        const waiting = session.inbox.findIndex((each) => each.id === requestID);
        if (waiting < 0) return json(409, { _tag: 'ConflictError' });
        session.inbox.splice(waiting, 1);
        this.emit(session, 'session.inbox.cancelled', { inboxID: requestID });
        return done();
      }
      case 'prompt': {
        const given = read as Partial<Prompt> & { text: string };
        const { id: named = `msg_${++this.#ids}`, delivery = 'steer' } = given;
        const prompt: Prompt = { ...given, id: named, delivery };
        const before = this.#admitted.get(prompt.id);
        if (before !== undefined && before !== body) return json(409, { _tag: 'ConflictError' });
        this.#admitted.set(prompt.id, body);
        if (before === undefined) this.#enqueue(session, prompt);
        json(200, { data: { id: prompt.id, sessionID: id, type: 'user', delivery } });
        if (before === undefined) this.#start(session);
        return;
      }
      case 'permission':
      case 'form': {
        if (requestID === undefined) return json(200, { data: asksOf(session, what) });
        if (!session.asks.delete(requestID)) return no('PermissionNotFoundError');
        const { decision, message } = (read ?? {}) as { decision?: string; message?: string };
        const words = message ?? url.searchParams.get('message') ?? undefined;
        if (what === 'permission' && (reply !== 'reply' || decision === undefined))
          return json(400, { _tag: 'InvalidRequestError', field: 'decision' });
        const isNo = decision === 'reject' || method === 'DELETE';
        if (what === 'permission')
          this.emit(session, 'permission.replied', { requestID, reply: decision });
        else this.emit(session, isNo ? 'form.cancelled' : 'form.replied', { id: requestID });
        // Point 9: the mislabelled end.
        if (isNo && words === undefined) this.end(session, 'interrupted', { reason: 'shutdown' });
        return done();
      }
      default:
        response.writeHead(404).end();
    }
  }

  #evict(directory: string): void {
    for (const id of [...this.active]) {
      const session = this.sessions.get(id);
      if (this.eviction !== 'ends_runs' || session?.directory !== directory) continue;
      this.end(session, 'interrupted', { reason: 'shutdown' });
    }
    this.send({
      id: `evt_${++this.#ids}`,
      type: 'location.shutdown',
      location: { directory },
      data: {},
    });
  }

  /** Point 7: answers at once. Returns true the first time, then false. */
  #interrupt(session: Fake2Session): boolean {
    if (!this.active.has(session.id) || session.stopping) return false;
    session.stopping = true;
    const { stopsAfterMs } = session;
    const stop = () => this.end(session, 'interrupted', { reason: 'user' });
    if (stopsAfterMs !== null) setTimeout(stop, stopsAfterMs).unref();
    return true;
  }

  #stream(response: ServerResponse, gzips: boolean): void {
    const headers = {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
    };
    response.writeHead(200, { ...headers, ...(gzips && { 'content-encoding': 'gzip' }) });
    const stream = gzips ? gzipped(response) : response;
    stream.write(
      `data: ${JSON.stringify({ id: 'evt_0', type: 'server.connected', data: {} })}\n\n`,
    );
    this.#streams.add(stream);
    response.on('close', () => this.#streams.delete(stream));
    const { heartbeatMs = 15_000 } = this.#options;
    if (heartbeatMs === null) return;
    stream.write(': heartbeat\n\n');
    const timer = setInterval(() => stream.write(': heartbeat\n\n'), heartbeatMs);
    response.on('close', () => clearInterval(timer));
  }
}

/** Point 3: for a client that accepts compression. */
function gzipped(response: ServerResponse): EventStream {
  const gzip = createGzip();
  gzip.pipe(response);
  return {
    write: (text, then) => {
      gzip.write(text);
      gzip.flush(constants.Z_SYNC_FLUSH, then);
    },
    end: () => gzip.end(),
    destroy: () => response.destroy(),
  };
}

function infoOf({ id, directory, parentID, title, metadata, model }: Fake2Session): Data {
  const time = { created: Date.now() - 1_000, updated: Date.now() };
  const location = { directory };
  return { id, parentID, projectID: 'p', title, metadata, model, cost: 0, time, location };
}

function asksOf({ asks }: Fake2Session, kind: 'permission' | 'form'): Data[] {
  const prefix = kind === 'form' ? 'frm_' : 'per_';
  return [...asks].filter(([id]) => id.startsWith(prefix)).map(([, request]) => request);
}

export function startFakeOpencode2(options: Fake2Options = {}): Promise<FakeOpencode2> {
  return new FakeOpencode2(options).listen();
}
