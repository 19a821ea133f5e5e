/** Which history `report` reads: this user's, or for root that of a system unit; of files that the unit's account owns. */
import { chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { daemonHistory } from '../../../src/commands/daemon-history.js';
import { defaultConfig } from '../../../src/config/schema.js';
import { serverDirIn } from '../../../src/lib/state-dir.js';
import { giveAway, needsRoot, OTHER_UID } from '../../support/other-user.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'history-'));
});
afterEach(() => rmSync(home, { recursive: true }));

const config = defaultConfig();
const own = () => join(home, '.local/state/opencode-watchdog');
const units = () => join(home, 'var-lib');
const read = (of = config) => daemonHistory(of, { HOME: home }, units());

/** Leaves a history with one event in a state directory, and returns its folder. */
function watched(state: string, hour: string, folder = '', url = config.server.url): string {
  const directory = join(serverDirIn(state, url), folder);
  mkdirSync(directory, { recursive: true });
  const time = `2026-11-28T${hour}:00:00.000Z`;
  const line = { level: 'info', time, event: 'server.healthy', msg: 'It is healthy.' };
  writeFileSync(join(directory, 'history.ndjson'), `${JSON.stringify(line)}\n`);
  return directory;
}

describe('the history that report reads', () => {
  it('is that of the machine’s own unit, where root has run no daemon itself', () => {
    const directory = watched(units(), '22');
    expect(read()).toMatchObject({ directory, lines: [{ event: 'server.healthy' }], problems: [] });
    expect(daemonHistory(config, { HOME: home }, join(home, 'none')).lines).toEqual([]);
  });

  it('is that of the instance that watches this server', () => {
    const url = 'http://127.0.0.1:4101';
    watched(units(), '22');
    const directory = watched(join(units(), 'shop'), '22', '', url);
    const shop = { ...config, server: { ...config.server, url } };
    expect(read(shop)).toMatchObject({ directory, lines: [{ event: 'server.healthy' }] });
  });

  it('is the one that goes on longest, where a server had several watchdogs', () => {
    const mine = watched(own(), '20');
    const old = watched(units(), '21');
    const now = watched(join(units(), 'shop'), '22');
    expect(read().directory).toBe(now);
    rmSync(now, { recursive: true });
    expect(read().directory).toBe(old);
    watched(own(), '23');
    expect(read().directory).toBe(mine);
  });

  it('is the observer’s own, if the server is only observed', () => {
    watched(units(), '22');
    const directory = watched(units(), '21', 'observe');
    const observer = {
      ...config,
      server: { ...config.server, control: 'observe' as const },
    };
    expect(read(observer).directory).toBe(directory);
  });

  it('is none behind a link: the agent may have put it there', () => {
    const directory = watched(join(home, 'elsewhere'), '22');
    mkdirSync(units());
    symlinkSync(directory, serverDirIn(units(), config.server.url));
    symlinkSync(join(home, 'elsewhere'), join(units(), 'shop'));
    expect(read().lines).toEqual([]);
  });

  it(`holds only files of the unit’s account${needsRoot}`, ({ skip }) => {
    if (needsRoot !== '') skip();
    const directory = watched(units(), '22');
    giveAway(units(), directory);
    expect(read()).toMatchObject({ lines: [], problems: [] });
    giveAway(join(directory, 'history.ndjson'));
    expect(read()).toMatchObject({ owner: OTHER_UID, lines: [{ event: 'server.healthy' }] });
    // systemd leaves the folder above an instance's own to root.
    chownSync(units(), 0, 0);
    expect(read().lines).toEqual([]);
  });
});
