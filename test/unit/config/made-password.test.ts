/** The password of a server that we start, where nobody gave one. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadConfig, secretsOf } from '../../../src/config/load.js';
import {
  madePasswordFile,
  makePassword,
  readMadePassword,
} from '../../../src/config/made-password.js';
import { configuredLaunchSpec } from '../../../src/process/server/launch-spec.js';

const folder = mkdtempSync(join(tmpdir(), 'watchdog-password-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const URL_2 = 'http://localhost:4096';
const env = { STATE_DIRECTORY: folder, XDG_CONFIG_HOME: folder, HOME: folder };

it('is made once, kept for its owner alone, and found by every command', () => {
  expect(readMadePassword(env, URL_2)).toBeUndefined();
  expect(loadConfig({ env, cwd: folder }).secrets.password).toBeUndefined();
  const made = makePassword(env, URL_2).reveal();
  expect(made).toMatch(/^[\w-]{43}$/);
  expect(makePassword(env, 'http://127.0.0.1:4096').reveal()).toBe(made);
  expect(statSync(madePasswordFile(env, URL_2)).mode & 0o777).toBe(0o600);
  const loaded = loadConfig({ env, cwd: folder });
  expect(loaded.passwordIsMade).toBe(true);
  // Known to the redaction of the log.
  expect(secretsOf(loaded).map((secret) => secret.reveal())).toContain(made);
});

it('gives way to one that somebody gave, by either of opencode’s names', () => {
  const given = (more: NodeJS.ProcessEnv) => {
    const { secrets, passwordIsMade } = loadConfig({ env: { ...env, ...more }, cwd: folder });
    return [secrets.password?.reveal(), passwordIsMade];
  };
  expect(given({ OPENCODE_PASSWORD: 'two' })).toEqual(['two', undefined]);
  expect(given({ OPENCODE_SERVER_PASSWORD: 'one' })).toEqual(['one', undefined]);
  expect(given({ OPENCODE_SERVER_PASSWORD: 'one', OPENCODE_PASSWORD: 'two' })[0]).toBe('two');
});

it('lives in memory where it cannot be kept', () => {
  const file = join(folder, 'a-file');
  writeFileSync(file, '');
  const nowhere = { STATE_DIRECTORY: join(file, 'none') };
  expect(makePassword(nowhere, URL_2).reveal()).toMatch(/^[\w-]{43}$/);
});

it('reaches OpenCode 2 alone: 1.x runs open, as it did', () => {
  const spec = (more: object) =>
    configuredLaunchSpec({
      url: URL_2,
      command: ['opencode', 'serve'],
      directory: '/',
      env: {},
      username: 'me',
      password: 'pw',
      ...more,
    });
  expect(spec({ passwordIsMade: true }).env).toEqual({ OPENCODE_PASSWORD: 'pw' });
  expect(spec({}).env).toEqual({
    OPENCODE_PASSWORD: 'pw',
    OPENCODE_SERVER_PASSWORD: 'pw',
    OPENCODE_SERVER_USERNAME: 'me',
  });
  // Without `--port` OpenCode 2 would silently take the next free one.
  expect(spec({}).argv).toEqual(['opencode', 'serve', '--hostname', '127.0.0.1', '--port', '4096']);
});
