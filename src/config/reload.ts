/** Which parts of a changed configuration can be applied to a running daemon, and which need its restart. */
import { KEYS, valueAt } from './keys.js';
import type { Config } from './schema.js';

/**
 * Keys (or whole levels) that are read anew at each decision. All others are read once: they make connections, choose
 * a control, open files.
 */
const LIVE = [
  'retry',
  'stall',
  'loop',
  'budget',
  'waiting',
  'abort',
  'pileup',
  'probe.maxFailures',
  'restart',
  'recycle',
  'recover',
  'profile',
  'log.level',
  'log.healthInterval',
];

export interface Reload {
  /** Key paths whose new value is in force now. */
  applied: string[];
  /** Key paths that changed and wait for a restart of the daemon. */
  needRestart: string[];
}

/**
 * Writes what can be applied live into `current`, in place, so that everything that holds a part of it sees the new
 * value.
 */
export function applyLive(current: Config, next: Config): Reload {
  const reload: Reload = { applied: [], needRestart: [] };
  for (const path of KEYS.keys()) {
    const value = valueAt(next, path);
    if (JSON.stringify(value) === JSON.stringify(valueAt(current, path))) continue;
    if (!LIVE.some((live) => path === live || path.startsWith(`${live}.`))) {
      reload.needRestart.push(path);
      continue;
    }
    const split = path.lastIndexOf('.');
    const level = split === -1 ? current : valueAt(current, path.slice(0, split));
    (level as Record<string, unknown>)[path.slice(split + 1)] = value;
    reload.applied.push(path);
  }
  return reload;
}
