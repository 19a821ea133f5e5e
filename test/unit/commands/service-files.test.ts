/** The unit and the agent that `service install` writes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { launchdAgent, MARK, systemdUnit } from '../../../src/commands/service-files.js';

const PROGRAM = {
  command: ['/opt/node 20/bin/node', '/usr/lib/node_modules/opencode-watchdog/dist/cli.js'],
  path: ['/home/me/.opencode/bin', '/opt/node 20/bin', '/usr/bin'],
  configFile: '/home/me/100%/config.yaml',
};
const shipped = (name: string) =>
  readFileSync(new URL(`../../../systemd/${name}`, import.meta.url), 'utf8');

const NO_ANALYZE =
  spawnSync('systemd-analyze', ['--version']).status === 0
    ? ''
    : ' (skipped: systemd-analyze is not installed)';

describe('the unit', () => {
  it.each(['opencode-watchdog.service', 'user/opencode-watchdog.service'])(
    'made from %s starts this machine’s program, once, and keeps the rest',
    (name) => {
      const unit = systemdUnit(shipped(name), PROGRAM);
      expect(unit.split('\n')[0]).toContain(MARK);
      const starts = unit.split('\n').filter((line) => line.startsWith('ExecStart='));
      expect(starts).toEqual([
        'ExecStart="/opt/node 20/bin/node" /usr/lib/node_modules/opencode-watchdog/dist/cli.js run --config /home/me/100%%/config.yaml',
      ]);
      expect(unit).toContain('Environment="PATH=/home/me/.opencode/bin:/opt/node 20/bin:/usr/bin"');
      expect(unit.match(/^Environment=.*PATH/gm)).toHaveLength(1);
      expect(unit).toContain('WatchdogSec=60s');
    },
  );

  it(`is one that systemd reads${NO_ANALYZE}`, ({ skip }) => {
    if (NO_ANALYZE !== '') skip();
    const folder = mkdtempSync(join(tmpdir(), 'unit-'));
    const file = join(folder, 'opencode-watchdog.service');
    const program = { ...PROGRAM, command: [process.execPath, '/bin/true'] };
    writeFileSync(file, systemdUnit(shipped('user/opencode-watchdog.service'), program));
    const { stderr } = spawnSync('systemd-analyze', ['--user', 'verify', file], {
      encoding: 'utf8',
    });
    rmSync(folder, { recursive: true });
    expect(stderr).not.toMatch(/ExecStart|Unknown|Failed to parse/);
  });
});

describe('the agent', () => {
  it('is well-formed, with every word escaped', () => {
    const program = { ...PROGRAM, configFile: '/Users/me/<a & b>/config.yaml' };
    const plist = launchdAgent('opencode-watchdog', program, {
      home: '/Users/me',
      logFile: '/Users/me/Library/Logs/opencode-watchdog.log',
    });
    expect(plist).toContain(MARK);
    expect(plist).toContain('<string>/Users/me/&lt;a &amp; b&gt;/config.yaml</string>');
    const opened = plist.match(/<(dict|array|string|key|plist)\b/g) ?? [];
    const closed = plist.match(/<\/(dict|array|string|key|plist)>/g) ?? [];
    expect(opened).toHaveLength(closed.length);
    expect(plist).toMatch(
      /<key>ProgramArguments<\/key>\s*<array>\s*<string>\/opt\/node 20\/bin\/node/,
    );
  });
});
