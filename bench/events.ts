/**
 * CPU time for each event of a busy stream: our path from the socket to the state machine's decisions, and the whole
 * daemon (`dist/cli.js`, with its log). Compared with the official SDK's reader, and with reading the bytes alone. Each
 * reader is a process of its own, and so is the server.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { startDaemon } from '../test/support/daemon.js';
import { freePort } from '../test/support/ports.js';
import type { Kind } from './events-reader.js';
import type { Order, Shape, Told } from './events-sender.js';
import { median, type Row } from './figures.js';
import { cpuNanoseconds } from './proc.js';

const REPETITIONS = 3;
/** The readers take turns, so that a noisy minute affects all of them. */
const READERS: readonly Reader[] = ['watchdog', 'raw', 'sdk', 'daemon'];
type Reader = Kind | 'daemon';
/** A reader that has used almost no CPU for this long counts as done. */
const QUIET_MS = 300;
const QUIET_NANOSECONDS = 8e6;

const SHAPE_NAMES: Record<Shape, string> = {
  live: 'single frames',
  full: 'one frame per HTTP chunk, saturated',
  joined: '~180 frames per chunk',
};

interface Running {
  pid: number;
  /** Events so far; bytes for `raw`. */
  seen(): Promise<number>;
  stop(): Promise<unknown>;
}

/** @throws if a reader has not seen everything that was sent */
export async function events(repetitions = REPETITIONS): Promise<Row[]> {
  await buildProcesses();
  const rows: Row[] = [];
  for (const shape of Object.keys(SHAPE_NAMES) as Shape[])
    rows.push(await ofShape(shape, repetitions));
  return rows;
}

async function ofShape(shape: Shape, repetitions: number): Promise<Row> {
  const figures: Record<Reader, number[]> = {
    watchdog: [],
    raw: [],
    sdk: [],
    daemon: [],
  };
  for (let round = 0; round < repetitions; round += 1) {
    for (const reader of READERS) figures[reader].push(await measure(reader, shape));
  }
  const of = (reader: Reader) => median(figures[reader]);
  const ratio = (to: Reader) => (of('watchdog') / of(to)).toFixed(2);
  const us = (reader: Reader) => `${(of(reader) / 1_000).toFixed(2)} µs`;
  return {
    measure: `CPU for each event, 300,000 deltas, ${SHAPE_NAMES[shape]}`,
    result: `${us('watchdog')} (the whole daemon: ${us('daemon')})`,
    against: `the official SDK's reader: ${us('sdk')}; undici's raw bytes: ${us('raw')}`,
    ratio: `${ratio('sdk')}x; ${ratio('raw')}x`,
    goal: '≤ 0.90x of the SDK',
  };
}

/** Nanoseconds of CPU time for each event. */
export async function measure(reader: Reader, shape: Shape): Promise<number> {
  const sender = forked('events-sender', [shape]);
  try {
    const { port } = (await message(sender)) as { port: number };
    const url = `http://127.0.0.1:${port}`;
    const running = reader === 'daemon' ? await daemon(url) : other(reader, url);
    try {
      await send(sender, 'warm-up');
      await quiet(running.pid);
      const [before, seenBefore] = [cpuNanoseconds(running.pid), await running.seen()];
      const { sent, connected } = await send(sender, 'measured');
      await quiet(running.pid);
      const [after, seenAfter] = [cpuNanoseconds(running.pid), await running.seen()];
      const expected = reader === 'raw' ? sent.bytes : sent.frames;
      if (seenAfter - seenBefore !== expected || connected !== 1) {
        throw new Error(
          `${reader} saw ${seenAfter - seenBefore} of ${expected} (${connected} connections)`,
        );
      }
      return (after - before) / sent.frames;
    } finally {
      await running.stop();
    }
  } finally {
    sender.kill();
  }
}

async function daemon(url: string): Promise<Running> {
  const port = await freePort();
  const config = {
    server: { url, control: 'observe' },
    status: { listen: `127.0.0.1:${port}` },
    log: { healthInterval: '1h' },
  };
  const started = await startDaemon({ config, env: process.env });
  await started.saw('stream.connected');
  return {
    pid: started.pid,
    seen: async () => {
      const status = await (await fetch(`http://127.0.0.1:${port}/status`)).json();
      return (status as { server: { stream: { events: number } } }).server.stream.events;
    },
    stop: () => started.stop(),
  };
}

function other(kind: Kind, url: string): Running {
  const child = forked('events-reader', [kind, url]);
  return {
    pid: child.pid ?? 0,
    seen: async () => {
      child.send('?');
      return ((await message(child)) as { seen: number }).seen;
    },
    stop: async () => child.kill(),
  };
}

/** Inside the repository, so that the packages are found. */
const BUILT = new URL('../node_modules/.cache/opencode-watchdog-bench/', import.meta.url);

/** Builds the readers as they would be installed: running TypeScript from its source adds calls to hot functions. */
export async function buildProcesses(): Promise<void> {
  const common = {
    outdir: fileURLToPath(BUILT),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
  } as const;
  const source = (name: string) => fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  await build({ ...common, entryPoints: [source('events-reader')] });
  // The captured frames are read from a file beside the module's source.
  const url = new URL('../test/unit/opencode/real-events.ts', import.meta.url).href;
  const define = { 'import.meta.url': JSON.stringify(url) };
  await build({ ...common, entryPoints: [source('events-sender')], define });
}

const forked = (name: 'events-reader' | 'events-sender', args: string[]) =>
  fork(fileURLToPath(new URL(`${name}.mjs`, BUILT)), args, { execArgv: [] });

async function message(child: ChildProcess): Promise<unknown> {
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`a process of the bench ended with ${code}`);
  });
  const [told] = (await Promise.race([once(child, 'message'), failed])) as [unknown];
  return told;
}

async function send(sender: ChildProcess, what: Order['send']) {
  const told = message(sender);
  sender.send({ send: what } satisfies Order);
  return (await told) as Extract<Told, { sent: unknown }>;
}

/** Waits until the reader has worked off what it was sent. */
async function quiet(pid: number): Promise<void> {
  for (let last = cpuNanoseconds(pid), used = Infinity; used > QUIET_NANOSECONDS; ) {
    await pause(QUIET_MS);
    const now = cpuNanoseconds(pid);
    used = now - last;
    last = now;
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
