/**
 * Memory and CPU time of an idle daemon, as it is without configuration: it has started its own opencode and serves the
 * status. Compared with a daemon that only observes and has no status endpoint, with pm2's daemon, and with a Node that
 * does nothing. All are measured in the same minutes, because the machine's load changes.
 */
import { freePort } from '../test/support/ports.js';
import { createWorld } from '../test/support/world.js';
import { median, type Row } from './figures.js';
import { startBareNode, startPm2 } from './pm2.js';
import { anonymousMiB, cpuNanoseconds, residentMiB } from './proc.js';

/** By then the start is over: V8 has collected its garbage, which takes about half a minute. */
const SETTLE_MS = 60_000;
const MEASURED_MS = 120_000;
const SAMPLE_MS = 5_000;
/** pm2 6 on Node 20, measured where this bench was written. Used if pm2 cannot be installed. */
const PM2_MIB = 53;

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export async function idle(): Promise<Row> {
  const world = await createWorld();
  try {
    const bare = startBareNode();
    world.defer(() => bare.stop());
    const pm2 = await startPm2();
    if (pm2) world.defer(() => pm2.stop());
    const listen = `127.0.0.1:${await freePort()}`;
    const daemon = await world.daemon({ status: { listen } });
    await daemon.saw('stream.connected', {}, 120_000);
    const observer = await world.daemon({ server: { control: 'observe' } });
    await observer.saw('stream.connected');
    const weighed = { daemon, observer, bare, ...(pm2 && { pm2 }) };
    const figures = await weigh(weighed);
    // After its first request a daemon keeps the code that answers in memory; scrapers and health checks are common.
    for (const path of ['/healthz', '/metrics'])
      await (await fetch(`http://${listen}${path}`)).text();
    await wait(SAMPLE_MS);
    const asked = residentMiB(daemon.pid);
    const told = (name: keyof typeof weighed) => {
      const of = figures.get(name);
      if (of === undefined) return `${PM2_MIB} MiB (measured before)`;
      return `${of.mib.toFixed(0)} MiB (own ${of.own.toFixed(0)}), ${of.cpuPercent.toFixed(3)} %`;
    };
    const mib = figures.get('daemon')?.mib ?? Number.NaN;
    const pm2Mib = figures.get('pm2')?.mib ?? PM2_MIB;
    return {
      measure: `idle for ${MEASURED_MS / 60_000} min: resident memory, CPU of one core`,
      result: `${told('daemon')}; once scraped: ${asked.toFixed(0)} MiB; observing, no status endpoint: ${told('observer')}`,
      against: `pm2's daemon: ${told('pm2')}; a Node that does nothing: ${told('bare')}`,
      ratio: `${(mib / pm2Mib).toFixed(2)}x pm2`,
      goal: '≤ 80 MB (76 MiB), ≤ 0.2 %',
    };
  } finally {
    await world.end();
  }
}

interface Weight {
  mib: number;
  own: number;
  cpuPercent: number;
}

/** Median of the memory, mean of the CPU. */
async function weigh(processes: Record<string, { pid: number }>): Promise<Map<string, Weight>> {
  await wait(SETTLE_MS);
  const all = Object.entries(processes).map(([name, { pid }]) => {
    return { name, pid, before: cpuNanoseconds(pid), mib: [] as number[], own: [] as number[] };
  });
  for (let passed = 0; passed < MEASURED_MS; passed += SAMPLE_MS) {
    await wait(SAMPLE_MS);
    for (const each of all) {
      each.mib.push(residentMiB(each.pid));
      each.own.push(anonymousMiB(each.pid));
    }
  }
  return new Map(
    all.map(({ name, pid, before, mib, own }) => {
      const cpuPercent = ((cpuNanoseconds(pid) - before) / (MEASURED_MS * 1e6)) * 100;
      return [name, { mib: median(mib), own: median(own), cpuPercent }];
    }),
  );
}
