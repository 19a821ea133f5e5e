/** A configuration or password that others may write is theirs: said everywhere, refused as root outside a container. */
import { chmodSync, chownSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.js';
import { ConfigError } from '../../../src/config/problem.js';
import { ConfigHome } from './home.js';

const AS_ROOT = process.geteuid?.() === 0 ? '' : ' (skipped: only root gives a file away)';

describe('modes', () => {
  const home = new ConfigHome();
  afterAll(() => home.remove());
  const load = (file: string, strictModes: boolean) =>
    loadConfig({ env: { HOME: home.dir }, cwd: home.dir, file, strictModes });

  it.each([
    [0o644, []],
    [0o600, []],
    [0o664, []],
    [0o646, ['every user']],
    [0o666, ['every user']],
  ])('%o of a configuration', (mode, who) => {
    const file = home.write('c', 'retry: { maxAttempts: 2 }');
    chmodSync(file, mode);
    const said = who.map((name) => `${file} may be written by ${name}: chmod go-w ${file}`);
    expect(load('c', false).warnings).toEqual(said);
    if (who.length === 0) expect(load('c', true).warnings).toEqual([]);
    else expect(() => load('c', true)).toThrow(`but every user may: chmod go-w ${file}`);
  });

  it('of a password file', () => {
    chmodSync(home.write('c', 'server: { passwordFile: p }'), 0o600);
    const file = home.write('p', 'hunter2');
    chmodSync(file, 0o622);
    expect(load('c', false).warnings).toEqual([
      `${file} may be written by every user: chmod go-w ${file}`,
    ]);
    expect(() => load('c', true)).toThrow('every user may');
  });

  it('of a file that cannot be looked at are no fault of ours: the problem names the key', () => {
    const loop = join(home.dir, 'loop');
    symlinkSync(loop, loop);
    const below = join(home.write('p', 'hunter2'), 'password');
    for (const path of [loop, below]) {
      chmodSync(home.write('c', `server: { passwordFile: ${path} }`), 0o600);
      expect(() => load('c', true)).toThrow(ConfigError);
      expect(() => load('c', true)).toThrow('server.passwordFile');
    }
    expect(() => load('loop', true)).toThrow(ConfigError);
  });

  it.skipIf(AS_ROOT !== '')(`of a group that is not the owner's own${AS_ROOT}`, () => {
    const file = home.write('c', 'retry: { maxAttempts: 2 }');
    chmodSync(file, 0o664);
    chownSync(file, 0, 12345);
    expect(load('c', false).warnings.join()).toContain('the group 12345');
  });
});
