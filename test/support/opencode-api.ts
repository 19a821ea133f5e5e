/** A small client of opencode's HTTP API for tests: no retries, no interpretation, errors with the body. */
import { stretched } from './slowness.js';

export interface Status {
  type: string;
  attempt?: number;
  message?: string;
  next?: number;
}

export interface Session {
  id: string;
  title: string;
  directory: string;
  parentID?: string;
  time: { created: number; updated: number };
}

export interface Message {
  info: {
    id: string;
    sessionID: string;
    role: string;
    finish?: string;
    error?: { name: string; data: Record<string, unknown> };
    time: { created: number; completed?: number };
  };
  parts: Array<{ type: string; text?: string; tool?: string; state?: { status: string } }>;
}

export interface Pending {
  id: string;
  sessionID: string;
}

export interface NewSession {
  directory: string;
  title?: string;
  parentID?: string;
  permission?: Array<{ permission: string; pattern: string; action: 'ask' | 'allow' | 'deny' }>;
}

export interface Model {
  providerID: string;
  modelID: string;
}

/**
 * On a quiet machine. No request of a test may take longer. The slow ones are the first in a new directory, and a
 * compaction.
 */
const REQUEST_TIMEOUT_MS = 60_000;

export const authHeader = (password: string, username = 'opencode') => ({
  authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
});

export type OpencodeApi = ReturnType<typeof api>;

export function api(url: string, { password }: { password?: string } = {}) {
  async function call<T>(
    method: string,
    path: string,
    directory?: string,
    body?: unknown,
    timeoutMs = stretched(REQUEST_TIMEOUT_MS),
  ) {
    const target = new URL(path, url);
    if (directory) target.searchParams.set('directory', directory);
    const res = await fetch(target, {
      method,
      headers: {
        ...(password && authHeader(password)),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const answer = await res.text();
    const json = res.headers.get('content-type')?.includes('application/json');
    if (!res.ok || (answer && !json)) {
      throw new Error(`${method} ${target.pathname}: ${res.status} ${answer.slice(0, 300)}`);
    }
    return (answer ? JSON.parse(answer) : undefined) as T;
  }

  const status = (directory?: string) =>
    call<Record<string, Status>>('GET', '/session/status', directory);

  return {
    call,
    health: (timeoutMs?: number) =>
      call<{ healthy: boolean; version: string }>(
        'GET',
        '/global/health',
        undefined,
        undefined,
        timeoutMs,
      ),
    createSession: ({ directory, ...body }: NewSession) =>
      call<Session>('POST', '/session', directory, body),
    /** Returns at once, while the run continues in the server. */
    promptAsync: (id: string, directory: string, text: string, model?: Model) =>
      call<void>('POST', `/session/${id}/prompt_async`, directory, {
        ...(model && { model }),
        parts: [{ type: 'text', text }],
      }),
    /** Returns when the run has ended. */
    prompt: (id: string, directory: string, text: string, model?: Model) =>
      call<Message>('POST', `/session/${id}/message`, directory, {
        ...(model && { model }),
        parts: [{ type: 'text', text }],
      }),
    /** One directory's sessions that are not idle. */
    status,
    statusAll: async (directories: string[]): Promise<Record<string, Status>> =>
      Object.assign({}, ...(await Promise.all(directories.map(status)))),
    sessions: (directory?: string) => call<Session[]>('GET', '/session', directory),
    session: (id: string, directory?: string) => call<Session>('GET', `/session/${id}`, directory),
    children: (id: string, directory?: string) =>
      call<Session[]>('GET', `/session/${id}/children`, directory),
    messages: (id: string, directory?: string) =>
      call<Message[]>('GET', `/session/${id}/message`, directory),
    abort: (id: string, directory?: string) =>
      call<boolean>('POST', `/session/${id}/abort`, directory),
    remove: (id: string, directory?: string) =>
      call<boolean>('DELETE', `/session/${id}`, directory),
    permissions: (directory: string) => call<Pending[]>('GET', '/permission', directory),
    questions: (directory: string) => call<Pending[]>('GET', '/question', directory),
    replyPermission: (id: string, directory: string, reply: 'once' | 'always' | 'reject') =>
      call<boolean>('POST', `/permission/${id}/reply`, directory, { reply }),
    replyQuestion: (id: string, directory: string, answers: string[][]) =>
      call<boolean>('POST', `/question/${id}/reply`, directory, { answers }),
  };
}
