/** A run's report: as text for people, as JSON for programs. */
import type { Violation } from './evidence.js';
import type { PhaseResult } from './phase.js';
import type { Phase } from './schedule.js';

export interface Report {
  seed: number;
  minutes: number;
  phases: {
    topology: string;
    seconds: number;
    /** How the full disk was made. */
    disks: string;
    faults: Record<string, number>;
    sessions: { begun: number; skipped: number };
    daemons: number;
    events: Record<string, number>;
    notes: string[];
    /** From when a session's limit counts until the session's end, ms. */
    stuckTookMs: { count: number; median: number; worst: number };
    /** From the end of the last fault to a healthy server, ms. */
    recoveredMs: { count: number; median: number; worst: number };
    laws: { law: string; checks: number; violations: number }[];
  }[];
  violations: (Violation & { topology: string })[];
}

export function reportOf(
  seed: number,
  ms: number,
  results: readonly { phase: Phase; result: PhaseResult; ms: number }[],
): Report {
  return {
    seed,
    minutes: ms / 60_000,
    phases: results.map(({ phase, result, ms: took }) => ({
      topology: phase.topology,
      seconds: Math.round(took / 1000),
      disks: result.disks,
      faults: result.faults,
      sessions: result.sessions,
      daemons: result.daemons,
      events: result.events,
      notes: result.notes,
      stuckTookMs: summary(result.judge.stuckEnded.took),
      recoveredMs: summary(result.judge.recovers.took),
      laws: result.judge.laws.map(({ name, checks, violations }) => ({
        law: name,
        checks,
        violations: violations.length,
      })),
    })),
    violations: results.flatMap(({ phase, result }) =>
      result.judge.violations.map((violation) => ({ ...violation, topology: phase.topology })),
    ),
  };
}

export function text(report: Report): string {
  const lines = [`seed ${report.seed}, ${report.minutes} minutes`];
  for (const phase of report.phases) {
    const faults = Object.entries(phase.faults).sort(([, a], [, b]) => b - a);
    const count = faults.reduce((sum, [, each]) => sum + each, 0);
    const { begun, skipped } = phase.sessions;
    lines.push(
      '',
      `${phase.topology}, ${phase.seconds} s: ${count} faults, ${begun} sessions (${skipped} more could not be begun), ${phase.daemons} daemons, disks filled by ${phase.disks}`,
      `  faults: ${faults.map(([name, each]) => `${name} ${each}`).join(', ')}`,
      `  acts: ${acts(phase.events)}`,
      `  stuck → ended: ${took(phase.stuckTookMs)}; last fault over → healthy: ${took(phase.recoveredMs)}`,
      ...phase.laws.map(
        ({ law, checks, violations }) =>
          `  ${violations === 0 ? 'ok      ' : 'VIOLATED'} ${law}: ${checks} checks, ${violations} violations`,
      ),
    );
  }
  lines.push('', `${report.violations.length} violations`);
  for (const { at, law, what, topology } of report.violations) {
    lines.push(`  ${new Date(at).toISOString()} ${topology} [${law}] ${what}`);
  }
  return lines.join('\n');
}

const ACTS = [
  'session.stuck',
  'session.aborted',
  'session.abort_failed',
  'session.wedged',
  'session.interrupted',
  'server.restarted',
  'server.restart_failed',
  'server.unresponsive',
  'server.breaker_open',
  'stream.lost',
  'log.dropped',
];

function acts(events: Record<string, number>): string {
  return ACTS.filter((event) => events[event])
    .map((event) => `${event} ${events[event]}`)
    .join(', ');
}

function summary(values: readonly number[]): { count: number; median: number; worst: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? 0;
  return { count: sorted.length, median: at(0.5), worst: at(1) };
}

const took = ({ count, median, worst }: { count: number; median: number; worst: number }) =>
  `${count}, median ${(median / 1000).toFixed(1)} s, worst ${(worst / 1000).toFixed(1)} s`;
