/** What is read from processes and from files of our own is bounded, whatever stands in them. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { SystemClock } from '../../../src/lib/clock.js';
import { DockerApi, MAX_ANSWER_BYTES } from '../../../src/process/control/docker-api.js';
import { MAX_SHOWN_LINES, runCommand } from '../../../src/process/run-command.js';
import { Lines } from '../../../src/process/server/lines.js';
import { KEPT_LINES, MAX_LINE_BYTES, OutputTail } from '../../../src/process/server/output.js';
import { MAX_RECORD_BYTES, ServerRecords } from '../../../src/process/server/state-file.js';
import { bootId } from '../../../src/process/table/proc-table.js';
import type { ProcessTable } from '../../../src/process/table/process-table.js';
import { FakeClock } from '../../support/fake-clock.js';

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
    cwdAdvice: '',
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
  const mark = randomUUID();
  records.write({ root: { pid: 1, startTime: '1' }, server: null, mark });
  expect(records.read()?.root.pid).toBe(1);
  const huge = {
    url,
    bootId: bootId(),
    root: { pid: 1, startTime: '1' },
    server: null,
    mark,
  };
  const padded = JSON.stringify({ ...huge, padding: 'x'.repeat(MAX_RECORD_BYTES) });
  writeFileSync(join(dir, 'server.json'), padded);
  expect(records.read()).toBeUndefined();
});

test('the file of the output is emptied once it was read, beyond its limit', () => {
  const dir = mkdtempSync(join(tmpdir(), 'watchdog-output-'));
  folders.push(dir);
  const files = { stdout: join(dir, 'out'), stderr: join(dir, 'err') };
  writeFileSync(files.stdout, `${'x'.repeat(1_000)}\n`.repeat(3_000));
  writeFileSync(files.stderr, `${'x'.repeat(1_000)}\n`.repeat(9_000));
  let lines = 0;
  let dropped = 0;
  const tail = new OutputTail({
    files,
    clock: new FakeClock(),
    from: 'start',
    onLine: () => {
      lines += 1;
    },
    onDropped: (amount) => {
      dropped += amount;
    },
    onLost: () => {},
  });
  for (let n = 0; n < 4; n += 1) tail.flush();
  expect(statSync(files.stdout).size).toBe(3_000 * 1_001);
  expect(statSync(files.stderr).size).toBe(0);
  // One line was cut in two where a read ended.
  expect(lines + dropped).toBeGreaterThanOrEqual(12_000);
  tail.stop();
});

test('an answer of the Docker engine without end is given up', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'watchdog-docker-'));
  folders.push(dir);
  const socket = join(dir, 's');
  const server = createServer((_, response) =>
    response.end(Buffer.alloc(MAX_ANSWER_BYTES + 1, 0x20)),
  );
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  await expect(new DockerApi(socket, 'c').inspect()).rejects.toThrow(/answer larger than 4194304/);
  server.closeAllConnections();
  server.close();
});
