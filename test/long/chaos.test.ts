import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { Report } from '../../chaos/report.js';

/**
 * A seed whose half minute has a killed server, a killed daemon, a full disk and a broken network. If the kernel allows
 * no network of our own, the same seed is run in two halves.
 */
const SEED = 157;
const MAIN = fileURLToPath(new URL('../../chaos/main.ts', import.meta.url));

test('half a minute of chaos breaks no invariant', async () => {
  const args = ['--import', 'tsx', MAIN, '--short', '--seed', String(SEED), '--json'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  const report = JSON.parse(out) as Report;
  expect(report.violations, err).toEqual([]);
  expect(child.exitCode, err).toBe(0);
  expect(report.seed).toBe(SEED);
  const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);
  expect(sum(report.phases.flatMap(({ faults }) => Object.values(faults)))).toBeGreaterThan(2);
  expect(sum(report.phases.map(({ sessions }) => sessions.begun))).toBeGreaterThan(10);
});
