/** The status token: made once, kept to its user, and read back by commands. */
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.js';
import { defaultConfig } from '../../../src/config/schema.js';
import {
  makeStatusToken,
  readStatusToken,
  statusTokenFile,
} from '../../../src/config/status-token.js';
import { giveAway, isRoot, OTHER_UID } from '../../support/other-user.js';
import { ConfigHome } from './home.js';

describe('the status token', () => {
  let home = new ConfigHome();
  beforeEach(() => {
    home.remove();
    home = new ConfigHome();
  });
  afterAll(() => home.remove());
  const config = defaultConfig();
  const env = () => ({ HOME: home.dir });
  const file = () => statusTokenFile(config, env(), home.dir);

  it('is made in the state directory with mode 0600, and stays the same', () => {
    const made = makeStatusToken(config, env());
    if (made.kind === 'none') throw new Error(made.why);
    expect(made.file).toBe(file());
    expect(statSync(made.file).mode & 0o777).toBe(0o600);
    expect(made.token.reveal()).toMatch(/^[\w-]{43}$/);
    expect(readFileSync(made.file, 'utf8')).toBe(`${made.token.reveal()}\n`);
    expect(makeStatusToken(config, env())).toEqual(made);
    const read = readStatusToken(config, env(), home.dir);
    expect(read.kind === 'token' && read.token.reveal()).toBe(made.token.reveal());
  });

  it('is another for another server', () => {
    const other = { ...config, server: { ...config.server, url: 'http://localhost:5000' } };
    const [one, two] = [makeStatusToken(config, env()), makeStatusToken(other, env())];
    if (one.kind === 'none' || two.kind === 'none') throw new Error('none');
    expect(one.token.reveal()).not.toBe(two.token.reveal());
  });

  it('that a full disk cut is made anew', () => {
    mkdirSync(dirname(file()), { recursive: true });
    writeFileSync(file(), 'abc');
    const made = makeStatusToken(config, env());
    expect(made.kind === 'made' && made.token.reveal()).toMatch(/^[\w-]{43}$/);
  });

  it('is none where a link is in its place, or the state directory cannot be made', () => {
    mkdirSync(dirname(file()), { recursive: true });
    symlinkSync('/etc/hostname', file());
    expect(makeStatusToken(config, env())).toMatchObject({ kind: 'none' });
    expect(readStatusToken(config, env(), home.dir).kind).toBe('refused');
    const nowhere = { HOME: home.dir, XDG_STATE_HOME: home.write('no-folder', '') };
    expect(makeStatusToken(config, nowhere)).toMatchObject({
      kind: 'none',
      why: expect.stringContaining('the state directory cannot be written'),
    });
    expect(readStatusToken(config, nowhere, home.dir)).toMatchObject({ kind: 'absent' });
  });

  it('of the machine’s own unit is root’s too, but nothing else that lies in its place', () => {
    const state = `${home.dir}/var-lib`;
    const made = makeStatusToken(config, { HOME: home.dir, STATE_DIRECTORY: state });
    if (made.kind === 'none') throw new Error(made.why);
    const read = () => readStatusToken(config, env(), home.dir, state);
    expect(read()).toMatchObject({ kind: 'token', file: made.file });
    rmSync(made.file);
    symlinkSync('/etc/hostname', made.file);
    expect(read().kind).toBe('absent');
    rmSync(made.file);
    writeFileSync(made.file, 'no token\n');
    expect(read().kind).toBe('absent');
    if (isRoot) {
      writeFileSync(made.file, `${'t'.repeat(43)}\n`);
      giveAway(made.file);
      expect(read().kind).toBe('absent');
      giveAway(state);
      expect(read()).toMatchObject({ kind: 'token', owner: OTHER_UID });
    }
    // So is that of opencode-watchdog@shop.
    const shop = `${home.dir}/units`;
    makeStatusToken(config, { HOME: home.dir, STATE_DIRECTORY: `${shop}/shop` });
    expect(readStatusToken(config, env(), home.dir, shop)).toMatchObject({
      kind: 'token',
      file: expect.stringContaining(`${shop}/shop/`),
    });
    // The daemon's own comes first.
    makeStatusToken(config, env());
    expect(read()).toMatchObject({ kind: 'token', file: file() });
  });

  it('is absent where the folder of the machine’s own unit cannot be looked at', () => {
    home.write('file', '');
    symlinkSync('loop', `${home.dir}/loop`);
    for (const folder of ['file/state', 'loop/state', 'x'.repeat(300)]) {
      const read = readStatusToken(config, env(), home.dir, `${home.dir}/${folder}`);
      expect(read).toEqual({ kind: 'absent', file: file() });
    }
  });

  it('of status.tokenFile may be a link, as Kubernetes’ secrets are', () => {
    home.write('real', 'from-kubernetes\n');
    symlinkSync('real', `${home.dir}/link`);
    chmodSync(`${home.dir}/real`, 0o440);
    const named = { ...config, status: { ...config.status, tokenFile: 'link' } };
    const read = readStatusToken(named, env(), home.dir);
    expect(read.kind === 'token' && read.token.reveal()).toBe('from-kubernetes');
  });

  it('of a volume as the kubelet lays it out: root’s, behind two links, and another after a rotation', () => {
    // https://kubernetes.io/docs/concepts/configuration/secret: `..data` is the link that an update turns.
    const lay = (version: string, text: string) => {
      const file = home.write(`${version}/status-token`, text);
      chmodSync(file, 0o440);
      rmSync(`${home.dir}/..data`, { force: true });
      symlinkSync(version, `${home.dir}/..data`);
    };
    lay('..2026_11_29_1', 'first\n');
    symlinkSync('..data/status-token', `${home.dir}/status-token`);
    chmodSync(home.dir, 0o1777);
    const tokenFile = `${home.dir}/status-token`;
    const named = { ...config, status: { ...config.status, tokenFile } };
    const reveal = () => {
      const read = readStatusToken(named, env(), '/');
      return read.kind === 'token' ? read.token.reveal() : read.kind;
    };
    expect(reveal()).toBe('first');
    const loaded = loadConfig({
      env: { OPENCODE_WATCHDOG_STATUS_TOKENFILE: tokenFile, HOME: home.dir },
      cwd: '/',
    });
    expect([loaded.warnings, loaded.secrets.statusToken?.reveal()]).toEqual([[], 'first']);
    lay('..2026_11_29_2', 'second\n');
    expect(reveal()).toBe('second');
  });
});
