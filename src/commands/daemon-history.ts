/** The history that `report` reads: that of this user's daemon or, for root, also those of the machine's own units. */
import type { Config } from '../config/schema.js';
import { historyDir } from '../daemon/outputs.js';
import { serverStateDir } from '../lib/state-dir.js';
import { systemServerDirs } from '../lib/system-state.js';
import { readHistory } from '../status/history-store.js';
import type { LogLine } from '../telemetry/log-line.js';

export interface DaemonHistory {
  directory: string;
  /** The uid of the daemon if that is another user's. What it wrote besides belongs to that user, too. */
  owner?: number;
  /** Oldest first. */
  lines: LogLine[];
  problems: string[];
}

/** If there are several, the one that goes on longest: root may have watched the server itself before. */
export function daemonHistory(
  config: Config,
  env: NodeJS.ProcessEnv,
  systemState?: string,
): DaemonHistory {
  const { url } = config.server;
  const places: { path: string; owner?: number }[] = [
    { path: serverStateDir(env, url) },
    ...systemServerDirs(url, systemState),
  ];
  return places
    .map(({ path, owner }): DaemonHistory => {
      const directory = historyDir(config, path);
      return { directory, owner, ...readHistory(directory, owner) };
    })
    .reduce((best, each) => (endOf(each) > endOf(best) ? each : best));
}

function endOf({ lines }: DaemonHistory): number {
  return lines.at(-1)?.time ?? Number.NEGATIVE_INFINITY;
}
