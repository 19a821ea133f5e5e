/** `service install | uninstall | status | logs` on a real systemd: for the machine, and for one user. */
import { OPENCODE_ENV, OPENCODE_JSON, Opencode } from './opencode.mjs';
import { assert, check } from './report.mjs';
import { leftOf, UNIT } from './setup.mjs';
import { until } from './shell.mjs';

const FILE = `/etc/systemd/system/${UNIT}`;
const ACCOUNT =
  'useradd --system --create-home --home-dir /var/lib/opencode --shell /usr/sbin/nologin opencode';

/** No updates and no downloads for whatever systemd starts. */
async function quiet(machine) {
  const defaults = Object.entries(OPENCODE_ENV).map(([name, value]) => `${name}=${value}`);
  for (const manager of ['system', 'user']) {
    machine.write(
      `etc/systemd/${manager}.conf.d/trial.conf`,
      `[Manager]\nDefaultEnvironment=${defaults.join(' ')}\n`,
    );
  }
  await machine.do('systemctl daemon-reexec');
}

export async function service(machine) {
  await machine.do(
    [
      `systemctl stop ${UNIT} 2>/dev/null`,
      'rm -rf /etc/systemd/system/opencode* /etc/opencode-watchdog /var/lib/opencode-watchdog /etc/polkit-1/rules.d/*',
      'userdel --force --remove opencode 2>/dev/null',
      'rm -rf /var/lib/opencode',
      'true',
    ].join('; '),
  );
  await quiet(machine);
  await system(machine);
  await user(machine);
}

async function system(machine) {
  const command = (words) => machine.try(`cd / && opencode-watchdog service ${words} --system`);

  await check(
    'service install --system names the account that is missing, and how to make it',
    async () => {
      const { code, err } = await command('install');
      assert(code === 1 && err.includes(ACCOUNT), `${code}: ${err}`);
      assert((await machine.try(`test -e ${FILE}`)).code !== 0, 'a unit was written');
      await machine.do(ACCOUNT);
    },
  );

  let said = '';
  await check(
    'service install --system writes unit, configuration and password, and it runs',
    async () => {
      machine.write('var/lib/opencode/.config/opencode/opencode.json', OPENCODE_JSON);
      await machine.do('chown -R opencode: /var/lib/opencode');
      const { code, out, err } = await command('install');
      said = out + err;
      assert(code === 0, said);
      for (const made of [
        '/etc/opencode-watchdog/password',
        '/etc/opencode-watchdog/config.yaml',
        FILE,
      ]) {
        assert(said.includes(made), `does not say that it made ${made}: ${said}`);
      }
      assert(said.includes('opencode-watchdog service uninstall --system'), `no undo: ${said}`);
      const mode = await machine.do('stat -c "%a %U" /etc/opencode-watchdog/password');
      assert(mode === '600 root', mode);
      assert((await machine.property(UNIT, 'ActiveState')) === 'active', 'not active');
      assert((await machine.do(`systemctl is-enabled ${UNIT}`)) === 'enabled', 'not enabled');
      const password = await machine.do('cat /etc/opencode-watchdog/password');
      assert(password.length >= 40, 'a short password');
      assert(!said.includes(password), 'it says the password');
      const opencode = new Opencode(machine.asker('http://127.0.0.1:4096', password));
      assert(await opencode.healthy(), 'opencode is not healthy');
      const without = await machine.asker('http://127.0.0.1:4096')('GET', '/global/health');
      assert(without.status === 401, `without the password: ${without.status}`);
    },
  );

  await check(
    'what it tells to do next works: status, logs, the daemon’s own status, and its report for root',
    async () => {
      const status = await command('status');
      assert(status.code === 0 && /active \(running\)/.test(status.out), status.out + status.err);
      const logs = await command('logs');
      assert(logs.code === 0 && /"event":"server.healthy"/.test(logs.out), logs.out + logs.err);
      const own = await machine.try('cd / && opencode-watchdog status');
      assert(own.code === 0 && /healthy/.test(own.out), `${own.code}: ${own.out}${own.err}`);
      const report = await machine.try('cd / && opencode-watchdog report');
      assert(report.code === 0 && /Restarts: 0/.test(report.out), report.out + report.err);
    },
  );

  await check(
    'service install again changes nothing that runs, and keeps password and configuration',
    async () => {
      const before = await machine.do(
        `sha256sum /etc/opencode-watchdog/*; systemctl show -P MainPID ${UNIT}; pgrep -u opencode -f 'opencode serve' -o`,
      );
      const { code, out, err } = await command('install');
      assert(code === 0, out + err);
      const after = await machine.do(
        `sha256sum /etc/opencode-watchdog/*; systemctl show -P MainPID ${UNIT}; pgrep -u opencode -f 'opencode serve' -o`,
      );
      assert(before === after, `${before}\n${after}`);
    },
  );

  await check('service uninstall --system undoes it, and says what it leaves', async () => {
    const { code, out, err } = await command('uninstall');
    assert(code === 0, out + err);
    assert(/left as they are: .*password/.test(out), out);
    assert((await machine.try(`test -e ${FILE}`)).code !== 0, 'the unit is there');
    assert((await machine.try(`systemctl is-enabled ${UNIT}`)).code !== 0, 'still enabled');
    assert((await leftOf(machine)) === '', `left: ${await leftOf(machine)}`);
    const again = await command('uninstall');
    assert(again.code === 1 && /nothing is installed/.test(again.err), again.err);
  });

  await check('it replaces and removes no unit that somebody else wrote', async () => {
    const foreign = '[Service]\nExecStart=/bin/true\n';
    machine.write(FILE.slice(1), foreign);
    for (const words of ['install', 'uninstall']) {
      const { code, err } = await command(words);
      assert(code === 1 && /not written by this command/.test(err), `${words}: ${code} ${err}`);
    }
    assert((await machine.do(`cat ${FILE}`)) === foreign.trim(), 'it was changed');
    await machine.do(`rm ${FILE} && systemctl daemon-reload`);
  });
}

