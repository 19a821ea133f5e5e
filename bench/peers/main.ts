/**
 * `npm run bench:peers`: what each supervisor does about the same server, which dies, freezes, and has stuck sessions
 * beside healthy ones. It prints one table. Names as arguments run only those. Each takes some three minutes on a quiet
 * machine, half of that with --quick.
 */
import { readlinkSync, realpathSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { api } from '../../test/support/opencode-api.js';
import { createWorld, type World } from '../../test/support/world.js';
import { median } from '../figures.js';
import { healthyWithin } from '../health.js';
import { cpuSeconds, residentMiB } from '../proc.js';
import { STUCK_AFTER_MS, type Start, SUPERVISORS } from './supervisors.js';

const { values, positionals: wanted } = parseArgs({
  options: { quick: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const KILLS = values.quick ? 2 : 5;
const FREEZES = values.quick ? 1 : 3;
const BOOT_MS = 120_000;
/** A supervisor that has not brought the server back by then counts as one that never does. */
const GIVE_UP_MS = values.quick ? 30_000 : 60_000;
/**
 * Longer than the watchdog needs to forget an earlier stop, and longer than any supervisor counts a start as a quick
 * one.
 */
const SETTLE_MS = 11_000;
/**
 * Shorter than opencode's own limit: 1.18.33 gives up some 66 s after the first failed request (docs/compatibility.md).
 */
const LOOKED_MS = 45_000;
const IDLE_MS = values.quick ? 15_000 : 30_000;

interface Figures {
  killed: string;
  frozen: string;
  stuck: string;
  healthy: string;
  weight: string;
}

const STUCK = { 'retries for ever': '[[429]]', 'hears nothing': '[[hang]]' };
const HEALTHY = { streams: '[[stream 100 250]]', 'waits for a tool': '[[bash sleep 25]]' };

async function measure(start: Start): Promise<Figures | string> {
  const world = await createWorld();
  underWay = world;
  try {
    const supervisor = await start(world);
    if (typeof supervisor === 'string') return supervisor;
    if ((await healthyWithin(world.url, BOOT_MS)) === undefined) return 'the server did not start';
    await warmUp(world);
    const sessions = await besideStuckOnes(world);
    const weight = await weigh(supervisor.pid);
    const killed = await again(KILLS, () => hit(world, 'SIGKILL'));
    const frozen = await again(FREEZES, () => hit(world, 'SIGSTOP'));
    return { ...sessions, weight, killed, frozen };
  } finally {
    underWay = undefined;
    await world.end();
  }
}

/** If the bench is interrupted, no supervisor is left that starts servers for ever. */
let underWay: World | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void underWay?.end().finally(() => process.exit(1)));
}

/** The first prompt of a home may take seconds. */
async function warmUp({ url, directory }: World): Promise<void> {
  const opencode = api(url);
  const { id } = await opencode.createSession({ directory, title: 'first' });
  await opencode.prompt(id, directory, '[[ok]]');
}

async function besideStuckOnes(world: World): Promise<Pick<Figures, 'stuck' | 'healthy'>> {
  const opencode = api(world.url);
  const { directory } = world;
  const begin = async (prompts: Record<string, string>) =>
    Promise.all(
      Object.entries(prompts).map(async ([title, prompt]) => {
        const { id } = await opencode.createSession({ directory, title });
        await opencode.promptAsync(id, directory, prompt);
        return { id, title };
      }),
    );
  const stuck = await begin(STUCK);
  const healthy = await begin(HEALTHY);
  const began = performance.now();
  const endedAt = new Map<string, number>();
  while (performance.now() - began < LOOKED_MS) {
    await pause(500);
    const atWork = await opencode.status(directory).catch(() => undefined);
    for (const { id } of stuck) {
      if (atWork !== undefined && atWork[id] === undefined && !endedAt.has(id))
        endedAt.set(id, performance.now() - began);
    }
  }
  const finished = await Promise.all(
    healthy.map(async ({ id }) => {
      const messages = await opencode.messages(id, directory);
      const last = messages.findLast(({ info }) => info.role === 'assistant')?.info;
      return last?.finish === 'stop' && last.error === undefined;
    }),
  );
  const after = [...endedAt.values()].map((each) => `${(each / 1000).toFixed(0)} s`);
  return {
    stuck: `${endedAt.size} of ${stuck.length}${after.length > 0 ? ` (${after.join(', ')})` : ''}`,
    healthy: `${finished.filter(Boolean).length} of ${healthy.length}`,
  };
}

async function weigh(pid: number): Promise<string> {
  const before = cpuSeconds(pid);
  await pause(IDLE_MS);
  const percent = ((cpuSeconds(pid) - before) / (IDLE_MS / 1000)) * 100;
  return `${residentMiB(pid).toFixed(0)} MiB, ${percent.toFixed(1)} %`;
}

/** On a busy machine even a run of a few seconds takes longer. */
const RUN_ENDS_MS = 40_000;

interface Hit {
  /** Until it answered again, ms. Undefined if nobody brought it back. */
  tookMs: number | undefined;
  /** The run that was at work at that moment ended well. */
  survived: boolean;
}

/** Sends a signal to the server while a tool runs. */
async function hit(world: World, signal: 'SIGKILL' | 'SIGSTOP'): Promise<Hit> {
  const { url, directory } = world;
  const opencode = api(url);
  const { id } = await opencode.createSession({ directory, title: signal });
  await opencode.promptAsync(id, directory, `[[bash sleep ${SETTLE_MS / 1000 - 2}]]`);
  await pause(SETTLE_MS / 4);
  const pid = serverOf(world);
  process.kill(pid, signal);
  const tookMs = await healthyWithin(url, GIVE_UP_MS);
  if (tookMs === undefined) process.kill(pid, 'SIGCONT');
  await healthyWithin(url, BOOT_MS);
  await pause(SETTLE_MS);
  const deadline = performance.now() + RUN_ENDS_MS;
  while (performance.now() < deadline && (await opencode.status(directory))[id] !== undefined) {
    await pause(500);
  }
  const messages = await opencode.messages(id, directory);
  const last = messages.findLast(({ info }) => info.role === 'assistant')?.info;
  return { tookMs, survived: last?.finish === 'stop' && last.error === undefined };
}

/** If it was not brought back once, it is not tried again. */
async function again(times: number, once: () => Promise<Hit>): Promise<string> {
  const hits: Hit[] = [];
  for (let i = 0; i < times; i++) {
    const one = await once();
    hits.push(one);
    if (one.tookMs === undefined) return `not within ${GIVE_UP_MS / 1000} s`;
  }
  const took = hits.map(({ tookMs = Number.NaN }) => tookMs);
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  const survived = hits.filter((each) => each.survived).length;
  return `${seconds(median(took))} s, worst ${seconds(Math.max(...took))}; ${survived} of ${times} runs lived on`;
}

function serverOf({ home }: World): number {
  const program = realpathSync(home.command);
  const exe = (pid: number) => {
    try {
      return readlinkSync(`/proc/${pid}/exe`);
    } catch {
      return undefined;
    }
  };
  const pid = home.processes().find((each) => exe(each) === program);
  if (pid === undefined) throw new Error(`no process of ${program}`);
  return pid;
}

const unknown = wanted.filter((name) => !(name in SUPERVISORS));
if (unknown.length > 0) {
  console.error(
    `no such supervisor: ${unknown.join(', ')} (there are ${Object.keys(SUPERVISORS).join(', ')})`,
  );
  process.exit(2);
}
console.log(
  `| | SIGKILL → healthy | SIGSTOP → healthy | stuck runs ended after ${STUCK_AFTER_MS / 1000} s | healthy runs beside them ended well | itself, idle |`,
);
console.log('| --- | --- | --- | --- | --- | --- |');
for (const [name, start] of Object.entries(SUPERVISORS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.error(`measuring ${name} …`);
  const figures = await measure(start);
  const cells =
    typeof figures === 'string'
      ? [`not measured: ${figures}`, '', '', '', '']
      : [figures.killed, figures.frozen, figures.stuck, figures.healthy, figures.weight];
  console.log(`| ${[name, ...cells].join(' | ')} |`);
}
