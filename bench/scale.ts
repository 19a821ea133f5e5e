/**
 * The real daemon on 1,000 sessions in 50 directories that send 2,000 events a second, compared with itself on 10
 * sessions of the same kind: what it costs, whether its memory stays level, and whether it misses or harms a session.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { median, ms, type Row, worst } from './figures.js';
import { cpuSeconds, openHandles, residentMiB } from './proc.js';
import { growthOf, type Sample } from './slope.js';
import type { Limits } from './traffic/scripts.js';
import { type ServerReport, startServer } from './traffic/start.js';
import { startWatched } from './traffic/watched.js';

export interface ScaleOptions {
  minutes?: number;
  sessions?: number;
  directories?: number;
  eventsPerSecond?: number;
  /** The version of opencode that the traffic server imitates. */
  api?: 1 | 2;
  /** For the daemon's Node: `--cpu-prof`. */
  nodeArgs?: readonly string[];
  say?(line: string): void;
}

/** The contract's limits, except two for which ten minutes are too short. */
const LIMITS: Limits = {
  silence: 45_000,
  toolTime: 120_000,
  attempts: 5,
  retryDuration: 60_000,
  retryWait: 300_000,
  pileup: 30_000,
  firstWait: 2_000,
};
const CONFIG = {
  retry: { maxAttempts: LIMITS.attempts, maxDuration: `${LIMITS.retryDuration}ms` },
  pileup: { minDuration: `${LIMITS.pileup}ms` },
  stall: { maxSilence: `${LIMITS.silence}ms`, maxToolTime: `${LIMITS.toolTime}ms` },
};
/** Sessions begin over ten seconds. The cost of the start is reported separately. */
const WARM_UP_MS = 20_000;
const SAMPLE_MS = 5_000;
/** The small server does not need ten minutes to show what it costs. */
const MAX_SMALL_MINUTES = 2;
const STUCK_SHARE = 0.05;
const REUSE_SHARE = 0.5;
/** Frames of an ordinary run. At two frames a second that is minutes. */
const RUN_LENGTH = 300;

export interface Measured {
  cpuPercent: number;
  startCpuSeconds: number;
  maxMiB: number;
  firstMiB: number;
  lastMiB: number;
  /** MB per hour, by the same fit as in the soak. */
  growthPerHour: number | undefined;
  handles: number;
  eventsPerSecond: number;
  framesPerSecond: number;
  serverCpuPercent: number;
  linesPerSecond: number;
  problems: readonly string[];
  report: ServerReport;
}

export async function watchServer(options: Required<ScaleOptions>): Promise<Measured> {
  const { minutes, sessions, directories, eventsPerSecond, api, nodeArgs, say } = options;
  const state = await startServer({
    api,
    sessions,
    directories,
    eventsPerSecond,
    runLength: RUN_LENGTH,
    stuckShare: STUCK_SHARE,
    reuseShare: REUSE_SHARE,
    limits: LIMITS,
    seed: 8,
  });
  const watched = await startWatched({
    config: { server: { url: state.url, control: 'observe' }, ...CONFIG },
    nodeArgs,
  });
  try {
    await pause(WARM_UP_MS);
    await state.measure();
    const startCpuSeconds = cpuSeconds(watched.pid);
    const before = await state.report();
    const serverCpu = cpuSeconds(state.pid);
    const began = performance.now();
    const lines = () => [...watched.lines.values()].reduce((sum, count) => sum + count, 0);
    const linesBefore = lines();
    const samples: Sample[] = [];
    const passed = () => performance.now() - began;
    let spoke = 0;
    while (passed() < minutes * 60_000) {
      await pause(Math.min(SAMPLE_MS, minutes * 60_000 - passed()));
      samples.push({ events: passed(), bytes: residentMiB(watched.pid) * 1024 ** 2 });
      if (passed() - spoke < 60_000) continue;
      spoke = passed();
      const cpu = ((cpuSeconds(watched.pid) - startCpuSeconds) / passed()) * 100_000;
      const { findings, sent, lagMs, worstUnread } = await state.report();
      say(
        `${Math.round(passed() / 1000)} s: ${cpu.toFixed(2)} % of a core, ` +
          `${residentMiB(watched.pid).toFixed(0)} MiB, ${sent} events, stuck ${findings.stuck}, ` +
          `aborts ${findings.aborts}, missed ${findings.missed.length}, harmed ${findings.harmed.length}, ` +
          `state late ${ms(lagMs)}, unread ${worstUnread}`,
      );
    }
    const seconds = passed() / 1_000;
    const cpu = cpuSeconds(watched.pid) - startCpuSeconds;
    const report = await state.report();
    const mebibytes = samples.map(({ bytes }) => bytes / 1024 ** 2);
    // The fit's unit is a million of whatever is counted, here milliseconds.
    const growth = growthOf(samples);
    return {
      cpuPercent: (cpu / seconds) * 100,
      startCpuSeconds,
      maxMiB: worst(mebibytes),
      firstMiB: mebibytes[0] ?? Number.NaN,
      lastMiB: mebibytes.at(-1) ?? Number.NaN,
      growthPerHour: growth && growth.slope * 3.6,
      handles: openHandles(watched.pid),
      eventsPerSecond: (report.sent - before.sent) / seconds,
      framesPerSecond: (report.sent + report.syncs - before.sent - before.syncs) / seconds,
      serverCpuPercent: ((cpuSeconds(state.pid) - serverCpu) / seconds) * 100,
      linesPerSecond: (lines() - linesBefore) / seconds,
      problems: watched.problems,
      report,
    };
  } finally {
    await watched.stop();
    await state.stop();
  }
}