async function user(machine) {
  const home = '/home/carol';
  const as = (command) =>
    machine.try(
      `runuser -u carol -- env XDG_RUNTIME_DIR=/run/user/$(id -u carol) HOME=${home} sh -c 'cd && ${command}'`,
    );
  await check(
    'service install for one user, without root: it runs, and uninstall leaves nothing',
    async () => {
      await machine.do(
        'id carol >/dev/null 2>&1 || useradd --create-home carol; loginctl enable-linger carol',
      );
      await until(
        'her service manager',
        async () => (await as('systemctl --user show -P Version')).code === 0,
        20_000,
      );
      machine.write(`${home}/.config/opencode/opencode.json`, OPENCODE_JSON);
      await machine.do(`chown -R carol: ${home}`);
      const root = await as('opencode-watchdog service install --system');
      assert(root.code === 2 && /only root/.test(root.err), root.err);
      const { code, out, err } = await as('opencode-watchdog service install');
      assert(code === 0, out + err);
      assert(/enable-linger/.test(out), out);
      const password = await machine.do(`cat ${home}/.config/opencode-watchdog/password`);
      assert(
        (await machine.do(`stat -c %a ${home}/.config/opencode-watchdog/password`)) === '600',
        'mode',
      );
      const opencode = new Opencode(machine.asker('http://127.0.0.1:4096', password));
      assert(await opencode.healthy(), 'opencode is not healthy');
      const own = await as('opencode-watchdog status');
      assert(own.code === 0 && /healthy/.test(own.out), `${own.code}: ${own.out}${own.err}`);
      // The password is the service's: the command finds it by the configuration.
      const asked = await as('opencode-watchdog sessions');
      assert(asked.code === 0, `sessions: ${asked.code}: ${asked.out}${asked.err}`);
      assert((await as('opencode-watchdog service status')).code === 0, 'service status');
      const logs = await as('opencode-watchdog service logs');
      assert(/server.healthy/.test(logs.out), logs.out + logs.err);
      const gone = await as('opencode-watchdog service uninstall');
      assert(gone.code === 0, gone.out + gone.err);
      const left = (await leftOf(machine, 'carol'))
        .split('\n')
        .filter((line) => line !== '' && !/systemd|sd-pam|dbus/.test(line));
      assert(left.length === 0, left.join('; '));
    },
  );
  // Also after a failure: nothing of hers may hold the port of what comes next.
  await machine.try('loginctl disable-linger carol; systemctl stop user@$(id -u carol)');
}
