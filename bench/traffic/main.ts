/** The traffic server's process: plays a server until it is told to stop, and reports on request how it went. */

import { FakeServerState } from './fake-server-state.js';
import type { Frame } from './frames.js';
import { Routes2 } from './opencode-2/routes.js';
import { OPENCODE_2 } from './opencode-2/simulated-session.js';
import { type Pace, Play } from './play.js';
import { Routes1, TrafficServer } from './server.js';
import { OPENCODE_1 } from './simulated-session.js';
import type { FromServer, ToServer } from './start.js';

/** How long a restarted server is gone, ms. */
const DOWN_MS = 500;
/** How often a timer fires, ms. If it fires late, this process itself was starved. */
const LAG_EVERY_MS = 100;

const { api = 1, ...options } = JSON.parse(process.argv[2] ?? '{}') as Pace & { api?: 1 | 2 };
const state = new FakeServerState(options.sessions * 5 + 200, options.limits.silence);
const send = (frame: Frame) => server.send(frame);
const server = new TrafficServer(
  api === 1 ? new Routes1(state, send, '/srv/projects/project-0') : new Routes2(state, send),
);
const play = new Play({ ...options, state, dialect: api === 1 ? OPENCODE_1 : OPENCODE_2, send });
let lagMs = 0;
let expected = performance.now() + LAG_EVERY_MS;
setInterval(() => {
  const now = performance.now();
  lagMs = Math.max(lagMs, now - expected);
  expected = now + LAG_EVERY_MS;
}, LAG_EVERY_MS);

const tell = (message: FromServer) => process.send?.(message);
const port = await server.listen(0);
play.start();
process.on('message', (message: ToServer) => {
  void obey(message).then(tell);
});
process.on('disconnect', () => process.exit(0));
tell({ port });

async function obey({ id, act }: ToServer): Promise<FromServer> {
  switch (act) {
    case 'report': {
      const missed = state.missed(performance.now());
      const { findings, created, runs, running } = state;
      const lag = lagMs;
      lagMs = 0;
      return {
        id,
        report: {
          ...server.counts,
          requests: server.requests,
          sent: play.sent,
          created,
          runs,
          running,
          lagMs: lag,
          findings: { ...findings, missed },
        },
      };
    }
    case 'measure':
      state.measuredFrom = performance.now();
      return { id };
    case 'cut':
      server.cut();
      return { id };
    case 'restart':
      play.stop();
      await server.close();
      await new Promise((resolve) => setTimeout(resolve, DOWN_MS));
      await server.listen(port);
      play.start();
      return { id };
  }
}
