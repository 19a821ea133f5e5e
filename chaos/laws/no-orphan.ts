/** Nothing outlives the server that it belongs to: no tools after a restart, and nothing at all after the end. */
import { type Evidence, Law, type Process } from '../evidence.js';

/**
 * From the first sight of a new server until the last process of the old one must be gone, ms: `stopGrace`, and time
 * for a busy machine.
 */
const GRACE_MS = 10_000;

export class NoOrphan extends Law {
  readonly name = 'no orphan';
  readonly #seen = new Map<string, number>();

  take(e: Evidence): void {
    if (e.kind === 'old.processes') {
      this.checks += 1;
      const now = new Set(e.processes.map(key));
      for (const known of this.#seen.keys()) if (!now.has(known)) this.#seen.delete(known);
      for (const old of e.processes) {
        const since = this.#seen.get(key(old)) ?? e.at;
        this.#seen.set(key(old), since);
        if (e.at - since < GRACE_MS) continue;
        this.violated(
          e.at,
          `${describe(old)} belongs to an earlier server, and lives ${Math.round((e.at - since) / 1000)} s beside the new one (pid ${e.server.pid})`,
          key(old),
        );
      }
    } else if (e.kind === 'left.over') {
      this.check(
        e.processes.length === 0,
        e.at,
        `left when all was stopped: ${e.processes.map(describe).join(', ')}`,
      );
    }
  }
}

const key = ({ pid, start }: Process) => `${pid}:${start}`;
const describe = ({ pid, command }: Process) => `pid ${pid} (${command})`;
