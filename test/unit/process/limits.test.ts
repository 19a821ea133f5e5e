/** What is read from processes and from files of our own is bounded, whatever stands in them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.js';
import { Lines } from '../../../src/process/lines.js';
import { KEPT_LINES, MAX_LINE_BYTES } from '../../../src/process/output.js';
import { bootId } from '../../../src/process/proc-table.js';
import type { ProcessTable } from '../../../src/process/process-table.js';
import { MAX_RECORD_BYTES, ServerRecords, serverKey } from '../../../src/process/record.js';
import { MAX_SHOWN_LINES, runCommand } from '../../../src/process/run-command.js';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

test('a line without end is given as far as it goes, once, and its rest is dropped', () => {
  const given: string[] = [];
  const lines = new Lines(100, (line) => given.push(line));
  lines.push('one\ntw');
  lines.push('o\n');
  for (let n = 0; n < 1_000; n += 1) lines.push('x'.repeat(50));
  lines.push('x\nthree\nfo');
  lines.end();
  expect(given).toEqual(['one', 'two', 'x'.repeat(150), 'three', 'fo']);
});

test('of a command that talks without end the first lines are shown and the last ones kept, all of them cut', async () => {
  const shown: string[] = [];
  const script = `i=0; while [ $i -lt ${MAX_SHOWN_LINES * 2} ]; do echo line $i; i=$((i+1)); done; head -c 300000 /dev/zero | tr '\\0' y`;
  const result = await runCommand(['sh', '-c', script], {
    table: {} as ProcessTable,
    clock: new SystemClock(),
    timeoutMs: 30_000,
    stopGraceMs: 1_000,
    cwd: tmpdir(),
    env: process.env,
    signal: new AbortController().signal,
    onLine: (line) => shown.push(line),
  });
  expect(result.kind).toBe('exit');
  expect(shown).toHaveLength(MAX_SHOWN_LINES);
  expect(shown[0]).toBe('line 0');
  expect(result.lastLines).toHaveLength(KEPT_LINES);
  expect(result.lastLines.at(-1)).toBe('y'.repeat(MAX_LINE_BYTES));
});

test('a record of a started server that is larger than any is none', () => {
  const dir = mkdtempSync(join(tmpdir(), 'watchdog-record-'));
  folders.push(dir);
  const url = 'http://localhost:4096';
  const records = new ServerRecords(dir, url);
  records.write({ root: { pid: 1, startTime: '1' }, server: null, files: null });
  expect(records.read()?.root.pid).toBe(1);
  const huge = {
    url,
    bootId: bootId(),
    root: { pid: 1, startTime: '1' },
    server: null,
    files: null,
  };
  const padded = JSON.stringify({ ...huge, padding: 'x'.repeat(MAX_RECORD_BYTES) });
  writeFileSync(join(dir, `server-${serverKey(url)}.json`), padded);
  expect(records.read()).toBeUndefined();
});
