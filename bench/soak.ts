/**
 * `npm run soak`: a day's traffic in an hour, on the real daemon, with restarts of the server, cut streams and tens of
 * thousands of sessions. Fails (exit code 1) if memory or handles grow with the traffic.
 *
 *   npm run soak -- --minutes 25 --events 1500000 [--json] [--cli FILE]
 */
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Inspector, inspectorUrl } from './inspector.js';
import { cpuSeconds, openHandles, residentMiB } from './proc.js';
import { growthOf, handlesGrow, isFlat, MAX_GROWTH, type Sample } from './slope.js';
import type { Limits } from './traffic/scripts.js';
import { startServer } from './traffic/start.js';
import { startWatched } from './traffic/watched.js';

const { values } = parseArgs({
  options: {
    hours: { type: 'string' },
    minutes: { type: 'string' },
    events: { type: 'string', default: '2000000' },
    json: { type: 'boolean', default: false },
    /** Another build of the daemon, to check that a leak is found. */
    cli: { type: 'string' },
  },
});
const minutes = Number(values.minutes ?? Number(values.hours ?? 1) * 60);
const events = Number(values.events);
if (!(minutes > 0) || !(events > 0)) {
  console.error('--minutes (or --hours) and --events must be numbers above 0');
  process.exit(2);
}

/** The day is compressed, and so are the limits. */
const LIMITS: Limits = {
  silence: 8_000,
  toolTime: 15_000,
  attempts: 5,
  retryDuration: 10_000,
  retryWait: 60_000,
  pileup: 5_000,
  firstWait: 250,
};
const CONFIG = {
  watch: { pollInterval: '2s' },
  stall: { maxSilence: `${LIMITS.silence}ms`, maxToolTime: `${LIMITS.toolTime}ms` },
  retry: { maxDuration: `${LIMITS.retryDuration}ms`, maxWait: `${LIMITS.retryWait}ms` },
  pileup: { minDuration: `${LIMITS.pileup}ms`, rest: '30s' },
  log: { healthInterval: '10s' },
};
const SESSIONS = 300;
const DIRECTORIES = 30;
/**
 * Short runs, mostly of new sessions. A million events make some 25,000 sessions, so that everything that is limited to
 * 10,000 sessions is full before the growth is measured.
 */
const RUN_LENGTH = 8;
const REUSE_SHARE = 0.25;
const STUCK_SHARE = 0.02;
const SAMPLES = 120;
/** Spread evenly over the whole soak. */
const RESTARTS = 6;
const CUTS = 24;

const say = (line: string) => console.error(line);
const state = await startServer({
  sessions: SESSIONS,
  directories: DIRECTORIES,
  eventsPerSecond: events / minutes / 60,
  runLength: RUN_LENGTH,
  stuckShare: STUCK_SHARE,
  reuseShare: REUSE_SHARE,
  limits: LIMITS,
  seed: 8,
});
let url: string | undefined;
const watched = await startWatched({
  config: { server: { url: state.url, control: 'observe' }, ...CONFIG },
  nodeArgs: ['--inspect=127.0.0.1:0'],
  ...(values.cli === undefined ? {} : { cli: values.cli }),
  isNoise: (line) => {
    url ??= inspectorUrl(line);
    return /Debugger|inspector/.test(line);
  },
});
let inspector: Inspector | undefined;
const stop = async () => {
  // A process with an inspector attached does not end before the inspector disconnects.
  inspector?.close();
  await watched.stop();
  await state.stop();
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stop().finally(() => process.exit(130)));
}

interface Look extends Sample {
  residentBytes: number;
  handles: number;
}

