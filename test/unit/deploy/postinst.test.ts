/** What the Debian package does about running watchdogs when it is configured, with a systemctl that only tells. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const POSTINST = fileURLToPath(new URL('../../../scripts/deb/postinst', import.meta.url));
/** Before it, the script makes an account and a password. */
const RELOAD = 'systemctl daemon-reload\n';
const UPGRADE = '0.1.0-1';
/** Of one unit, by UNIT, STATE and PID of the environment. */
const SYSTEMCTL = `#!/bin/sh
case "$1" in
  list-units)
    for word; do
      case "$word" in --state=*) case ",\${word#--state=}," in *,"$STATE",*) echo "$UNIT loaded $STATE x y" ;; esac ;; esac
    done ;;
  show) echo "$PID" ;;
esac
`;

let bin: string;
beforeAll(() => {
  bin = mkdtempSync(join(tmpdir(), 'postinst-'));
  writeFileSync(join(bin, 'systemctl'), SYSTEMCTL, { mode: 0o755 });
});
afterAll(() => rmSync(bin, { recursive: true }));

/** @param previous the version that was configured before, as dpkg gives it also after a remove */
function configure(previous: string, unit: { STATE: string; PID: string }): string {
  const [, script] = readFileSync(POSTINST, 'utf8').split(RELOAD);
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    UNIT: 'opencode-watchdog@shop.service',
    ...unit,
  };
  const args = ['-ec', script ?? 'exit 9', 'postinst', 'configure', previous];
  const { status, stdout, stderr } = spawnSync('/bin/sh', args, { env, encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  return stdout;
}

it.each([
  ['replaces', 'active', UPGRADE, 'SIGKILL'],
  ['replaces', 'activating', UPGRADE, 'SIGKILL'],
  ['replaces', 'reloading', UPGRADE, 'SIGKILL'],
  ['leaves alone', 'deactivating', UPGRADE, 'SIGTERM'],
  ['leaves alone', 'active', '', 'SIGTERM'],
])('%s a watchdog that is %s (configured before: "%s")', async (_, STATE, previous, endedBy) => {
  const watchdog = spawn('sleep', ['1000'], { stdio: 'ignore' });
  await once(watchdog, 'spawn');
  const ended = once(watchdog, 'exit');
  configure(previous, { STATE, PID: `${watchdog.pid}` });
  watchdog.kill('SIGTERM');
  expect(await ended).toEqual([null, endedBy]);
});

it('kills nothing where systemd is about to start the unit again', () => {
  expect(configure(UPGRADE, { STATE: 'activating', PID: '0' })).toBe('');
});

it.each(['', UPGRADE])(
  'says how to start it where none runs (configured before: "%s")',
  (previous) => {
    expect(configure(previous, { STATE: 'inactive', PID: '0' })).toContain(
      'systemctl enable --now opencode-watchdog',
    );
  },
);
