/** Finds the sessions that a killed driver left behind, by the owner in their metadata, and ends them. */
import { readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import * as z from 'zod';
import type { Clock } from '../../lib/clock.js';
import { type DriverApi, METADATA_KEY } from '../driver-api.js';
import { removeSession } from './end-session.js';
import { asDriverError, DriverError } from './error.js';

/** Sessions that are searched, most recent first. */
const SWEPT_SESSIONS = 500;

/**
 * The process that deletes the session when its prompt is done. It is in the session's metadata; only sessions that are
 * to be deleted have one.
 */
const owner = z.object({
  host: z.string(),
  pid: z.number().int().positive(),
  /** Linux: the namespace of the process id. Containers on one host may share its name. */
  pidNamespace: z.string().optional(),
  /** Epoch ms when the session was created. */
  madeAt: z.number(),
});
export type Owner = z.infer<typeof owner>;

/** See namespaces(7); undefined if there are none. */
const PID_NAMESPACE = pidNamespace();

function pidNamespace(): string | undefined {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    // Not Linux, or no /proc: process ids are the host's.
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
  /** Reports what would be ended, and ends nothing. */
  dryRun?: boolean;
  signal?: AbortSignal;
}

export interface Orphan {
  id: string;
  directory?: string;
  title?: string;
  /** Process id of the driver that created it. */
  pid: number;
  /** Why it could not be ended. */
  error?: string;
}

export interface Swept {
  ended: Orphan[];
  failed: Orphan[];
  /**
   * Sessions of drivers on other machines, or in other containers. We cannot tell from here whether those drivers still
   * run.
   */
  elsewhere: number;
}

/**
 * A driver that is alive ends its sessions itself. If another process has a dead driver's process id now, we take the
 * driver for alive.
 */
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
      if (signal?.aborted) throw new DriverError('aborted', 'the sweep was interrupted before it.');
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
    // Any other error means that it is alive, such as EPERM for another user's process.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
