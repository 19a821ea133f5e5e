/** The unit and the agent that `service install` writes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  hiddenFromSystem,
  launchdAgent,
  MARK,
  systemdUnit,
} from '../../../src/commands/service-files.js';

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

it('knows which programs the system unit cannot see', () => {
  expect(
    hiddenFromSystem([
      '/root/.nvm/versions/node/v20.18.1/bin/node',
      '/home/ada/.local/lib/node_modules/opencode-watchdog/dist/cli.js',
      '/usr/local/bin/node',
      '/rooted/bin/node',
    ]),
  ).toEqual([
    '/root/.nvm/versions/node/v20.18.1/bin/node',
    '/home/ada/.local/lib/node_modules/opencode-watchdog/dist/cli.js',
  ]);
});

const NO_PLISTLIB =
  spawnSync('python3', ['-c', 'import plistlib']).status === 0
    ? ''
    : ' (skipped: python3, whose plistlib reads property lists, is not installed)';

describe('the agent', () => {
  it(`is a property list that says what launchd is to do${NO_PLISTLIB}`, ({ skip }) => {
    if (NO_PLISTLIB !== '') skip();
    const plist = launchdAgent('opencode-watchdog', PROGRAM, {
      home: '/Users/me & you',
      logFile: '/Users/me & you/Library/Logs/opencode-watchdog.log',
      passwordFile: '/Users/me & you/.config/opencode-watchdog/password',
    });
    const read =
      'import plistlib, json, sys; print(json.dumps(plistlib.loads(sys.stdin.buffer.read())))';
    const { stdout, stderr } = spawnSync('python3', ['-c', read], {
      input: plist,
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    // launchd.plist(5): started at login, and again after every end that is no success.
    expect(JSON.parse(stdout)).toEqual({
      Label: 'opencode-watchdog',
      ProgramArguments: [
        ...PROGRAM.command,
        'run',
        '--config',
        PROGRAM.configFile,
        '--log-format',
        'json',
      ],
      EnvironmentVariables: {
        PATH: PROGRAM.path.join(':'),
        OPENCODE_WATCHDOG_SERVER_PASSWORDFILE: '/Users/me & you/.config/opencode-watchdog/password',
      },
      WorkingDirectory: '/Users/me & you',
      RunAtLoad: true,
      KeepAlive: { SuccessfulExit: false },
      StandardOutPath: '/Users/me & you/Library/Logs/opencode-watchdog.log',
      StandardErrorPath: '/Users/me & you/Library/Logs/opencode-watchdog.log',
    });
  });

  it('is well-formed, with every word escaped', () => {
    const program = { ...PROGRAM, configFile: '/Users/me/<a & b>/config.yaml' };
    const plist = launchdAgent('opencode-watchdog', program, {
      home: '/Users/me',
      logFile: '/Users/me/Library/Logs/opencode-watchdog.log',
      passwordFile: '/Users/me/.config/opencode-watchdog/password',
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
