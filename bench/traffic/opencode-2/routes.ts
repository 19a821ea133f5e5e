/** OpenCode 2's routes that the watchdog uses (opencode-2-facts, sections 2, 4 and 7), over the fake state. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FakeServerState, FakeSession } from '../fake-server-state.js';
import { type Frame, json } from '../frames.js';
import { give, type Routes } from '../server.js';
import { CONNECTED, frame, HEARTBEAT, together } from './frames.js';

const VERSION = '2.0.26';
const HEARTBEAT_MS = 15_000;

export class Routes2 implements Routes {
  readonly heartbeat = { text: HEARTBEAT, everyMs: HEARTBEAT_MS };
  readonly connected = CONNECTED;
  readonly streamPath = '/api/event';
  readonly #state: FakeServerState;
  readonly #send: (frame: Frame) => void;

  constructor(state: FakeServerState, send: (frame: Frame) => void) {
    this.#state = state;
    this.#send = send;
  }

  name(pathname: string): string {
    return pathname.replace(/\/ses_[^/]+/, '/:id');
  }

  answer(req: IncomingMessage, url: URL, res: ServerResponse): void {
    const { pathname, searchParams } = url;
    const fixed = this.#fixed(pathname, searchParams);
    if (fixed !== undefined) {
      give(res, fixed);
      return;
    }
    const [, room, kind, id = '', what] = pathname.split('/');
    if (room !== 'api') {
      res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>');
      return;
    }
    const session = kind === 'session' ? this.#state.sessions.get(id) : undefined;
    if (kind !== 'session') res.writeHead(404).end();
    else if (session === undefined || session.deleted) {
      give(res, json({ _tag: 'SessionNotFoundError', sessionID: id, message: 'not found' }), 404);
    } else if (what === 'interrupt' && req.method === 'POST') this.#interrupt(session, res);
    else give(res, this.#of(session, what));
  }

  #fixed(pathname: string, query: URLSearchParams): string | undefined {
    const directory = query.get('location[directory]') ?? '';
    switch (pathname) {
      case '/api/info':
        return json({ version: VERSION, pid: process.pid, urls: [], paths: {} });
      case '/api/session/active': {
        const active = [...this.#state.sessions.values()].filter(({ status }) => status);
        return `{"data":{${active.map(({ id, status }) => `"${id}":${status}`).join(',')}}}`;
      }
      case '/api/session':
        return this.#list(Number(query.get('limit') ?? 50));
      case '/api/permission/request':
        return `{"location":{},"data":${this.#state.pendingIn(directory, 'permission')}}`;
      case '/api/form':
        return `{"location":{},"data":${this.#state.pendingIn(directory, 'question')}}`;
      default:
        return undefined;
    }
  }

  #of(session: FakeSession, what: string | undefined): string {
    switch (what) {
      case 'message':
        return `{"data":[${transcript(session).join(',')}],"cursor":{}}`;
      case 'permission':
      case 'form': {
        const kind = what === 'form' ? 'question' : 'permission';
        const open = [...this.#state.pending.values()].filter(
          (each) => each.session === session && each.kind === kind,
        );
        return `{"data":[${open.map(({ text }) => text).join(',')}]}`;
      }
      default:
        return `{"data":${info(session)}}`;
    }
  }

  #list(limit: number): string {
    const sessions = [...this.#state.sessions.values()].filter(({ deleted }) => !deleted);
    return `{"data":[${sessions.slice(-limit).reverse().map(info).join(',')}],"cursor":{}}`;
  }

  #interrupt(session: FakeSession, res: ServerResponse): void {
    const runs = session.run !== undefined;
    if (runs) {
      this.#state.judge(session, performance.now());
      session.run?.cancel();
      const error = { type: 'aborted', message: 'Step interrupted' };
      this.#send(
        together(
          frame(session, 'session.step.failed', { assistantMessageID: 'msg_x', error }),
          frame(session, 'session.execution.interrupted', { reason: 'user' }),
        ),
      );
    } else {
      // No run (any more): it may have ended at the same moment.
      this.#state.findings.aborts += 1;
    }
    give(res, json({ interrupted: runs }));
  }
}

function info({ id, directory, title, parentID, model, created, updated }: FakeSession): string {
  return json({
    id,
    projectID: 'global',
    agent: 'build',
    model: { id: model, providerID: 'fake' },
    cost: 0,
    tokens: { input: 0, output: 0, reasoning: 0, cache: { read: 0, write: 0 } },
    time: { created, updated },
    title,
    location: { directory },
    ...(parentID !== undefined && { parentID }),
  });
}

/** The messages, newest first. */
function transcript({ messages }: FakeSession): string[] {
  return messages
    .filter(({ info: shown }) => shown !== '')
    .map(({ info: shown, parts }) => {
      const content = [...parts.values()].map((part) => part()).join(',');
      return `${shown.slice(0, -1)},"content":[${content}]}`;
    })
    .reverse();
}
