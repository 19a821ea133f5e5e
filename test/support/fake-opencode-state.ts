/** The fake opencode's state: sessions and their status, open permissions and questions. */
import { type FakeEvent, FakeStreams } from './fake-opencode-streams.js';

/** Loose on purpose: tests also use statuses that no opencode has. */
export type FakeStatus = { type: string } & Record<string, unknown>;

/**
 * `works`: the run ends. `lies`: answers true and does nothing. `lost-once`: the first abort of each session does
 * nothing. `hangs`: never answers and does nothing.
 */
export type AbortBehaviour = 'works' | 'lies' | 'lost-once' | 'hangs';

export interface FakeSession {
  id: string;
  directory: string;
  title: string;
  parentID?: string;
  metadata?: unknown;
  status: FakeStatus;
  /** A ghost: a request for it gets 404, but its run and its status entry continue. */
  deleted: boolean;
  /** Overrides the server's `abortBehaviour`. */
  abort?: AbortBehaviour;
  aborts: number;
  time: { created: number; updated: number };
  messages: unknown[];
}

export interface FakePending {
  kind: 'permission' | 'question';
  id: string;
  sessionID: string;
}

export class FakeState {
  readonly sessions = new Map<string, FakeSession>();
  readonly pending = new Map<string, FakePending>();
  readonly streams: FakeStreams;
  abortBehaviour: AbortBehaviour = 'works';
  /** `missing`: the dispose route is unknown, as in old versions. */
  disposeBehaviour: 'works' | 'missing' = 'missing';
  /** Runs of 1.18's preview of OpenCode 2's API, by session: the contents of its lists, newest message first. */
  readonly preview = new Map<string, { messages: unknown[]; questions: unknown[] }>();
  /** The answer of `GET /provider`. */
  providers: Record<string, unknown> = {
    all: [{ id: 'fake', name: 'fake', models: { m1: { id: 'm1', name: 'm1' } } }],
    connected: ['fake'],
    default: { fake: 'm1' },
  };
  private lastId = 0;

  constructor(
    /** The server's working directory, used if a request names none. */
    readonly directory: string,
    heartbeatMs: number | null,
  ) {
    this.streams = new FakeStreams(heartbeatMs);
  }

  addSession(known: Partial<FakeSession> = {}): FakeSession {
    const now = Date.now();
    const session: FakeSession = {
      id: known.id ?? this.newId('ses'),
      directory: this.directory,
      title: 'A session',
      status: { type: 'idle' },
      deleted: false,
      aborts: 0,
      time: { created: now, updated: now },
      messages: [],
      ...known,
    };
    this.sessions.set(session.id, session);
    return session;
  }

  get(id: string): FakeSession {
    const session = this.sessions.get(id);
    if (!session) throw new Error(`the fake opencode has no session ${id}`);
    return session;
  }

  /** Sets a status and publishes it. With `silently` only the next poll can notice it. */
  setStatus(id: string, status: FakeStatus, { silently = false } = {}): void {
    const session = this.get(id);
    session.status = status;
    session.time.updated = Date.now();
    if (silently) return;
    const { directory } = session;
    this.emit({ type: 'session.status', properties: { sessionID: id, status } }, directory);
    if (status.type === 'idle') {
      this.emit({ type: 'session.idle', properties: { sessionID: id } }, directory);
    }
  }

  /** Sends to all open streams that hear `directory`. */
  emit(event: FakeEvent, directory: string = this.directory): void {
    this.streams.send(event, directory);
  }

  /** The session's run asks a person. */
  ask(kind: FakePending['kind'], sessionID: string): FakePending {
    const pending = { kind, id: this.newId(kind === 'permission' ? 'per' : 'que'), sessionID };
    this.pending.set(pending.id, pending);
    this.emit({ type: `${kind}.asked`, properties: shape(pending) }, this.get(sessionID).directory);
    return pending;
  }

  /** A person, or the caller of the route, has answered. */
  answer(id: string, how: 'replied' | 'rejected', extra: Record<string, unknown>): boolean {
    const pending = this.pending.get(id);
    if (!pending) return false;
    this.pending.delete(id);
    const { kind, sessionID } = pending;
    const properties = { sessionID, requestID: id, ...extra };
    this.emit({ type: `${kind}.${how}`, properties }, this.get(sessionID).directory);
    return true;
  }

  pendingIn(directory: string, kind: FakePending['kind']): unknown[] {
    return [...this.pending.values()]
      .filter((one) => one.kind === kind && this.get(one.sessionID).directory === directory)
      .map(shape);
  }

  statuses(directory: string): Record<string, FakeStatus> {
    const busy = [...this.sessions.values()].filter(
      (session) => session.directory === directory && session.status.type !== 'idle',
    );
    return Object.fromEntries(busy.map(({ id, status }) => [id, status]));
  }

  /** Only an abort with the session's own directory can end its run. With any other directory nothing changes. */
  abort(id: string, directory: string): 'answer' | 'hang' {
    const session = this.sessions.get(id);
    const behaviour = session?.abort ?? this.abortBehaviour;
    if (behaviour === 'hangs') return 'hang';
    if (!session || session.directory !== directory || session.status.type === 'idle') {
      return 'answer';
    }
    session.aborts += 1;
    if (behaviour === 'works' || (behaviour === 'lost-once' && session.aborts > 1)) {
      const error = { name: 'MessageAbortedError', data: { message: 'Aborted' } };
      this.emit({ type: 'session.error', properties: { sessionID: id, error } }, directory);
      this.setStatus(id, { type: 'idle' });
    }
    return 'answer';
  }

  /** Ends every run of the directory, whatever the abort behaviour is. */
  dispose(directory: string): void {
    for (const session of this.sessions.values()) {
      if (session.directory === directory && session.status.type !== 'idle') {
        this.setStatus(session.id, { type: 'idle' });
      }
    }
    this.emit({ type: 'server.instance.disposed', properties: { directory } }, directory);
  }

  /** Like the real one, a delete stops nothing. */
  remove(id: string): void {
    const session = this.get(id);
    session.deleted = true;
    const properties = { sessionID: id, info: sessionInfo(session) };
    this.emit({ type: 'session.deleted', properties }, session.directory);
  }

  newId(kind: string): string {
    this.lastId += 1;
    return `${kind}_fake${this.lastId}`;
  }
}

export function sessionInfo(session: FakeSession): Record<string, unknown> {
  const { id, directory, title, parentID, time, metadata } = session;
  const more = { ...(parentID && { parentID }), ...(metadata ? { metadata } : {}) };
  return { id, directory, title, time, ...more, projectID: 'global' };
}

function shape({ kind, id, sessionID }: FakePending): Record<string, unknown> {
  return kind === 'permission'
    ? { id, sessionID, permission: 'bash', patterns: ['true'], metadata: {}, always: [] }
    : { id, sessionID, questions: [{ question: 'Which way?', header: 'Way', options: [] }] };
}
