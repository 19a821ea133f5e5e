import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  configuredLaunchSpec,
  readLaunchSpec,
} from '../../../../src/process/server/launch-spec.js';
import type { ProcessInfo } from '../../../../src/process/table/process-table.js';

const options = {
  url: 'http://127.0.0.1:5099',
  command: ['opencode', 'serve'],
  directory: '/',
  env: {},
};

/** The argv of the successor of a process with this command line. */
function successor(...command: string[]): readonly string[] {
  const stat = { pid: process.pid, ppid: 1, name: 'opencode', startTime: '1', state: 'S' };
  const found: ProcessInfo = { ...stat, rssBytes: 0, command };
  const fallback = configuredLaunchSpec(options);
  return readLaunchSpec(found, fallback, options.url).spec.argv;
}

test('a server that was started without a port comes back on the port where it was found', () => {
  const argv = successor(process.execPath, 'opencode', 'serve');
  expect(argv).toEqual([process.execPath, 'opencode', 'serve', '--port', '5099']);
});

test.each([[['serve', '--port', '5099']], [['serve', '--port=5099', '--print-logs']]])(
  'the port in a command line stays: %j',
  (words) => {
    expect(successor(process.execPath, ...words)).toEqual([process.execPath, ...words]);
  },
);

test('nothing is appended where the command line could not be read', () => {
  expect(successor()).toEqual([...options.command, '--hostname', '127.0.0.1', '--port', '5099']);
});

test('a program that cannot be looked at is not found, so the executable that ran is taken', () => {
  const dir = mkdtempSync(join(tmpdir(), 'launch-spec-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'file'), '');
  symlinkSync('loop', join(dir, 'loop'));
  for (const program of ['file/opencode', 'loop', 'loop/opencode', 'x'.repeat(300)]) {
    const command = [join(dir, program), 'serve', '--port', '5099'];
    const stat = { pid: process.pid, ppid: 1, name: 'opencode', startTime: '1', state: 'S' };
    const found: ProcessInfo = { ...stat, rssBytes: 0, command, exe: '/usr/bin/opencode' };
    const { spec } = readLaunchSpec(found, configuredLaunchSpec(options), options.url);
    expect(spec.argv[0]).toBe('/usr/bin/opencode');
  }
});
