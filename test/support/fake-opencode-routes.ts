/** The fake opencode's routes: one function each over its state, with the real one's shapes. */
import type { ServerResponse } from 'node:http';
import { type FakeSession, type FakeState, sessionInfo } from './fake-opencode-state.js';
import { waitFor } from './wait.js';

export interface RouteCall {
  state: FakeState;
  version: string;
  /** The `:id` of the route. */
  id: string;
  /** `?directory=`, else the header, else the server's own. */
  directory: string;
  /** `?directory=` or the header, if the request had one. */
  named: string | undefined;
  body: Record<string, unknown>;
  res: ServerResponse;
  eventEndsAtOnce: boolean;
}

/** What a route returns is sent as JSON; `undefined` is sent as 204. */
export type Route = (call: RouteCall) => unknown;

/** Returned if the route keeps the response: for a stream, or for a request that is never answered. */
export const taken = Symbol('taken');

export class RouteError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

function session({ state, id }: RouteCall): FakeSession {
  const found = state.sessions.get(id);
  if (!found || found.deleted) throw new RouteError(404, `Session not found: ${id}`);
  return found;
}

function startRun(call: RouteCall): FakeSession {
  const found = session(call);
  const info = { id: call.state.newId('msg'), role: 'user', sessionID: found.id };
  found.messages.push({ info, ...call.body });
  if (found.status.type === 'idle') call.state.setStatus(found.id, { type: 'busy' });
  return found;
}

function answered(call: RouteCall, how: 'replied' | 'rejected', ends: boolean): boolean {
  const sessionID = call.state.pending.get(call.id)?.sessionID;
  if (!call.state.answer(call.id, how, call.body) || !sessionID) {
    throw new RouteError(404, `Request not found: ${call.id}`);
  }
  if (ends) call.state.setStatus(sessionID, { type: 'idle' });
  return true;
}

export const routes: Record<string, Route> = {
  'GET /global/health': ({ version }) => ({ healthy: true, version }),
  'GET /global/event': ({ state, res }) => {
    state.streams.open(res, undefined, false);
    return taken;
  },
  'GET /event': ({ state, res, directory, eventEndsAtOnce }) => {
    state.streams.open(res, directory, eventEndsAtOnce);
    return taken;
  },
  'GET /provider': ({ state }) => state.providers,

  'GET /session/status': ({ state, directory }) => state.statuses(directory),
  'GET /session': ({ state, named }) =>
    [...state.sessions.values()]
      .filter((one) => !one.deleted && (named === undefined || one.directory === named))
      .sort((a, b) => b.time.updated - a.time.updated)
      .map(sessionInfo),
  'POST /session': ({ state, directory, body }) => {
    const title = typeof body.title === 'string' ? body.title : 'New session';
    const { metadata, parentID } = body as { metadata?: unknown; parentID?: string };
    const made = state.addSession({ directory, title, metadata, ...(parentID && { parentID }) });
    const properties = { sessionID: made.id, info: sessionInfo(made) };
    state.emit({ type: 'session.created', properties }, directory);
    return sessionInfo(made);
  },
  'GET /session/:id': (call) => sessionInfo(session(call)),
  'DELETE /session/:id': (call) => {
    call.state.remove(session(call).id);
    return true;
  },
  'GET /session/:id/message': (call) => session(call).messages,
  'POST /session/:id/abort': ({ state, id, directory }) =>
    state.abort(id, directory) === 'hang' ? taken : true,
  'POST /instance/dispose': ({ state, directory, res }) => {
    if (state.disposeBehaviour === 'missing') {
      res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>');
      return taken;
    }
    state.dispose(directory);
    return true;
  },
  'POST /session/:id/prompt_async': (call) => {
    startRun(call);
    return undefined;
  },
  /** Blocks until the test sets the session idle. Answers with the session's last message. */
  'POST /session/:id/message': async (call) => {
    const run = startRun(call);
    await waitFor(() => run.status.type === 'idle' || call.res.destroyed, {
      what: `session ${run.id} to be idle`,
      interval: 10,
    });
    return run.messages.at(-1);
  },

  'GET /permission': ({ state, directory }) => state.pendingIn(directory, 'permission'),
  'GET /question': ({ state, directory }) => state.pendingIn(directory, 'question'),
  /** A "reject" without a message ends the run. With a message, the model is told and the run continues. */
  'POST /permission/:id/reply': (call) =>
    answered(call, 'replied', call.body.reply === 'reject' && call.body.message === undefined),
  'POST /question/:id/reply': (call) => answered(call, 'replied', false),
  'POST /question/:id/reject': (call) => answered(call, 'rejected', true),
};

/** Routes of the preview, as 1.18.33 answers them: neither `/session/status` nor an abort knows of these runs. */
const previewOf = ({ state, id }: RouteCall) => state.preview.get(id);
Object.assign(routes, {
  'GET /api/session/active': ({ state }) => ({
    data: Object.fromEntries([...state.preview.keys()].map((id) => [id, { type: 'running' }])),
  }),
  'GET /api/session/:id/message': (call) => ({ data: previewOf(call)?.messages ?? [], cursor: {} }),
  'GET /api/session/:id/permission': () => ({ data: [] }),
  'GET /api/session/:id/question': (call) => ({ data: previewOf(call)?.questions ?? [] }),
  'POST /api/session/:id/interrupt': ({ state, id }) => {
    state.preview.delete(id);
    return undefined;
  },
} satisfies Record<string, Route>);

/** The route for a request, with its `:id`. A literal path wins over `:id`. */
export function findRoute(method: string, path: string): { name: string; id: string } | undefined {
  if (routes[`${method} ${path}`]) return { name: `${method} ${path}`, id: '' };
  const [, previewID, what] = /^\/api\/session\/([^/]+)\/(\w+)$/.exec(path) ?? [];
  const preview = `${method} /api/session/:id/${what}`;
  if (previewID !== undefined && routes[preview]) {
    return { name: preview, id: decodeURIComponent(previewID) };
  }
  const [, room = '', id = '', ...rest] = path.split('/');
  const name = `${method} /${[room, ':id', ...rest].join('/')}`;
  return routes[name] ? { name, id: decodeURIComponent(id) } : undefined;
}
