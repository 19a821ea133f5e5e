/** Recordings of a test's own: a header, lines, and a folder that is removed with the test. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

export function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'watchdog-recording-'));
  folders.push(made);
  return made;
}

export const HEADER = {
  recording: 'opencode-watchdog',
  format: 1,
  version: '0.1.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  acts: true,
  policy: {},
};

/** A file with these lines: objects as JSON, strings as they are. */
export function fileOf(...lines: readonly (object | string | Buffer)[]): string {
  const file = join(folder(), 'recording.ndjson');
  const parts = lines.map((line) =>
    Buffer.isBuffer(line) ? line : typeof line === 'string' ? line : JSON.stringify(line),
  );
  const bytes = parts.map((part) => Buffer.concat([Buffer.from(part), Buffer.from('\n')]));
  writeFileSync(file, Buffer.concat(bytes));
  return file;
}
