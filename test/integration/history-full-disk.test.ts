/** The history's file on a full disk: what is torn there spoils no later line. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { HistoryFile, readLines } from '../../src/status/history-file.js';

/** How many bytes still fit. */
const disk = vi.hoisted(() => ({ room: Number.POSITIVE_INFINITY }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const writeSync = (fd: number, data: string | Uint8Array, from = 0): number => {
    const bytes = Buffer.from(data as Uint8Array).subarray(from, from + disk.room);
    if (bytes.length === 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    disk.room -= bytes.length;
    return fs.writeSync(fd, bytes);
  };
  return { ...fs, default: { ...fs, writeSync }, writeSync };
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'watchdog-history-file-'));
});
afterEach(() => {
  disk.room = Number.POSITIVE_INFINITY;
  rmSync(folder, { recursive: true, force: true });
});

it('begins each line on a line of its own, also where the disk stays full for a while', () => {
  const file = new HistoryFile(folder, 'history', 1_000);
  file.append('one');
  disk.room = 2;
  expect(() => file.append('torn')).toThrow('ENOSPC');
  expect(() => file.append('lost')).toThrow('ENOSPC');
  disk.room = Number.POSITIVE_INFINITY;
  file.append('two');
  file.close();
  expect(readLines(folder, 'history', 1_000)).toEqual({
    lines: ['one', 'to', 'two'],
    problems: [],
  });
});
