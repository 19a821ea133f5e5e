/** What the daemon does with a stream, from the socket to the decisions of the state machine: all but log and acts. */
import { defaultConfig } from '../src/config/schema.js';
import { SystemClock } from '../src/lib/clock.js';
import { OpencodeClient } from '../src/opencode/client.js';
import { Senses } from '../src/opencode/senses.js';
import type { Observation } from '../src/watchdog/observation.js';
import { Watchdog } from '../src/watchdog/watchdog.js';

/** Gives the count of frames that were taken in. */
export function startWatchdog(url: string): () => number {
  const config = defaultConfig();
  const clock = new SystemClock();
  const client = new OpencodeClient({ url, clock });
  const watchdog = new Watchdog({ policy: config, acts: false });
  const observe = (o: Observation) => void watchdog.observe(o);
  const { watch, probe } = config;
  const senses = new Senses({
    client,
    clock,
    watch,
    probe,
    emit: observe,
    notice: () => undefined,
  });
  clock.start((ms) => observe({ kind: 'gap', at: clock.now(), ms }));
  senses.start();
  observe({ kind: 'server.attached', at: clock.now(), running: true });
  return () => senses.events;
}
