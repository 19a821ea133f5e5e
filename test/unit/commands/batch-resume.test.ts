/** `batch --resume` reads its own earlier output, whatever a crash has left at its end. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { finishedTasks, readResults } from '../../../src/commands/batch-tasks.js';

const DONE = Buffer.from('{"id":"1","task":"abc","ok":true,"text":"yes"}\n');

it.each([
  ['half a character', Buffer.from('{"id":"2","task":"d","ok":true,"text":"é').subarray(0, -1)],
  ['zeros', Buffer.alloc(100)],
])('the results before %s count', (_what, end) => {
  const folder = mkdtempSync(join(tmpdir(), 'watchdog-resume-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'out.ndjson');
  writeFileSync(path, Buffer.concat([DONE, end]));
  expect([...finishedTasks(readResults(path))]).toEqual(['1 abc']);
});
