/** Starts the traffic server in a process of its own, so that its cost is not counted as the daemon's. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Findings } from './fake-server-state.js';
import type { Pace } from './play.js';

export interface ServerReport {
  /** Events, without the `sync` repetitions. */
  sent: number;
  syncs: number;
  bytes: number;
  requests: Record<string, number>;
  connections: number;
  /** The most bytes that the daemon was behind. */
  worstUnread: number;
  created: number;
  runs: number;
  running: number;
  /** The worst delay of the traffic server's own event loop since the last report, ms. */
  lagMs: number;
  findings: Findings;
}

export interface ToServer {
  id: number;
  act: 'report' | 'measure' | 'cut' | 'restart';
}
export interface FromServer {
  id?: number;
  port?: number;
  report?: ServerReport;
}

export interface RunningServer {
  readonly pid: number;
  readonly url: string;
  report(): Promise<ServerReport>;
  /** From now on reaction times count. */
  measure(): Promise<void>;
  /** Breaks off the event streams. */
  cut(): Promise<void>;
  /** The server is gone for half a second, and every run with it. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** @param options `api`: the version of opencode that it imitates */
export async function startServer(options: Pace & { api?: 1 | 2 }): Promise<RunningServer> {
  const child = fork(
    fileURLToPath(new URL('main.ts', import.meta.url)),
    [JSON.stringify(options)],
    {
      execArgv: ['--import', 'tsx'],
    },
  );
  const [first] = (await once(child, 'message')) as [FromServer];
  let last = 0;
  const ask = (act: ToServer['act']): Promise<FromServer> => {
    last += 1;
    const id = last;
    return new Promise((resolve, reject) => {
      const onMessage = (message: FromServer) => {
        if (message.id !== id) return;
        child.off('message', onMessage).off('exit', onExit);
        resolve(message);
      };
      const onExit = () => reject(new Error('the traffic server is gone'));
      child.on('message', onMessage).once('exit', onExit);
      child.send({ id, act } satisfies ToServer);
    });
  };
  return {
    pid: child.pid ?? 0,
    url: `http://127.0.0.1:${first.port}`,
    async report() {
      const { report } = await ask('report');
      if (report === undefined) throw new Error('the traffic server gave no report');
      return report;
    },
    measure: async () => void (await ask('measure')),
    cut: async () => void (await ask('cut')),
    restart: async () => void (await ask('restart')),
    async stop() {
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    },
  };
}
