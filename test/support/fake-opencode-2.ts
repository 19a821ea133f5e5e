/**
 * A fake OpenCode 2 server, made after opencode-2-facts: no 2.x binary was to be had. What it resembles is listed in
 * section 13 of the sheet; what only a process shows (ports, the managed service) is not here.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

type Data = Record<string, unknown>;

export interface Fake2Options {
  version?: string;
  password?: string;
  port?: number;
  /** Point 3; the real one is 15 s. Null: no comment at all, a frozen server. */
  heartbeatMs?: number | null;
  /** Point 1: 2.0.5–2.0.12 answer 401 with HTML everywhere. */
  answers401Html?: boolean;
}

export interface Fake2Session {
  id: string;
  directory: string;
  parentID?: string;
  /** Newest first. */
  messages: Data[];
  /** Point 7: after an interrupt it stays active for so long, ms; null: for ever. */
  stopsAfterMs: number | null;
  stopping: boolean;
  seq: number;
  /** What its run waits for. */
  asks: Map<string, Data>;
}

const ERROR = { type: 'provider.rate-limit', message: 'Too many requests', status: 429 };

export class FakeOpencode2 {
  /** Point 2. */
  state: 'ready' | 'starting' | 'stopping' | 'failed' = 'ready';
  /** Point 8: a delete waits for the run; true: for ever. */
  deleteHangs = false;
  readonly version: string;
  readonly password: string;
  readonly sessions = new Map<string, Fake2Session>();
  readonly active = new Set<string>();
  readonly requests: Array<{ method: string; path: string; body: unknown }> = [];
  readonly #options: Fake2Options;
  readonly #admitted = new Map<string, string>();
  readonly #streams = new Set<ServerResponse>();
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
    this.#server.listen(this.#options.port ?? 0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close').catch(() => undefined);
  }

  addSession(more: { directory?: string; parentID?: string } = {}): Fake2Session {
    const id = `ses_${++this.#ids}`;
    const session: Fake2Session = {
      id,
      directory: '/p',
      messages: [],
      stopsAfterMs: 0,
      stopping: false,
      seq: 0,
      asks: new Map(),
      ...more,
    };
    this.sessions.set(id, session);
    const { directory, parentID } = session;
    this.emit(session, 'session.created', { location: { directory }, projectID: 'p', parentID });
    return session;
  }

  /** Point 4: no location on what an execution tells; gaps in `seq`. */
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

  send(frame: unknown): void {
    for (const stream of this.#streams) stream.write(`data: ${JSON.stringify(frame)}\n\n`);
  }

  /** Point 3: the connection breaks in the middle of a frame. */
  breakStreams(): void {
    for (const stream of this.#streams) stream.write('data: {"id":"evt_', () => stream.destroy());
  }

  /** A turn up to its first request (section 3.4). */
  begin(session: Fake2Session): void {
    const inboxID = `msg_${++this.#ids}`;
    const item = { type: 'user', payload: { text: 'hi' }, delivery: 'steer' };
    this.emit(session, 'session.inbox.enqueued', { inboxID, item });
    this.active.add(session.id);
    this.emit(session, 'session.execution.started');
    this.emit(session, 'session.inbox.delivered', { inboxID });
    session.messages.unshift({ id: inboxID, type: 'user', time: { created: Date.now() } });
  }

  step(session: Fake2Session, messageID: string): void {
    const model = { id: 'm', providerID: 'fake' };
    const known = session.messages.find(({ id }) => id === messageID);
    if (known) delete known.retry;
    else {
      const time = { created: Date.now() };
      session.messages.unshift({ id: messageID, type: 'assistant', model, content: [], time });
    }
    const data = { assistantMessageID: messageID, agent: 'build', model, started: Date.now() };
    this.emit(session, 'session.step.started', data);
  }

  /** Point 6: `attempt` is the number of the coming one, 2 at first. */
  retry(session: Fake2Session, messageID: string, attempt: number, waitMs: number, error = ERROR) {
    this.step(session, messageID);
    const at = Date.now() + waitMs;
    const known = session.messages.find(({ id }) => id === messageID);
    if (known) known.retry = { attempt, at, error };
    const data = { assistantMessageID: messageID, attempt, at, error };
    this.emit(session, 'session.retry.scheduled', data);
  }

  /** A step with one tool, from the model's first word to its end; point 5: its name comes once. */
  tool(session: Fake2Session, messageID: string, name: string, input: unknown, result: string) {
    const call = { assistantMessageID: messageID, id: `call_${++this.#ids}` };
    this.step(session, messageID);
    this.emit(session, 'session.tool.input.started', { ...call, name });
    this.emit(session, 'session.tool.input.ended', { ...call, text: JSON.stringify(input) });
    this.emit(session, 'session.tool.called', { ...call, input, executed: true });
    this.emit(session, 'session.step.streamed', { assistantMessageID: messageID });
    this.emit(session, 'session.renamed', { title: 'A title' });
    const content = [{ type: 'text', text: result }];
    this.emit(session, 'session.tool.success', { ...call, content, executed: true });
    this.stepEnded(session, messageID, 'tool-calls');
  }

  stepEnded(session: Fake2Session, messageID: string, finish: string): void {
    const tokens = { input: 10, output: 5, reasoning: 0, cache: { read: 0, write: 0 } };
    const data = { assistantMessageID: messageID, finish, cost: 0.01, tokens };
    this.emit(session, 'session.step.ended', data);
    this.emit(session, 'session.usage.updated', { cost: 0.02, tokens });
  }

  end(session: Fake2Session, how: 'succeeded' | 'failed' | 'interrupted', data: Data = {}): void {
    this.active.delete(session.id);
    session.stopping = false;
    this.emit(session, `session.execution.${how}`, data);
    this.emit(session, 'session.viewed', { idle: 1 });
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
    this.requests.push({ method, path: pathname, body: read });
    const html = (status: number) => {
      response.writeHead(status, { 'content-type': 'text/html' }).end('<!doctype html>');
    };
    const json = (status: number, value: unknown, headers: Record<string, string> = {}) => {
      const type = { 'content-type': 'application/json' };
      response.writeHead(status, { ...type, ...headers }).end(JSON.stringify(value));
    };
    if (this.#options.answers401Html) return html(401);
    if (!pathname.startsWith('/api')) {
      if (method === 'GET' || method === 'HEAD') return html(200);
      response.writeHead(405).end();
      return;
    }
    const expected = `Basic ${Buffer.from(`opencode:${this.password}`).toString('base64')}`;
    if (request.headers.authorization !== expected) {
      const error = { _tag: 'UnauthorizedError', message: 'Authentication required' };
      return json(401, error, { 'www-authenticate': 'Basic realm="Secure Area"' });
    }
    const info = {
      version: this.version,
      pid: process.pid,
      urls: [this.url],
      paths: { tmp: '/tmp' },
    };
    if (pathname === '/api/info') {
      if (this.state === 'ready') return json(200, info);
      if (this.state === 'failed') return json(500, info);
      return json(503, info, { 'retry-after': '1' });
    }
    if (this.state !== 'ready') return json(503, { code: `service_${this.state}` });
    if (pathname === '/api/event') return this.#stream(response);
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
    if (kind !== 'session') {
      response.writeHead(404).end();
      return;
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
        return json(200, { data: session.messages.slice(0, limit), cursor: {} });
      }
      case 'interrupt':
        return json(200, { interrupted: this.#interrupt(session) });
      case 'agent':
      case 'model':
        return done();
      case 'prompt': {
        const { id: given = `msg_${++this.#ids}` } = read as { id?: string };
        const before = this.#admitted.get(given);
        if (before !== undefined && before !== body) return json(409, { _tag: 'ConflictError' });
        this.#admitted.set(given, body);
        if (before === undefined) this.begin(session);
        return json(200, { data: { id: given, sessionID: id, type: 'user', delivery: 'steer' } });
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
        // Point 9, the mislabelled end.
        if (isNo && words === undefined) this.end(session, 'interrupted', { reason: 'shutdown' });
        return done();
      }
      default:
        response.writeHead(404).end();
    }
  }

  /** Point 7: answers at once; true once, then false. */
  #interrupt(session: Fake2Session): boolean {
    if (!this.active.has(session.id) || session.stopping) return false;
    session.stopping = true;
    const { stopsAfterMs } = session;
    const stop = () => this.end(session, 'interrupted', { reason: 'user' });
    if (stopsAfterMs !== null) setTimeout(stop, stopsAfterMs).unref();
    return true;
  }

  #stream(response: ServerResponse): void {
    const headers = {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
    };
    response.writeHead(200, headers);
    response.write(
      `data: ${JSON.stringify({ id: 'evt_0', type: 'server.connected', data: {} })}\n\n`,
    );
    this.#streams.add(response);
    response.on('close', () => this.#streams.delete(response));
    const { heartbeatMs = 15_000 } = this.#options;
    if (heartbeatMs === null) return;
    response.write(': heartbeat\n\n');
    const timer = setInterval(() => response.write(': heartbeat\n\n'), heartbeatMs);
    response.on('close', () => clearInterval(timer));
  }
}

function infoOf({ id, directory, parentID }: Fake2Session): Data {
  const time = { created: Date.now() - 1_000, updated: Date.now() };
  return { id, parentID, projectID: 'p', title: 'A title', cost: 0, time, location: { directory } };
}

function asksOf({ asks }: Fake2Session, kind: 'permission' | 'form'): Data[] {
  const prefix = kind === 'form' ? 'frm_' : 'per_';
  return [...asks].filter(([id]) => id.startsWith(prefix)).map(([, request]) => request);
}

export function startFakeOpencode2(options: Fake2Options = {}): Promise<FakeOpencode2> {
  return new FakeOpencode2(options).listen();
}
