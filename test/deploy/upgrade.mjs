/** From the previous release to this one and back, under a running server with a session at work. */
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT, pack } from './app.mjs';
import { OPENCODE_JSON } from './opencode.mjs';
import { assert, check, measured, skip } from './report.mjs';
import {
  config,
  environment,
  leftOf,
  nextWatchdog,
  PASSWORD,
  serverOf,
  UNIT,
  UNITS,
} from './setup.mjs';
import { must, sh, until } from './shell.mjs';

/** Where no tag says which release was the last: the last commit of 0.1. */
const LAST_OF_0_1 = 'bd3c5d8';
const NPM = ['--loglevel=error', '--no-fund', '--no-audit', '--ignore-scripts'];

/** The previous release's tarball: given, or built from its commit with the packages that are here; else why not. */
async function previous(lab) {
  const given = process.env.OPENCODE_WATCHDOG_PREVIOUS;
  if (given) return existsSync(given) ? { tarball: given } : { missing: `${given} is not there` };
  const git = (...args) => sh('git', ['-C', PROJECT, ...args]);
  const tag = (await git('describe', '--tags', '--abbrev=0', 'HEAD^')).out.trim();
  const commit = tag || LAST_OF_0_1;
  if ((await git('cat-file', '-e', `${commit}^{commit}`)).code !== 0) {
    return {
      missing: `the previous release (${commit}) is not in this clone's history; OPENCODE_WATCHDOG_PREVIOUS may name its tarball`,
    };
  }
  const folder = join(lab, 'previous');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await must('sh', ['-c', `git -C '${PROJECT}' archive ${commit} | tar x -C '${folder}'`]);
  symlinkSync(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  await must(process.execPath, ['scripts/bundle.mjs'], { cwd: folder });
  return { tarball: await pack(join(lab, 'pack-previous'), folder) };
}

export async function upgrade(machine, opencode, { lab }) {
  const { tarball, missing } = await previous(lab);
  if (missing) return skip('the upgrade from the previous release, and the way back', missing);
  const install = (file) =>
    must('npm', ['i', '-g', ...NPM, '--prefix', join(machine.root, 'usr/local'), file]);
  const version = async () =>
    JSON.parse(
      await machine.do(
        `journalctl --no-pager -o cat -u ${UNIT} | grep '"daemon.started"' | tail -1`,
      ),
    ).version;

  await machine.do(
    [
      `systemctl stop ${UNIT} 2>/dev/null`,
      'rm -rf /etc/systemd/system/opencode* /etc/opencode-watchdog /var/lib/opencode-watchdog',
      'id opencode >/dev/null 2>&1 || useradd --system --create-home --home-dir /var/lib/opencode --shell /usr/sbin/nologin opencode',
      'install -d /etc/opencode-watchdog',
      `printf '%s\\n' '${PASSWORD}' >/etc/opencode-watchdog/password && chmod 600 /etc/opencode-watchdog/password`,
    ].join('; '),
  );
  machine.write('etc/opencode-watchdog/config.yaml', config({}));
  machine.write('var/lib/opencode/.config/opencode/opencode.json', OPENCODE_JSON);
  machine.write(`etc/systemd/system/${UNIT}.d/trial.conf`, environment());
  await machine.do('chown -R opencode:opencode /var/lib/opencode');

  let server = '';
  let session = '';
  let first = '';
  const replace = async (file) => {
    const before = await machine.property(UNIT, 'MainPID');
    await install(file);
    // As docs/upgrade.md says, "How".
    await machine.do(
      [
        `install -m 644 ${UNITS}/${UNIT} -t /etc/systemd/system`,
        'systemctl daemon-reload',
        `systemctl kill --kill-who=main -s KILL ${UNIT}`,
      ].join(' && '),
    );
    await nextWatchdog(machine, before);
    assert((await serverOf(machine)) === server, 'the server is another process');
    assert(await opencode.streams(session), 'the session does not stream any more');
    await until(
      'it knows the session',
      async () => /1 busy/.test(await machine.property(UNIT, 'StatusText')),
      30_000,
    );
    return version();
  };

  const started = await check('the previous release runs, with a session at work', async () => {
    await install(tarball);
    measured(
      'packages of the previous release',
      await must('sh', [
        '-c',
        `find '${machine.root}/usr/local/lib/node_modules/opencode-watchdog' -path '*node_modules/*/package.json' -printf '%h\\n' | grep -cE 'node_modules/(@[^/]+/)?[^/@]+$'; du -sm '${machine.root}/usr/local/lib/node_modules/opencode-watchdog' | cut -f1`,
      ]),
    );
    await machine.do(
      `install -m 644 ${UNITS}/${UNIT} -t /etc/systemd/system && systemctl daemon-reload && systemctl start ${UNIT}`,
    );
    server = await serverOf(machine);
    session = await opencode.prompt('[[stream 6000 100]]');
    await opencode.reaches(session, 'busy');
    first = await version();
    return first;
  });
  if (started) {
    await check(
      'the upgrade replaces the watchdog alone: the server and its session go on',
      async () => {
        const now = await replace(join(lab, 'pack', `opencode-watchdog-${await own()}.tgz`));
        assert(now === (await own()) && now !== first, `version ${now}, was ${first}`);
        return `${first} to ${now}`;
      },
    );
    await check('the way back does, too', async () => {
      const now = await replace(tarball);
      assert(now === first, now);
    });
    await check('and forward once more: a stop then ends the server', async () => {
      await replace(join(lab, 'pack', `opencode-watchdog-${await own()}.tgz`));
      await machine.do(`systemctl stop ${UNIT}`);
      // A killed process may be seen for a moment still.
      await until('nothing is left', async () => (await leftOf(machine)) === '', 5_000);
    });
  }
  await machine.try(`systemctl stop ${UNIT}`);
}

const own = async () => JSON.parse(await must('cat', [join(PROJECT, 'package.json')])).version;
