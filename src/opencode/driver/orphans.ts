/** Sessions that a killed driver left behind: known by the owner in their metadata, and ended by a sweep. */
import { readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import * as z from 'zod';
import type { Clock } from '../../lib/clock.js';
import { type DriverApi, METADATA_KEY } from '../driver-api.js';
import { removeSession } from './end-session.js';
import { asDriverError } from './error.js';

/** Sessions that are searched, most recent first. */
const SWEPT_SESSIONS = 500;

/**
 * Which process deletes the session when its prompt is done. In a session's metadata; only sessions that are to be
 * deleted have one.
 */
const owner = z.object({
  host: z.string(),
  pid: z.number().int().positive(),
  /** Linux: the namespace that the process id is of; containers of one host may share its name. */
  pidNamespace: z.string().optional(),
  /** Epoch ms when the session was made. */
  madeAt: z.number(),
});
export type Owner = z.infer<typeof owner>;

/** See namespaces(7); undefined where there are none. */
const PID_NAMESPACE = pidNamespace();

function pidNamespace(): string | undefined {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    // No Linux, or no /proc: process ids are the host's.
    return undefined;
  }
}

export const ownerOf = (clock: Clock): Owner => ({
  host: hostname(),
  pid: process.pid,
  ...(PID_NAMESPACE !== undefined && { pidNamespace: PID_NAMESPACE }),
  madeAt: clock.epoch(),
});

export interface SweepOptions {
  /** Tells what would be ended, and ends nothing. */
  dryRun?: boolean;
  signal?: AbortSignal;
}

export interface Orphan {
  id: string;
  directory?: string;
  title?: string;
  /** Process id of the driver that made it. */
  pid: number;
  /** Why it could not be ended. */
  error?: string;
}

export interface Swept {
  ended: Orphan[];
  failed: Orphan[];
  /** Sessions of drivers on other machines, or in other containers: nobody here can tell whether those still run. */
  elsewhere: number;
}

/** A driver that lives ends its sessions itself; so does one whose process id is taken again, as far as we can tell. */
export async function sweepOrphans(
  deps: { client: DriverApi; clock: Clock },
  { dryRun = false, signal }: SweepOptions,
): Promise<Swept> {
  const swept: Swept = { ended: [], failed: [], elsewhere: 0 };
  for (const session of await deps.client.recentSessions(SWEPT_SESSIONS, signal)) {
    const known = owner.safeParse(session.metadata?.[METADATA_KEY]).data;
    if (known === undefined) continue;
    const isHere = known.host === hostname() && known.pidNamespace === PID_NAMESPACE;
    if (!isHere) {
      swept.elsewhere += 1;
      continue;
    }
    if (isAlive(known.pid)) continue;
    const { id, directory, title } = session;
    const orphan: Orphan = {
      id,
      ...(directory !== undefined && { directory }),
      ...(title !== undefined && { title }),
      pid: known.pid,
    };
    try {
      signal?.throwIfAborted();
      if (!dryRun) await removeSession(deps, session);
      swept.ended.push(orphan);
    } catch (error) {
      swept.failed.push({ ...orphan, error: asDriverError(error).message });
    }
  }
  return swept;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process lives, too.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