try {
  while (url === undefined) await pause(50);
  inspector = await Inspector.open(url);
  const looks: Look[] = [];
  const began = performance.now();
  const total = minutes * 60_000;
  const sampleMs = total / SAMPLES;
  let interruptions = 0;
  for (let i = 1; i <= SAMPLES; i += 1) {
    await pause(Math.max(0, began + i * sampleMs - performance.now()));
    const { sent, syncs, runs, created, findings } = await state.report();
    const bytes = await inspector.liveHeap();
    const look: Look = {
      events: sent + syncs,
      bytes,
      residentBytes: residentMiB(watched.pid) * 1024 ** 2,
      handles: openHandles(watched.pid),
    };
    looks.push(look);
    if (i % 5 === 0) {
      say(
        `${Math.round((performance.now() - began) / 1000)} s: ${look.events} events, ${created} sessions, ${runs} runs, ` +
          `live heap ${mb(bytes)}, resident ${mb(look.residentBytes)}, ${look.handles} descriptors, ` +
          `aborts ${findings.aborts}, missed ${findings.missed.length}, harmed ${findings.harmed.length} ${findings.harmed.slice(-3)}`,
      );
    }
    // Spread over the soak. The last samples see a daemon that has settled after the last interruption.
    const due = Math.floor((i / SAMPLES) * (RESTARTS + CUTS));
    if (due > interruptions && i < SAMPLES - 2) {
      interruptions = due;
      if (interruptions % ((RESTARTS + CUTS) / RESTARTS) === 0) await state.restart();
      else await state.cut();
    }
  }
  const seconds = (performance.now() - began) / 1_000;
  const cpu = cpuSeconds(watched.pid);
  const resources = await inspector.activeResources();
  const report = await state.report();
  const heap = growthOf(looks);
  const resident = growthOf(
    looks.map(({ events: at, residentBytes }) => ({ events: at, bytes: residentBytes })),
  );
  const handles = looks.map((look) => look.handles);
  const growing = [
    ...(isFlat(heap) ? [] : ['live heap']),
    ...(isFlat(resident) ? [] : ['resident memory']),
    ...(handlesGrow(handles) ? ['descriptors'] : []),
  ];
  const result = {
    passed: growing.length === 0,
    growing,
    minutes: seconds / 60,
    events: report.sent + report.syncs,
    sessions: report.created,
    runs: report.runs,
    restarts: RESTARTS,
    reconnects: report.connections - 1,
    stuck: report.findings.stuck,
    aborts: report.findings.aborts,
    missed: report.findings.missed,
    harmed: report.findings.harmed,
    late: report.findings.late,
    starved: report.findings.starved,
    heapGrowth: heap?.slope,
    residentGrowth: resident?.slope,
    limit: MAX_GROWTH,
    heapBytes: ends(looks.map(({ bytes }) => bytes)),
    residentBytes: ends(looks.map(({ residentBytes }) => residentBytes)),
    handles: { ...ends(handles), max: Math.max(...handles) },
    resources,
    cpuSecondsPerMillion: (cpu / (report.sent + report.syncs)) * 1e6,
    lines: Object.fromEntries(watched.lines),
    problems: watched.problems,
  };
  if (values.json) console.log(JSON.stringify({ ...result, looks }));
  else console.log(tableOf(result));
  process.exitCode = result.passed ? 0 : 1;
} finally {
  await stop();
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function ends(all: readonly number[]): { first: number; last: number } {
  return { first: all[0] ?? 0, last: all.at(-1) ?? 0 };
}

function tableOf(result: {
  [name: string]: unknown;
  growing: string[];
  late: readonly string[];
  starved: readonly string[];
  missed: readonly string[];
  harmed: readonly string[];
  minutes: number;
  heapGrowth: number | undefined;
  residentGrowth: number | undefined;
  heapBytes: { first: number; last: number };
  residentBytes: { first: number; last: number };
  handles: { first: number; last: number; max: number };
  problems: readonly string[];
  cpuSecondsPerMillion: number;
}): string {
  const { heapBytes, residentBytes, handles, problems } = result;
  const growth = (slope: number | undefined) =>
    `${slope?.toFixed(2) ?? 'unknown'} MB for each million events (at most ${MAX_GROWTH})`;
  const rows: [string, unknown][] = [
    ['minutes', result.minutes.toFixed(1)],
    ['events', result.events],
    ['sessions, runs', `${result.sessions}, ${result.runs}`],
    ['server restarts, stream reconnects', `${result.restarts}, ${result.reconnects}`],
    [
      'stuck, aborts, late, missed, harmed',
      [
        result.stuck,
        result.aborts,
        result.late.length,
        ...[result.missed, result.harmed].map((all) => [all.length, ...all.slice(0, 5)].join(' ')),
      ].join(', '),
    ],
    ['aborts of sessions that the starved traffic server kept silent', result.starved.length],
    ['live heap', `${mb(heapBytes.first)} → ${mb(heapBytes.last)}`],
    ['live heap growth', growth(result.heapGrowth)],
    ['resident memory', `${mb(residentBytes.first)} → ${mb(residentBytes.last)}`],
    ['resident growth', growth(result.residentGrowth)],
    ['descriptors', `${handles.first} → ${handles.last}, at most ${handles.max}`],
    ['active resources at the end', JSON.stringify(result.resources)],
    ['CPU', `${result.cpuSecondsPerMillion.toFixed(1)} s for each million events`],
    ['problems logged', problems.length === 0 ? 'none' : problems.slice(0, 5).join('; ')],
    ['verdict', result.growing.length === 0 ? 'flat' : `growing: ${result.growing.join(', ')}`],
  ];
  return [
    '| soak | measured |',
    '| --- | --- |',
    ...rows.map(([name, value]) => `| ${name} | ${value} |`),
  ].join('\n');
}
