/**
 * What all recordings of the corpus have in common: their limits, and no trace of the machine that they were made on.
 */
import type { LogLine } from '../test/support/daemon.js';

/** Short enough for short recordings, and far enough apart that only one of them can be exceeded first. */
export const LIMITS = {
  watch: { pollInterval: '1s' },
  probe: { interval: '2s' },
  retry: { maxAttempts: 99, maxDuration: '2m', maxWait: '2m' },
  stall: { maxSilence: '8s', maxToolTime: '1m' },
  pileup: { minSessions: 99 },
  log: { healthInterval: '1h', level: 'debug' },
  status: { listen: 'off' },
};

/** Intervals for patterns that last long: they make fewer lines. */
export const QUIET = { watch: { pollInterval: '15s' }, probe: { interval: '15s' } };

/** `LIMITS`, with a pattern's own limits on top. */
export function limitsWith(change: Record<string, object> = {}): Record<string, unknown> {
  const config: Record<string, unknown> = { ...LIMITS };
  for (const [group, keys] of Object.entries(change)) {
    config[group] = { ...(LIMITS as Record<string, object>)[group], ...keys };
  }
  return config;
}

export interface Circumstances {
  about: string;
  opencode: string;
  log: readonly LogLine[];
  /** Texts of this machine, each with what to write instead. */
  places: readonly (readonly [string, string])[];
}

/** Events in the daemon's log that are the watchdog's own notes: a replay must produce them again. */
const DECIDED =
  /^(session\.|provider\.|server\.(unresponsive|exited|restarting|restarted|restart_failed)$)/;

export function normalise(text: string, { about, opencode, log, places }: Circumstances): string {
  const ids = new Map<string, string>();
  const clean = (words: string) => {
    let out = words;
    for (const [here, there] of places) out = out.replaceAll(here, there);
    return out.replace(/\b(ses|msg|per|que|call)_[A-Za-z0-9]+/g, (id, kind: string) => {
      const known = ids.get(id);
      if (known !== undefined) return known;
      const nth = [...ids.keys()].filter((each) => each.startsWith(`${kind}_`)).length + 1;
      ids.set(id, `${kind}_${nth}`);
      return `${kind}_${nth}`;
    });
  };
  const pids = new Map<number, number>();
  const [head = '', ...lines] = text.trimEnd().split('\n');
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const began = Number(parsed[0]?.at);
  const out = parsed.map((observation) =>
    JSON.stringify(observation, function (this: Record<string, unknown>, key, value: unknown) {
      if (typeof value === 'string') return clean(value);
      if (typeof value !== 'number') {
        const isRecord = key === 'statuses' && typeof value === 'object' && value !== null;
        if (!isRecord) return value;
        return Object.fromEntries(Object.entries(value).map(([id, status]) => [clean(id), status]));
      }
      if (key === 'at' || key === 'startedAt') return Math.round((value - began) * 1_000) / 1_000;
      if (key !== 'pid' && key !== 'oldPid') return value;
      if (!pids.has(value)) pids.set(value, 1_001 + pids.size);
      return pids.get(value);
    }),
  );
  const decided = log
    .filter(({ event, previous }) => {
      // A line of every `log.healthInterval` is a reminder, not a decision.
      const isReminder = event === 'session.health' && previous === undefined;
      return DECIDED.test(event) && !isReminder;
    })
    .map(({ event, sessionID, reason, health, kind, outcome }) => ({
      event,
      ...(sessionID === undefined ? {} : { sessionID: clean(sessionID) }),
      ...(health === undefined ? {} : { health }),
      ...(reason === undefined ? {} : { reason }),
      ...(event === 'session.looping' ? { kind } : {}),
      ...(outcome === undefined ? {} : { outcome }),
    }));
  const header = {
    ...(JSON.parse(clean(head)) as object),
    startedAt: '2026-01-01T00:00:00.000Z',
    opencode,
    about,
    decided,
  };
  return `${[JSON.stringify(header), ...out].join('\n')}\n`;
}