function describe(name: string, measured: Measured): string {
  const { report, problems } = measured;
  const { findings } = report;
  const reactions = Object.entries(findings.reactions).map(
    ([kind, all]) => `${kind} ${ms(median(all))}/${ms(worst(all))} of ${all.length}`,
  );
  const list = (title: string, all: readonly string[]) =>
    all.length === 0 ? [] : [`  ${title}: ${all.slice(0, 10).join('; ')}`];
  return [
    `${name}: ${measured.eventsPerSecond.toFixed(0)} events/s (${measured.framesPerSecond.toFixed(0)} frames), ` +
      `${report.running} at work, ${report.created} sessions, ${report.runs} runs; requests: ${Object.entries(
        report.requests,
      )
        .map(([route, count]) => `${count} ${route}`)
        .join(', ')}`,
    `  ${measured.cpuPercent.toFixed(2)} % of a core (start: ${measured.startCpuSeconds.toFixed(1)} s), ` +
      `${measured.firstMiB.toFixed(0)} → ${measured.lastMiB.toFixed(0)} MiB, at most ${measured.maxMiB.toFixed(0)}, ` +
      `growth ${measured.growthPerHour?.toFixed(1) ?? '?'} MB/h, ${measured.handles} descriptors, ` +
      `${measured.linesPerSecond.toFixed(1)} log lines/s; the traffic server: ${measured.serverCpuPercent.toFixed(1)} %`,
    `  stuck ${findings.stuck}, aborts ${findings.aborts}, missed ${findings.missed.length}, ` +
      `late ${findings.late.length}, harmed ${findings.harmed.length}`,
    `  limit → abort, median/worst: ${reactions.join(', ')}`,
    ...list('kept silent by the starved traffic server', findings.starved),
    ...list('missed', findings.missed),
    ...list('late', findings.late),
    ...list('harmed', findings.harmed),
    ...list('problems', problems),
  ].join('\n');
}

export async function scale(given: ScaleOptions = {}): Promise<Row> {
  const full: Required<ScaleOptions> = {
    minutes: 10,
    sessions: 1_000,
    directories: 50,
    eventsPerSecond: 2_000,
    api: 1,
    nodeArgs: [],
    say: (line) => console.error(line),
    ...given,
  };
  const share = full.sessions / 10;
  const small = await watchServer({
    ...full,
    minutes: Math.min(full.minutes, MAX_SMALL_MINUTES),
    sessions: 10,
    directories: Math.max(1, Math.round(full.directories / share)),
    eventsPerSecond: full.eventsPerSecond / share,
    nodeArgs: [],
  });
  full.say(describe('10 sessions', small));
  const large = await watchServer(full);
  full.say(describe(`${full.sessions} sessions`, large));
  const { findings } = large.report;
  return {
    measure: `${full.api === 2 ? 'OpenCode 2: ' : ''}${full.sessions} sessions in ${full.directories} directories, ${large.eventsPerSecond.toFixed(0)} events/s, ${full.minutes} min`,
    result:
      `${large.cpuPercent.toFixed(2)} % of a core, at most ${large.maxMiB.toFixed(0)} MiB, ` +
      `growth ${large.growthPerHour?.toFixed(1) ?? '?'} MB/h, missed ${findings.missed.length} and ` +
      `late ${findings.late.length} of ${findings.stuck} stuck, harmed ${findings.harmed.length}`,
    against: `10 sessions: ${small.cpuPercent.toFixed(2)} %, ${small.maxMiB.toFixed(0)} MiB`,
    ratio: `${(large.cpuPercent / small.cpuPercent).toFixed(1)}x CPU, ${(large.maxMiB / small.maxMiB).toFixed(2)}x memory`,
    goal: '≤ 15 %, ≤ 150 MB (143 MiB), flat, 0 missed, 0 harmed',
  };
}
