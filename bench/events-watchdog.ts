/**
 * What the daemon does with a stream, from the socket to the state machine's decisions, but without log and actions.
 */
import { defaultConfig } from '../src/config/schema.js';
import { SystemClock } from '../src/lib/clock.js';
import { Monitor } from '../src/opencode/monitor/monitor.js';
import { OpencodeClient } from '../src/opencode/v1/client.js';
import type { Observation } from '../src/watchdog/observation.js';
import { Watchdog } from '../src/watchdog/watchdog.js';

/** Returns a function that gives the number of frames processed so far. */
export function startWatchdog(url: string): () => number {
  const config = defaultConfig();
  const clock = new SystemClock();
  const client = new OpencodeClient({ url, clock });
  const watchdog = new Watchdog({ policy: config, acts: false });
  const observe = (o: Observation) => void watchdog.observe(o);
  const { watch, probe } = config;
  const monitor = new Monitor({
    client,
    clock,
    watch,
    probe,
    emit: observe,
    notice: () => undefined,
  });
  clock.start((ms) => observe({ kind: 'gap', at: clock.now(), ms }));
  monitor.start();
  observe({ kind: 'server.attached', at: clock.now(), running: true });
  return () => monitor.events;
}
