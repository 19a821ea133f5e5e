import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  ensurePrivateDirectory,
  isPrivateDirectory,
  openPrivateFile,
  openStateDirectory,
  readPrivateFile,
  serverKey,
  serverStateDir,
  stateHome,
  writePrivateFile,
} from '../../../src/lib/state-dir.js';
import { giveAway, isRoot, needsRoot } from '../../support/other-user.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'watchdog-state-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

test.each([
  [{ STATE_DIRECTORY: '/var/lib/a:/var/lib/b', XDG_STATE_HOME: '/s', HOME: '/h' }, '/var/lib/a'],
  [{ XDG_STATE_HOME: '/s', HOME: '/h' }, '/s/opencode-watchdog'],
  [{ HOME: '/h' }, '/h/.local/state/opencode-watchdog'],
  [{}, join(homedir(), '.local/state/opencode-watchdog')],
])('with %o the state directory is %s', (env, path) => {
  expect(stateHome(env)).toBe(path);
});

test('each server has a folder on each host, whatever its address is spelt like', () => {
  const env = { STATE_DIRECTORY: '/state' };
  const one = serverStateDir(env, 'http://localhost:4096', 'desk');
  expect(one).toBe(`/state/desk_${serverKey('http://127.0.0.1:4096/')}`);
  expect(serverStateDir(env, 'http://[::1]:4096', 'desk')).toBe(one);
  expect(serverStateDir(env, 'http://localhost:4097', 'desk')).not.toBe(one);
  expect(serverStateDir(env, 'http://localhost:4096', 'laptop')).not.toBe(one);
  expect(serverStateDir(env, 'http://localhost:4096', '../../etc')).toMatch(/^\/state\/[^/]*$/);
});

test('the folder is ours alone, also where it was open to others', () => {
  const path = join(dir, 'deep/state');
  expect(openStateDirectory(path)).toEqual({ kind: 'available', path });
  expect(statSync(path).mode & 0o777).toBe(0o700);
  chmodSync(path, 0o775);
  expect(isPrivateDirectory(path)).toBe(false);
  ensurePrivateDirectory(path);
  expect(statSync(path).mode & 0o777).toBe(0o700);
  expect(isPrivateDirectory(path)).toBe(true);
  expect(readdirSync(path)).toEqual([]);
});

test('where no folder can be made, that is a result with its reason', () => {
  const file = join(dir, 'file');
  writeFileSync(file, '');
  const opened = openStateDirectory(join(file, 'state'));
  expect(opened).toMatchObject({ kind: 'unavailable', path: join(file, 'state') });
  expect(opened.kind === 'unavailable' && opened.why).toContain('ENOTDIR');
});

test('a link in the folder’s place is none', () => {
  mkdirSync(join(dir, 'elsewhere'));
  const path = join(dir, 'state');
  symlinkSync(join(dir, 'elsewhere'), path);
  expect(openStateDirectory(path)).toMatchObject({ kind: 'unavailable' });
  expect(isPrivateDirectory(path)).toBe(false);
});

test('a parent that a person made a link is followed', () => {
  mkdirSync(join(dir, 'disk'));
  symlinkSync(join(dir, 'disk'), join(dir, 'home'));
  expect(openStateDirectory(join(dir, 'home/state'))).toMatchObject({ kind: 'available' });
});

test('what was written is read again, by us alone', () => {
  const path = join(dir, 'token');
  expect(readPrivateFile(path, 100)).toEqual({ kind: 'absent' });
  writePrivateFile(path, 'one');
  writePrivateFile(path, 'two');
  expect(readPrivateFile(path, 100)).toEqual({ kind: 'text', text: 'two' });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir)).toEqual(['token']);
});

test('a link is neither read, nor opened, nor written through', () => {
  const target = join(dir, 'target');
  const path = join(dir, 'record');
  writeFileSync(target, 'precious');
  symlinkSync(target, path);
  expect(readPrivateFile(path, 100)).toEqual({ kind: 'refused', problem: `${path} is a link` });
  expect(() => openPrivateFile(path, constants.O_WRONLY | constants.O_APPEND)).toThrow('ELOOP');
  writePrivateFile(path, 'new');
  expect(readFileSync(target, 'utf8')).toBe('precious');
  expect(readPrivateFile(path, 100)).toEqual({ kind: 'text', text: 'new' });
});

test('a pipe, a folder and a file that is too large are refused at once', () => {
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  expect(readPrivateFile(pipe, 100)).toMatchObject({ kind: 'refused' });
  expect(readPrivateFile(dir, 100)).toMatchObject({ kind: 'refused' });
  const large = join(dir, 'large');
  writeFileSync(large, 'x'.repeat(2_049));
  expect(readPrivateFile(large, 2_048)).toMatchObject({
    kind: 'refused',
    problem: expect.stringContaining('at most 2 KiB'),
  });
});

test.skipIf(!isRoot)(`another user’s file or folder is none of ours${needsRoot}`, () => {
  const file = join(dir, 'token');
  writeFileSync(file, 'forged');
  const folder = join(dir, 'state');
  mkdirSync(folder, { mode: 0o700 });
  giveAway(file, folder);
  expect(readPrivateFile(file, 100)).toMatchObject({
    kind: 'refused',
    problem: expect.stringContaining('belongs to uid 65534'),
  });
  expect(isPrivateDirectory(folder)).toBe(false);
  expect(openStateDirectory(folder)).toMatchObject({
    kind: 'unavailable',
    why: expect.stringContaining('belongs to uid 65534'),
  });
});
