/** A watchdog never has two servers, neither on the port nor beside it. */
import { type Evidence, Law } from '../evidence.js';

export class OneServer extends Law {
  readonly name = 'one server';

  take(e: Evidence): void {
    if (e.kind !== 'servers') return;
    const who = e.processes.map(({ pid, command }) => `${pid} (${command})`).join(' and ');
    this.check(e.processes.length <= 1, e.at, `two servers at once: ${who}`);
  }
}
