/** The width of a report where the terminal says nothing useful. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { report } from '../../../src/commands/report.js';

const folder = mkdtempSync(join(tmpdir(), 'watchdog-columns-'));
const before = Object.getOwnPropertyDescriptor(process.stdout, 'columns');
afterEach(() => {
  vi.restoreAllMocks();
  if (before === undefined) Reflect.deleteProperty(process.stdout, 'columns');
  else Object.defineProperty(process.stdout, 'columns', before);
  rmSync(folder, { recursive: true, force: true });
});

it('a terminal of 0 columns gets whole lines', async () => {
  const log = join(folder, 'watchdog.log');
  writeFileSync(log, '{"level":"info","time":"2026-11-28T22:00:00Z","event":"daemon.stopped"}\n');
  Object.defineProperty(process.stdout, 'columns', { value: 0, configurable: true });
  const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  await report([log], {});
  expect(out.mock.calls.join('')).toContain('Incidents: 0');
});
