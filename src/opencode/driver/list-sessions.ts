/** Lists all sessions with their status, over all directories that may be live. */
import type { Clock } from '../../lib/clock.js';
import { eachLimited } from '../../lib/semaphore.js';
import type { SessionStatus } from '../../watchdog/observation.js';
import type { DriverApi } from '../driver-api.js';
import { LiveDirectories, normaliseDirectory } from '../monitor/directories.js';
import type { SessionSummary } from '../server-api.js';
import { DriverError } from './error.js';
import type { SessionRef, SessionState } from './types.js';

/** Directories that `sessions` reads at a time. At the limit: the rest wait. */
const MAX_CONCURRENT = 4;
/**
 * Sessions that `sessions` asks the server for, if no higher `--limit` is given. At the limit: older idle ones are not
 * listed.
 */
export const MAX_RECENT = 500;

export interface SessionListDeps {
  client: DriverApi;
  clock: Clock;
}

/** Statuses by directory. `undefined` has those of a server that covers all directories in one answer. */
type Statuses = Map<string | undefined, Map<string, SessionStatus>>;

/** Most recently updated first; sessions that are not idle, and ghosts, are never left out. */
export async function listSessions(
  deps: SessionListDeps,
  { limit, signal }: { limit: number; signal?: AbortSignal },
): Promise<SessionState[]> {
  const { client } = deps;
  const recent = await client.recentSessions(Math.max(limit, MAX_RECENT), signal);
  const statuses = await liveStatuses(deps, recent, signal);
  const known = new Map(recent.map((session) => [session.id, session]));
  const states = recent
    .map((session) => stateOf(session, statuses))
    .filter(({ status }, index) => index < limit || isActive(status));
  for (const [directory, sessions] of statuses) {
    for (const [id, status] of sessions) {
      if (known.has(id) || status.type === 'idle') continue;
      // The session is beyond the end of the list, or was deleted while it ran.
      const session = await client.session(id, directory, signal);
      const ghost = session === null ? { ghost: true as const } : {};
      const place = directory === undefined ? {} : { directory };
      states.unshift({ ...(session ?? { id, ...place }), status, ...ghost });
    }
  }
  return states;
}

/** One session's state. @throws DriverError `session_not_found` */
export async function findSession(
  deps: SessionListDeps,
  { id, directory }: SessionRef,
  signal?: AbortSignal,
): Promise<SessionState> {
  const { client } = deps;
  const session = await client.session(id, directory, signal);
  if (session) {
    const place = session.directory ?? directory;
    const status = (await client.statuses(place, signal)).get(id);
    return { ...session, status: plain(status) };
  }
  const ghost = await findGhost(deps, id, directory, signal);
  if (ghost) return ghost;
  throw new DriverError(
    'session_not_found',
    `there is no session ${id}: "opencode-watchdog sessions" lists those there are. If it was deleted while it ran, ` +
      'say where with --directory.',
    { sessionID: id },
  );
}

async function findGhost(
  deps: SessionListDeps,
  id: string,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<SessionState | undefined> {
  const recent = await deps.client.recentSessions(MAX_RECENT, signal);
  const places =
    directory === undefined ? recent : [...recent, { id, directory, updated: deps.clock.epoch() }];
  for (const [place, sessions] of await liveStatuses(deps, places, signal)) {
    const status = sessions.get(id);
    if (!status || status.type === 'idle') continue;
    return { id, ...(place !== undefined && { directory: place }), status, ghost: true };
  }
  return undefined;
}

/**
 * Reads the statuses of the whole server, if one answer covers it; otherwise those of the server's own directory and of
 * directories where something happened within a day (facts, section 3).
 */
async function liveStatuses(
  { client, clock }: SessionListDeps,
  sessions: readonly SessionSummary[],
  signal?: AbortSignal,
): Promise<Statuses> {
  if (client.statusScope === 'server') {
    return new Map([[undefined, await client.statuses(undefined, signal)]]);
  }
  const directories = new LiveDirectories();
  try {
    directories.setOwn(await client.serverDirectory(signal));
  } catch (error) {
    // If the server has no such route, only the sessions' own directories can be asked about.
    if (!client.isMissingRoute(error)) throw error;
  }
  directories.attach(sessions, clock.epoch());
  const statuses: Statuses = new Map();
  let failure: unknown;
  await eachLimited(directories.all(), MAX_CONCURRENT, async (directory) => {
    try {
      statuses.set(directory, await client.statuses(directory, signal));
    } catch (error) {
      failure ??= error;
    }
  });
  if (failure !== undefined) throw failure;
  return statuses;
}

function stateOf(session: SessionSummary, statuses: Statuses): SessionState {
  const directory =
    session.directory === undefined ? undefined : normaliseDirectory(session.directory);
  const asked =
    statuses.get(undefined) ?? (directory === undefined ? undefined : statuses.get(directory));
  return { ...session, status: asked && plain(asked.get(session.id)) };
}

function plain(status: SessionStatus | undefined): NonNullable<SessionState['status']> {
  return status === undefined || status.type === 'idle' ? { type: 'ready' } : status;
}

export function isActive(status: SessionState['status']): boolean {
  return status !== undefined && status.type !== 'ready';
}
