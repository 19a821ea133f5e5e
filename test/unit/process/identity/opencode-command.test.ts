import { expect, test } from 'vitest';
import { describeProcess, scrubCommand } from '../../../../src/process/identity/describe.js';
import {
  isOpencode,
  isWrapper,
  opencodeRole,
  runsCommand,
} from '../../../../src/process/identity/opencode-command.js';

const process = (command: string[], exe?: string) => ({
  name: 'x',
  command,
  ...(exe !== undefined && { exe }),
});

test.each([
  [['opencode', 'serve'], '/usr/lib/node_modules/opencode-ai/bin/opencode.exe'],
  [['opencode', 'serve'], '/root/.opencode/bin/opencode'],
  [['x', 'serve'], '/a/node_modules/opencode-linux-x64/bin/opencode'],
  [['x', 'serve'], '/a/bin/opencode-linux-x64-baseline-musl'],
  [['x', 'serve'], '/nix/store/h-opencode/bin/.opencode-wrapped'],
  [['node', '/usr/local/bin/opencode', 'serve'], '/usr/local/bin/node'],
  [['node', '--no-warnings', '/a/opencode-ai/bin/run.mjs', 'serve'], '/usr/bin/node22'],
  [['bun', 'run', '/src/packages/opencode/src/index.ts', 'serve'], '/usr/bin/bun'],
  [['/opt/opencode', 'serve'], undefined],
])('%j run by %s is opencode', (command, exe) => {
  expect(isOpencode(process(command, exe))).toBe(true);
  expect(opencodeRole(process(command, exe))).toBe('server');
});

test.each([
  [['python3', '-m', 'http.server', '4096'], '/usr/bin/python3'],
  // argv may be anything; the executable is what runs.
  [['opencode', 'serve'], '/usr/bin/python3'],
  [['node', '/home/me/opencode/my-dev-server.js'], '/usr/bin/node'],
  [['node', '/srv/opencode-watchdog/dist/cli.js', 'run'], '/usr/bin/node'],
  [['opencode-watchdog'], '/usr/bin/opencode-watchdog'],
  [['node', '-e', 'opencode'], '/usr/bin/python3'],
  [['bash', '-c', 'opencode serve'], '/usr/bin/bash'],
  [[], undefined],
])('%j run by %s is not opencode', (command, exe) => {
  expect(isOpencode(process(command, exe))).toBe(false);
});

test('only a runtime with the script is a wrapper, not the binary', () => {
  expect(isWrapper(process(['node', '/usr/bin/opencode', 'serve'], '/usr/bin/node'))).toBe(true);
  expect(isWrapper(process(['opencode', 'serve'], '/usr/bin/opencode'))).toBe(false);
});

test('opencode without serve or web belongs to a person at a terminal', () => {
  const at = '/usr/bin/opencode';
  expect(opencodeRole(process(['opencode'], at))).toBe('tui');
  expect(opencodeRole(process(['opencode', '--port', '4096'], at))).toBe('tui');
  expect(opencodeRole(process(['opencode', 'web'], at))).toBe('server');
  expect(opencodeRole(process(['opencode', '--print-logs', 'serve'], at))).toBe('server');
  expect(opencodeRole(process(['node', '/usr/bin/opencode'], '/usr/bin/node'))).toBe('tui');
});

test('a program of another name serves: only server.command makes it opencode', () => {
  expect(opencodeRole(process(['my-oc', 'serve'], '/usr/bin/my-oc'))).toBe('server');
  expect(opencodeRole(process(['my-oc'], '/usr/bin/my-oc'))).toBe('server');
});

test('the configured command is recognised with host and port behind it, and nothing else is', () => {
  const full = { ...process(['/x/my-oc', 'serve', '--port', '1']) } as never;
  expect(runsCommand(full, ['my-oc', 'serve'])).toBe(true);
  expect(runsCommand(full, ['my-oc', 'web'])).toBe(false);
  expect(runsCommand(full, ['serve'])).toBe(false);
  expect(runsCommand(full, [])).toBe(false);
});

test.each([
  [['a', '--password', 'hunter2', '-v'], 'a --password [secret] -v'],
  [['a', '--api-key=hunter2'], 'a --api-key=[secret]'],
  [['sh', '-c', 'GITHUB_TOKEN=hunter2 run'], 'sh -c GITHUB_TOKEN=[secret] run'],
  [['curl', 'http://me:hunter2@host/'], 'curl http://[secret]@host/'],
  [['curl', '-H', 'Authorization: Bearer hunter2'], 'curl -H Authorization: Bearer [secret]'],
  [['a', '--port', '1\n\u001b[31m2'], 'a --port 1 [31m2'],
])('%j is shown without its secret', (command, shown) => {
  expect(scrubCommand(command)).toBe(shown);
});

test('a long command is cut', () => {
  expect(scrubCommand(['x'.repeat(1000)])).toHaveLength(200);
});

test('a process without a readable command is named by its short name', () => {
  const base = { pid: 7, ppid: 1, startTime: '1', name: 'kworker', state: 'S', rssBytes: 0 };
  expect(describeProcess({ ...base, command: [], uid: 0 })).toBe('pid 7 ([kworker]), uid 0');
});
