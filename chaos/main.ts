/** `npm run chaos`: the real opencode, everything that can go wrong, and the laws that must hold nevertheless. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { plantSecrets } from './environment.js';
import { isIsolated, rerunIsolated } from './isolate.js';
import { LONG, SHORT } from './limits.js';
import { type PhaseResult, runPhase } from './phase.js';
import { reportOf, text } from './report.js';
import { FAULT_GROUPS, FAULT_NAMES, type Phase, plan } from './schedule.js';

const USAGE = `npm run chaos -- [options]
  --seed N         which schedule; the same seed gives the same faults and sessions (default: of the moment)
  --minutes N      how long (default 15); --seconds N for less
  --only KIND,…    only these faults, or groups of them: ${FAULT_GROUPS.join(', ')};
                   ${FAULT_NAMES.join(', ')}
  --short          the test suite's form: dense, with shorter limits, 30 seconds unless told otherwise
  --slack N        seconds that a stuck session may take beyond its limit and the verification (default 20)
  --no-nat         without a network of our own: the faults of the network come in a second half
  --plan           prints the schedule and ends
  --json           the report as JSON on stdout
  --keep           keeps the timeline also where nothing was violated
Exit code 1 where an invariant was violated.`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    slack: { type: 'string' },
    short: { type: 'boolean', default: false },
    'no-nat': { type: 'boolean', default: false },
    plan: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function number(name: 'seed' | 'minutes' | 'seconds' | 'slack'): number | undefined {
  const given = values[name];
  if (given === undefined) return undefined;
  if (Number.isFinite(Number(given)) && Number(given) >= 0) return Number(given);
  throw new UsageError(`--${name} ${given}: a number is expected`);
}

class UsageError extends Error {}

function readOptions() {
  const only = values.only?.split(',').map((name) => name.trim()) ?? [];
  const known: string[] = [...FAULT_NAMES, ...FAULT_GROUPS];
  const unknown = only.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new UsageError(`--only ${unknown.join(',')}: no such fault`);
  const seconds = number('seconds') ?? (number('minutes') ?? (values.short ? 0.5 : 15)) * 60;
  return {
    seed: number('seed') ?? Date.now() % 1_000_000,
    ms: seconds * 1000,
    only,
    slackMs: (number('slack') ?? 20) * 1000,
  };
}

async function main(): Promise<number> {
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const { seed, ms, only, slackMs } = readOptions();
  if (!values['no-nat'] && !isIsolated()) {
    // The default seed comes from the clock. The process inside must use the same one.
    if (values.seed === undefined) process.argv.push('--seed', String(seed));
    const code = await rerunIsolated();
    if (code !== undefined) return code;
    console.error('no network namespace is to be had: network faults come in a second half');
  }
  const phases = plan({ seed, ms, nat: isIsolated(), only, dense: values.short });
  if (values.plan) {
    console.log(JSON.stringify(phases, null, 2));
    return 0;
  }

  const folder = mkdtempSync(join(tmpdir(), `chaos-${seed}-`));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const results: { phase: Phase; result: PhaseResult; ms: number }[] = [];
  for (const phase of phases) {
    if (stop.signal.aborted) break;
    const began = Date.now();
    const result = await runPhase({
      phase,
      limits: values.short ? SHORT : LONG,
      secrets: plantSecrets(),
      slackMs,
      timeline: join(folder, `timeline-${phase.topology}.ndjson`),
      stop: stop.signal,
      onProgress: progress(),
      onViolation: ({ law, what }) => console.error(`\nVIOLATED ${law}: ${what}`),
    });
    results.push({ phase, result, ms: Date.now() - began });
  }
  const report = reportOf(seed, ms, results);
  const violated = report.violations.length > 0;
  writeFileSync(join(folder, 'report.json'), JSON.stringify(report, null, 2));
  writeFileSync(join(folder, 'plan.json'), JSON.stringify(phases, null, 2));
  if (process.stderr.isTTY) process.stderr.write('\n');
  console.log(values.json ? JSON.stringify(report) : text(report));
  if (violated || values.keep) console.error(`kept in ${folder}`);
  else rmSync(folder, { recursive: true });
  return violated ? 1 : 0;
}

/** On a terminal one line that is overwritten, elsewhere a new line now and then. */
function progress(): (words: string) => void {
  const EVERY_MS = 10_000;
  let saidAt = 0;
  return (words) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${words}`);
    else if (Date.now() - saidAt >= EVERY_MS) {
      saidAt = Date.now();
      console.error(words);
    }
  };
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
// A world that could not be ended completely must not keep the run from ending.
setTimeout(() => process.exit(), 5_000).unref();
