/** The Debian package: installed, upgraded under a running server, removed and purged on a booted Debian. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from './app.mjs';
import { OPENCODE_JSON, Opencode } from './opencode.mjs';
import { assert, check, skip } from './report.mjs';
import { config, environment, leftOf, nextWatchdog, serverOf, UNIT, URL } from './setup.mjs';
import { must, sh } from './shell.mjs';

/** Node lies in /usr/local/bin of the machine: this says to dpkg that it is there. */
async function nodejsStub(lab, into) {
  const tree = join(lab, 'nodejs-stub');
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  writeFileSync(
    join(tree, 'DEBIAN/control'),
    'Package: nodejs\nVersion: 20.18.1\nArchitecture: all\nMaintainer: trial <root@localhost>\nDescription: stands for the node of the trial\n',
  );
  await must('dpkg-deb', ['--root-owner-group', '--build', tree, join(into, 'nodejs.deb')]);
}

export async function debian(machine, _opencode, { lab }) {
  if ((await sh('sh', ['-c', 'command -v dpkg-deb'])).code !== 0)
    return skip('the Debian package', 'dpkg-deb is not installed (apt install dpkg)');
  const into = join(machine.root, 'opt/deb');
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into, { recursive: true });
  await machine.do(
    [
      `systemctl stop ${UNIT} 2>/dev/null`,
      'rm -rf /etc/systemd/system/opencode* /etc/opencode-watchdog /var/lib/opencode-watchdog /usr/local/bin/opencode-watchdog',
      'userdel --force --remove opencode 2>/dev/null',
      'rm -rf /var/lib/opencode; systemctl daemon-reload',
    ].join('; '),
  );
  const debs = [];
  const built = await check(
    'scripts/make-deb.mjs builds the package, in two revisions',
    async () => {
      for (const revision of ['1', '2']) {
        debs.push(
          await must(process.execPath, [
            join(PROJECT, 'scripts/make-deb.mjs'),
            '--revision',
            revision,
            into,
          ]),
        );
      }
      await nodejsStub(lab, into);
      return must('sh', ['-c', `du -k '${debs[0]}' | cut -f1`]).then((kib) => `${kib} KiB`);
    },
  );
  if (!built) return;
  const inside = (file) => `/opt/deb/${file.split('/').at(-1)}`;
  const dpkg = (words) => machine.do(`DEBIAN_FRONTEND=noninteractive dpkg ${words} 2>&1`);

  await check('it does not install without Node 20.18.1', async () => {
    const { code, out } = await machine.try(`dpkg -i ${inside(debs[0])} 2>&1`);
    assert(code !== 0 && /nodejs \(>= 20\.18\.1\)/.test(out), out);
    await machine.do('dpkg --purge --force-remove-reinstreq opencode-watchdog');
  });

  await check('it installs account, password, unit and command, and starts nothing', async () => {
    await dpkg(`-i ${inside(join(into, 'nodejs.deb'))}`);
    const said = await dpkg(`-i ${inside(debs[0])}`);
    assert(/systemctl enable --now opencode-watchdog/.test(said), said);
    assert(
      (await machine.do('stat -c "%a %U" /etc/opencode-watchdog/password')) === '600 root',
      'password',
    );
    assert((await machine.do('id -un opencode')) === 'opencode', 'account');
    assert((await machine.property(UNIT, 'ActiveState')) === 'inactive', 'it was started');
    assert(
      (await machine.do('command -v opencode-watchdog')) === '/usr/bin/opencode-watchdog',
      'command',
    );
    const help = await machine.do('opencode-watchdog --help');
    const documents = / The documents: (.*)$/m.exec(help)?.[1];
    await machine.do(`test -f ${documents} -a -f /usr/share/doc/opencode-watchdog/docs/index.md`);
    return machine.do('opencode-watchdog --version');
  });

  let opencode;
  let session = '';
  await check('its unit starts the watchdog and opencode, without any package of npm', async () => {
    machine.write('var/lib/opencode/.config/opencode/opencode.json', OPENCODE_JSON);
    machine.write(`etc/systemd/system/${UNIT}.d/trial.conf`, environment());
    // A person's own configuration, which no upgrade may touch.
    machine.write('etc/opencode-watchdog/config.yaml', config({}));
    await machine.do(
      `chown -R opencode: /var/lib/opencode; systemctl daemon-reload; systemctl enable --now ${UNIT}`,
    );
    const password = await machine.do('cat /etc/opencode-watchdog/password');
    opencode = new Opencode(machine.asker(URL, password));
    assert(await opencode.healthy(), 'opencode is not healthy');
    session = await opencode.prompt('[[stream 3000 100]]');
    await opencode.reaches(session, 'busy');
    assert((await machine.try('opencode-watchdog healthcheck')).code === 0, 'healthcheck');
  });

  await check(
    'an upgrade replaces the watchdog alone, and keeps configuration and password',
    async () => {
      const [watchdog, server] = [await machine.property(UNIT, 'MainPID'), await serverOf(machine)];
      const kept = await machine.do('sha256sum /etc/opencode-watchdog/*');
      await dpkg(`-i ${inside(debs[1])} </dev/null`);
      await nextWatchdog(machine, watchdog);
      assert((await serverOf(machine)) === server, 'the server is another process');
      assert(await opencode.streams(session), 'the session does not stream any more');
      assert(
        (await machine.do('sha256sum /etc/opencode-watchdog/*')) === kept,
        'they were changed',
      );
      return machine.do('dpkg -s opencode-watchdog | grep ^Version');
    },
  );

  await check(
    'removing it stops both, and keeps what a person may want; purging leaves the account alone',
    async () => {
      await dpkg('-r opencode-watchdog');
      assert((await leftOf(machine)) === '', `left: ${await leftOf(machine)}`);
      assert((await machine.try(`systemctl is-enabled ${UNIT}`)).code !== 0, 'still enabled');
      await machine.do(
        'test -e /etc/opencode-watchdog/config.yaml -a -e /etc/opencode-watchdog/password',
      );
      const again = await dpkg(`-i ${inside(debs[1])}`);
      assert(/systemctl enable --now opencode-watchdog/.test(again), again);
      await dpkg('-P opencode-watchdog');
      const gone = await machine.try(
        'ls -d /etc/opencode-watchdog /var/lib/opencode-watchdog /usr/lib/opencode-watchdog',
      );
      assert(gone.out === '', gone.out);
      await machine.do('id opencode && test -d /var/lib/opencode');
    },
  );
  await machine.do(
    `dpkg -P nodejs; rm -rf /etc/systemd/system/${UNIT}.d /opt/deb; systemctl daemon-reload`,
  );
}
