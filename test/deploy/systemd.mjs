/** The units on a real systemd with the real opencode: start, crash, freeze, stop, credential, pair, instances, user. */
import { cpSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bundleProvider, opencodeBinary, PROJECT, pack } from './app.mjs';
import { debian } from './deb.mjs';
import { files } from './files.mjs';
import { Machine } from './machine.mjs';
import * as notify from './notify.mjs';
import { OPENCODE_ENV, OPENCODE_JSON, Opencode, PROVIDER_PORT } from './opencode.mjs';
import { assert, check, measured, part, skip } from './report.mjs';
import { service } from './service.mjs';
import { config, environment, PASSWORD, UNIT, UNITS, URL } from './setup.mjs';
import { must, pause, until } from './shell.mjs';
import { tunnel } from './tunnel.mjs';
import { upgrade } from './upgrade.mjs';

/** The most that the watchdog which only watches may be exposed (systemd-analyze security, times ten). */
const WATCHER_THRESHOLD = 25;

/** `only`: one or more of the groups below (`owner,pair`), for who works on them. */
export async function systemd(lab, only) {
  part('systemd');
  const binary = opencodeBinary();
  const missing =
    (await Machine.missing()) ?? (binary ? undefined : 'no opencode binary in node_modules');
  if (missing) return skip('everything about systemd', missing);
  const machine = new Machine(join(lab, 'root'));
  await machine.make();
  await install(machine, lab, binary);
  await verify(machine);
  try {
    await machine.boot();
    measured('systemd', (await machine.do('systemctl --version')).split('\n')[0]);
    await machine.do('systemctl start fake-provider');
    const opencode = new Opencode(machine.asker(URL, PASSWORD));
    const groups = { owner, files, pair, tunnel, instances, user, docs, service, upgrade, debian };
    for (const [name, group] of Object.entries(groups)) {
      if (only === undefined || only.split(',').includes(name))
        await group(machine, opencode, { lab });
    }
  } finally {
    await machine.halt();
  }
}

async function install(machine, lab, binary) {
  const { root } = machine;
  cpSync(process.execPath, join(root, 'usr/local/bin/node'));
  cpSync(binary, join(root, 'usr/local/bin/opencode'));
  const tarball = await pack(join(lab, 'pack'));
  rmSync(join(root, 'usr/local/lib/node_modules/opencode-watchdog'), {
    recursive: true,
    force: true,
  });
  await check('the packed tarball installs with npm i -g', () =>
    must('npm', [
      'i',
      '-g',
      '--loglevel=error',
      '--no-fund',
      '--no-audit',
      '--prefix',
      join(root, 'usr/local'),
      tarball,
    ]).then(() => undefined),
  );
  await bundleProvider(join(root, 'opt/provider.mjs'));
  // An installed Debian has it, a debootstrapped one has not.
  machine.write('etc/hosts', '127.0.0.1 localhost\n::1 localhost\n');
  // npm itself, because the docs ask it where packages are.
  const npm = dirname(dirname(realpathSync(await must('sh', ['-c', 'command -v npm']))));
  rmSync(join(root, 'usr/local/lib/node_modules/npm'), { recursive: true, force: true });
  cpSync(npm, join(root, 'usr/local/lib/node_modules/npm'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  await machine.chroot('ln -sf ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm');
  for (const stale of [
    'etc/systemd/system',
    'etc/opencode-watchdog',
    'var/lib/opencode',
    'var/lib/opencode-watchdog',
    'etc/polkit-1/rules.d',
    'etc/systemd/system.conf.d',
    'etc/systemd/user.conf.d',
    'var/log/journal',
  ])
    await machine.chroot(`rm -rf /${stale}; [ ! -d /usr/share/factory ] || true`);
  // With their homes: a unit that an earlier run enabled for one of them would start with her service manager.
  await machine.chroot(
    'for user in alice bob carol; do userdel --force --remove $user 2>/dev/null || true; done; rm -rf /home/alice /home/bob /home/carol',
  );
  await machine.chroot(
    'mkdir -p /etc/systemd/system /etc/polkit-1/rules.d && rm -rf /var/lib/systemd/linger',
  );
  machine.write(
    'etc/systemd/system/fake-provider.service',
    `[Service]\nExecStart=/usr/local/bin/node /opt/provider.mjs ${PROVIDER_PORT}\n`,
  );
  // As docs/deploy.md says, "systemd".
  await machine.chroot(
    [
      'id opencode >/dev/null 2>&1 || useradd --system --create-home --home-dir /var/lib/opencode --shell /usr/sbin/nologin opencode',
      `install -D -m 644 ${UNITS}/opencode-watchdog.service -t /etc/systemd/system`,
      'install -d /etc/opencode-watchdog',
      `printf '%s\\n' '${PASSWORD}' >/etc/opencode-watchdog/password && chmod 600 /etc/opencode-watchdog/password`,
    ].join(' && '),
  );
  machine.write('etc/opencode-watchdog/config.yaml', config({}));
  machine.write('var/lib/opencode/.config/opencode/opencode.json', OPENCODE_JSON);
  await machine.chroot('chown -R opencode:opencode /var/lib/opencode');
  machine.write(`etc/systemd/system/${UNIT}.d/trial.conf`, environment());
}

async function verify(machine) {
  const units = [
    ['opencode-watchdog.service', ''],
    ['opencode-watchdog@.service', ''],
    ['pair/opencode-watchdog.service', `--threshold=${WATCHER_THRESHOLD}`],
    ['pair/opencode.service', ''],
    ['user/opencode-watchdog.service', ''],
  ];
  for (const [unit, threshold] of units) {
    const file = `${UNITS}/${unit}`;
    await check(`systemd-analyze verify is clean: ${unit}`, async () => {
      const manager = unit.startsWith('user/')
        ? 'XDG_RUNTIME_DIR=/tmp HOME=/root systemd-analyze --user'
        : 'systemd-analyze';
      const said = await machine.chroot(`${manager} verify --recursive-errors=no ${file} 2>&1`);
      assert(said === '', said);
    });
    await check(`exposure: ${unit}${threshold ? ' is at most 2.5' : ''}`, async () => {
      const said = await machine.chroot(
        `systemd-analyze security --offline=true ${threshold} ${file} 2>&1`,
      );
      return /exposure level for \S+: (.*\w)/.exec(said)?.[1];
    });
  }
}

async function owner(machine, opencode) {
  const pid = async () => Number(await machine.property(UNIT, 'MainPID'));
  const serverPid = async () =>
    Number(await machine.do('pgrep -u opencode -f "^opencode serve|/opencode serve" -o'));
  const status = () =>
    machine.do(`systemctl status --no-pager ${UNIT} | grep Status: | sed 's/.*Status: //'`);

  await check('start reaches active only when the server is healthy', async () => {
    await machine.do('systemctl daemon-reload');
    const began = Date.now();
    await machine.do(`systemctl start --no-block ${UNIT}`);
    let early = 0;
    const states = new Set();
    for (;;) {
      // The state is read first: a server that is healthy a moment later is no excuse.
      const state = await machine.property(UNIT, 'ActiveState');
      const healthy = await opencode.healthy().catch(() => false);
      states.add(`${state}${healthy ? '+healthy' : ''}`);
      if (state === 'active' && !healthy) early += 1;
      if (state === 'active' || state === 'failed' || Date.now() - began > 90_000) break;
    }
    assert(early === 0 && [...states].includes('activating'), `seen: ${[...states].join(', ')}`);
    assert([...states].at(-1) === 'active+healthy', `seen: ${[...states].join(', ')}`);
    measured('systemctl start to active', `${((Date.now() - began) / 1000).toFixed(1)} s`);
  });

  await check('systemctl status shows the line', async () => {
    const stream = await opencode.prompt('[[stream 3000 100]]');
    await opencode.prompt('[[503]] please');
    await until(
      'busy and retrying',
      async () => /healthy, 1 busy, 1 retrying/.test(await status()),
      30_000,
    );
    const line = await until(
      'the abort',
      async () => {
        const text = await status();
        return /1 busy, 1 abort today/.test(text) && text;
      },
      60_000,
    );
    await opencode.json('POST', `/session/${stream}/abort`);
    return line;
  });

  await check("the watchdog's state lies apart from opencode's home", async () => {
    const own = await machine.do('find /var/lib/opencode-watchdog -type f');
    assert(/\/server\.json$/m.test(own), `/var/lib/opencode-watchdog: ${own}`);
    const home = await machine.do('ls -A /var/lib/opencode');
    assert(!/server|lock/.test(home), `/var/lib/opencode: ${home}`);
  });

  await check('the credential works, and shows nowhere', async () => {
    const without = await machine.asker(URL)('GET', '/global/health');
    assert(without.status === 401, `without the password: ${without.status}`);
    for (const place of [
      `systemctl show ${UNIT}`,
      `systemctl cat ${UNIT}`,
      'ps axww -o args',
      `journalctl --no-pager -o json -u ${UNIT}`,
      'curl -s http://127.0.0.1:4097/status',
    ])
      assert(!(await machine.try(place)).out.includes(PASSWORD), `${place} shows it`);
    const asUser = await machine.try(
      'setpriv --reuid=nobody --clear-groups cat /etc/opencode-watchdog/password',
    );
    assert(asUser.code !== 0, 'everyone may read the file');
  });

  await notify.single(machine, opencode);

  await check(
    'SIGKILL of the watchdog leaves the server and a streaming session alive; the next one adopts it',
    async () => {
      const [watchdog, server] = [await pid(), await serverPid()];
      const session = await opencode.prompt('[[stream 3000 50]]');
      await opencode.reaches(session, 'busy');
      const began = Date.now();
      await machine.do(`kill -KILL ${watchdog}`);
      await until('another watchdog', async () => {
        const now = await pid();
        return (
          now !== 0 &&
          now !== watchdog &&
          (await machine.property(UNIT, 'ActiveState')) === 'active'
        );
      });
      const took = Date.now() - began;
      assert((await serverPid()) === server, 'the server is another process');
      assert(await opencode.streams(session), 'the session does not stream any more');
      await until('it knows the session', async () => /1 busy/.test(await status()), 30_000);
      assert((await machine.property(UNIT, 'NRestarts')) === '1', 'not restarted once');
      measured('from the kill to the next watchdog, active', `${(took / 1000).toFixed(1)} s`);
      return machine.do(
        `journalctl --no-pager -o cat -u ${UNIT} | jq -rR 'fromjson? | select(.event == "server.notice" and (.notice | test("server.control"))) | .notice' | tail -1`,
      );
    },
  );

  await check('SIGSTOP of the watchdog is ended by systemd, and the server lives on', async () => {
    machine.write(
      `etc/systemd/system/${UNIT}.d/quick.conf`,
      '[Service]\nWatchdogSec=6s\nTimeoutStopSec=4s\n',
    );
    await machine.do('systemctl daemon-reload');
    // The limit counts from a start: this is also how the watchdog alone is replaced, after an update.
    await machine.do(`systemctl kill --kill-who=main -s KILL ${UNIT}`);
    const server = await serverPid();
    const first = await until('the quick one', async () => {
      const active = (await machine.property(UNIT, 'ActiveState')) === 'active';
      return active && (await machine.property(UNIT, 'WatchdogUSec')) === '6s' && (await pid());
    });
    await pause(8_000);
    assert((await pid()) === first, 'a daemon that turns was ended');
    await machine.do(`kill -STOP ${first}`);
    const began = Date.now();
    await until('another watchdog', async () => ![0, first].includes(await pid()), 30_000);
    const took = `${((Date.now() - began) / 1000).toFixed(1)} s after SIGSTOP, WatchdogSec=6s`;
    assert((await serverPid()) === server, 'the server is another process');
    const said = await machine.do(
      `journalctl --no-pager -u ${UNIT} | grep -i 'watchdog timeout' | tail -1`,
    );
    assert(said !== '', 'systemd does not say "Watchdog timeout"');
    await until('active', async () => (await machine.property(UNIT, 'ActiveState')) === 'active');
    return took;
  });

  await check('reload reads the configuration again', async () => {
    machine.write('etc/opencode-watchdog/config.yaml', config({ more: 'log: { level: debug }\n' }));
    await machine.do(`systemctl reload ${UNIT}`);
    await until(
      'config.reloaded',
      async () =>
        (await machine.do(
          `journalctl --no-pager -o cat -u ${UNIT} | grep -c config.reloaded || true`,
        )) !== '0',
      10_000,
    );
    assert(
      (await machine.property(UNIT, 'ActiveState')) === 'active',
      'not active after the reload',
    );
  });

  const left = async () => (await machine.try('pgrep -u opencode -a')).out.trim();
  await check(
    'systemctl stop leaves no process, not even what a tool has put into the background',
    async () => {
      await opencode.prompt('[[bash setsid nohup sleep 7777 >/dev/null 2>&1 & echo started]]');
      await opencode.prompt('[[bash sleep 8888]]');
      await until(
        'the background process',
        async () => /sleep 7777/.test(await left()) && /sleep 8888/.test(await left()),
        30_000,
      );
      const began = Date.now();
      await machine.do(`systemctl stop ${UNIT}`);
      const took = `${((Date.now() - began) / 1000).toFixed(1)} s`;
      assert((await left()) === '', `left: ${await left()}`);
      assert(
        (await machine.property(UNIT, 'Result')) === 'success',
        await machine.property(UNIT, 'Result'),
      );
      return took;
    },
  );

  await check('systemctl stop leaves no process of a frozen watchdog either', async () => {
    await machine.do(`systemctl start ${UNIT}`);
    // Sooner than its WatchdogSec would end it.
    await machine.do(`kill -STOP ${await pid()}; systemctl stop ${UNIT}`);
    assert((await left()) === '', `left: ${await left()}`);
    await machine.try(`systemctl reset-failed ${UNIT}`);
  });

  await check(
    'a server that never gets healthy: the start outlasts TimeoutStartSec, the breaker ends it, a stop leaves nothing',
    async () => {
      machine.write(
        'etc/opencode-watchdog/config.yaml',
        config({
          more: 'restart: { maxRestarts: 1, backoff: { initial: 1s, max: 1s } }\n',
        }).replace(
          'control: spawn',
          'control: spawn, command: [sh, -c, "exec sleep 600"], startTimeout: 5s',
        ),
      );
      machine.write(
        `etc/systemd/system/${UNIT}.d/quick.conf`,
        '[Service]\nTimeoutStartSec=8s\nRestart=no\n',
      );
      await machine.do('systemctl daemon-reload');
      const began = Date.now();
      const { code, err } = await machine.try(`systemctl start ${UNIT}`);
      const tookMs = Date.now() - began;
      assert(code === 0, err);
      assert(tookMs > 8_000, `after ${tookMs} ms`);
      assert(/held by the breaker/.test(await status()), await status());
      await machine.do(`systemctl stop ${UNIT}`);
      assert((await left()) === '', `left: ${await left()}`);
    },
  );

  await check(
    'a server that refuses the password is left alone, and the start does not fail for it',
    async () => {
      // As after a change of the password: the server runs on with the old one, and the watchdog alone is replaced.
      machine.write('etc/opencode-watchdog/config.yaml', config({}));
      machine.write(`etc/systemd/system/${UNIT}.d/quick.conf`, '');
      await machine.do(`systemctl daemon-reload && systemctl start ${UNIT}`);
      const server = await serverPid();
      machine.write('etc/opencode-watchdog/password', 'another\n', 0o600);
      machine.write(`etc/systemd/system/${UNIT}.d/quick.conf`, '[Service]\nTimeoutStartSec=8s\n');
      await machine.do('systemctl daemon-reload');
      const before = await pid();
      await machine.do(`kill -KILL ${before}`);
      await until(
        'another watchdog, active',
        async () =>
          ![0, before].includes(await pid()) &&
          (await machine.property(UNIT, 'ActiveState')) === 'active',
        30_000,
      );
      assert(/refuses the credentials/.test(await status()), await status());
      assert((await serverPid()) === server, 'the server is another process');
      machine.write('etc/opencode-watchdog/password', `${PASSWORD}\n`, 0o600);
      await machine.do(`systemctl stop ${UNIT}`);
      assert((await left()) === '', `left: ${await left()}`);
    },
  );

  await check('a configuration that is wrong is not tried again and again', async () => {
    machine.write('etc/opencode-watchdog/config.yaml', 'retry: { maxAttemps: 2 }\n');
    machine.write(`etc/systemd/system/${UNIT}.d/quick.conf`, '');
    await machine.do('systemctl daemon-reload');
    const { code } = await machine.try(`systemctl start ${UNIT}`);
    assert(code !== 0, 'it succeeded');
    await pause(4_000);
    assert(
      (await machine.property(UNIT, 'ActiveState')) === 'failed',
      await machine.property(UNIT, 'ActiveState'),
    );
    assert(
      (await machine.property(UNIT, 'ExecMainStatus')) === '2',
      await machine.property(UNIT, 'ExecMainStatus'),
    );
    await machine.do(`systemctl reset-failed ${UNIT}`);
  });

  await check("the journal's priority is the line's level, and the line stays JSON", async () => {
    const pairs = await machine.do(
      `journalctl -u ${UNIT} -o json | jq -rc '.PRIORITY as $p | .MESSAGE | fromjson? | select(.event) | [$p, .level] | join(" ")' | sort -u`,
    );
    const known = ['2 fatal', '3 error', '4 warn', '6 info', '7 debug', '7 trace'];
    const odd = pairs.split('\n').filter((each) => !known.includes(each));
    assert(odd.length === 0 && pairs.includes('4 warn'), pairs);
  });

  await check('the queries of the journal work', async () => {
    const queries = [
      `journalctl -u opencode-watchdog -o cat | jq -cR 'fromjson? | select(.event == "session.stuck")'`,
      `journalctl -u opencode-watchdog -o json | jq -r '(.__REALTIME_TIMESTAMP | tonumber / 1e6 | todate) as $at | .MESSAGE | fromjson? | select(.event == "session.aborted") | [$at, .sessionID, .reason] | @tsv'`,
      `journalctl -u opencode-watchdog -o cat --since today | jq -nR '[inputs | fromjson? | .event] | group_by(.) | map({(.[0]): length}) | add'`,
    ];
    for (const query of queries) assert((await machine.do(query)) !== '', `nothing from: ${query}`);
  });
}

async function pair(machine, opencode) {
  await machine.do(
    [
      `rm -rf /etc/systemd/system/${UNIT}.d`,
      `install -m 644 ${UNITS}/pair/opencode.service ${UNITS}/pair/opencode-watchdog.service -t /etc/systemd/system`,
      `install -m 644 ${UNITS}/pair/50-opencode-watchdog.rules -t /etc/polkit-1/rules.d`,
    ].join(' && '),
  );
  machine.write(
    'etc/opencode-watchdog/config.yaml',
    config({ control: '', more: 'pileup: { minSessions: 3, minDuration: 2s }\n' }).replace(
      'maxAttempts: 9, maxDuration: 15s',
      'maxAttempts: 50, maxDuration: 10m',
    ),
  );
  machine.write('etc/systemd/system/opencode.service.d/trial.conf', environment());
  await machine.do('systemctl daemon-reload');
  const server = () => machine.property('opencode.service', 'MainPID');

  await check('the pair: the watchdog starts, sees and measures a server of systemd', async () => {
    await machine.do(`systemctl start ${UNIT}`);
    assert(await opencode.healthy(), 'the server is not healthy');
    const log = await machine.do(
      `journalctl --no-pager -o cat -u ${UNIT} --since "-30s" | grep -v '^Start'`,
    );
    assert(
      !/may neither read|may not signal/.test(log),
      `it may not look into the process:\n${log}`,
    );
  });

  await check(
    'the pair: three stuck sessions lead to systemctl restart, allowed by polkit',
    async () => {
      const before = await server();
      for (let i = 0; i < 3; i += 1) await opencode.prompt('[[503]] pile');
      const began = Date.now();
      const after = await until(
        'another server',
        async () => {
          const now = await server();
          return (
            now !== '0' && now !== before && (await opencode.healthy().catch(() => false)) && now
          );
        },
        90_000,
      ).catch(async (error) => {
        throw new Error(
          `${error.message}\n${await machine.do(`journalctl --no-pager -o cat -u ${UNIT} | tail -15`)}`,
        );
      });
      assert((await machine.property(UNIT, 'NRestarts')) === '0', 'the watchdog was restarted too');
      const restarted = await until(
        'server.restarted',
        () =>
          machine.do(
            `journalctl --no-pager -o cat -u ${UNIT} | grep '"server.restarted"' | tail -1`,
          ),
        30_000,
      );
      return `pid ${before} to ${after}, ${((Date.now() - began) / 1000).toFixed(1)} s after the third prompt; ${JSON.parse(restarted).reason}`;
    },
  );

  await check('the pair: polkit allows that and nothing else', async () => {
    const as = (command) =>
      machine.try(`setpriv --reuid=opencode --regid=opencode --clear-groups ${command}`);
    assert(
      (await as('systemctl --no-ask-password stop opencode.service')).code !== 0,
      'it may stop it',
    );
    assert(
      (await as(`systemctl --no-ask-password restart dbus.service`)).code !== 0,
      'it may restart others',
    );
  });

  await check('the pair: SIGKILL of either leaves the other', async () => {
    const [w, s] = [await machine.property(UNIT, 'MainPID'), await server()];
    await machine.do(`kill -KILL ${w}`);
    await until('another watchdog', async () => {
      const now = await machine.property(UNIT, 'MainPID');
      return now !== '0' && now !== w && (await machine.property(UNIT, 'ActiveState')) === 'active';
    });
    assert((await server()) === s, 'the server was restarted');
    const w2 = await machine.property(UNIT, 'MainPID');
    const began = Date.now();
    await machine.do(`kill -KILL ${s}`);
    await until('another server', async () => {
      const now = await server();
      return now !== '0' && now !== s && (await opencode.healthy().catch(() => false));
    });
    assert((await machine.property(UNIT, 'MainPID')) === w2, 'the watchdog was restarted');
    return `a killed server is back after ${((Date.now() - began) / 1000).toFixed(1)} s`;
  });
  await notify.pair(machine, opencode);
  await machine.do(`systemctl stop ${UNIT} opencode.service`);
  const left = (await machine.try('pgrep -u opencode -a')).out.trim();
  await check('the pair: stop leaves no process', () => assert(left === '', left));
}

async function instances(machine) {
  await machine.do(`install -m 644 ${UNITS}/opencode-watchdog@.service -t /etc/systemd/system`);
  machine.write('etc/systemd/system/opencode-watchdog@.service.d/trial.conf', environment());
  for (const [name, port] of [
    ['shop', 4101],
    ['blog', 4201],
  ]) {
    machine.write(
      `etc/opencode-watchdog/${name}.yaml`,
      config({ url: `http://127.0.0.1:${port}`, listen: `127.0.0.1:${port + 1}` }),
    );
    machine.write(`etc/opencode-watchdog/${name}.password`, `${PASSWORD}-${name}\n`, 0o600);
  }
  await check('instances: each project has its own watchdog, server and password', async () => {
    await machine.do(
      'systemctl daemon-reload && systemctl start opencode-watchdog@shop opencode-watchdog@blog',
    );
    for (const [name, port] of [
      ['shop', 4101],
      ['blog', 4201],
    ]) {
      const one = new Opencode(machine.asker(`http://127.0.0.1:${port}`, `${PASSWORD}-${name}`));
      assert(await one.healthy(), `${name} is not healthy`);
    }
    const wrong = await machine.asker('http://127.0.0.1:4101', `${PASSWORD}-blog`)(
      'GET',
      '/global/health',
    );
    assert(wrong.status === 401, `the other's password: ${wrong.status}`);
    await machine.do('systemctl stop opencode-watchdog@shop');
    const blog = new Opencode(machine.asker('http://127.0.0.1:4201', `${PASSWORD}-blog`));
    assert(await blog.healthy(), 'stopping one stopped the other');
    await machine.do('systemctl stop opencode-watchdog@blog');
    const left = (await machine.try('pgrep -u opencode -a')).out.trim();
    assert(left === '', left);
  });
}

async function user(machine) {
  const home = '/home/alice';
  const as = (command) =>
    machine.do(
      `runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/$(id -u alice) HOME=${home} sh -c '${command}'`,
    );
  await check(
    'the user unit: starts, survives a crash of the watchdog, stops and leaves nothing',
    async () => {
      await machine.do(
        'id alice >/dev/null 2>&1 || useradd --create-home alice; loginctl enable-linger alice',
      );
      await until('her service manager', () => as('systemctl --user show -P Version'), 20_000);
      machine.write(`${home}/.config/opencode/opencode.json`, OPENCODE_JSON);
      machine.write(
        `${home}/.config/opencode-watchdog/config.yaml`,
        config({ url: 'http://127.0.0.1:4301', listen: '127.0.0.1:4302' }),
      );
      machine.write(`${home}/.config/opencode-watchdog/password`, `${PASSWORD}\n`, 0o600);
      machine.write(`${home}/.config/systemd/user/${UNIT}.d/trial.conf`, environment());
      await machine.do(`chown -R alice: ${home}`);
      await as(`install -D -m 644 ${UNITS}/user/${UNIT} -t ~/.config/systemd/user`);
      await as(`systemctl --user daemon-reload && systemctl --user start ${UNIT}`);
      const opencode = new Opencode(machine.asker('http://127.0.0.1:4301', PASSWORD));
      assert(await opencode.healthy(), 'not healthy');
      const show = (name) => as(`systemctl --user show -P ${name} ${UNIT}`);
      assert(/healthy/.test(await show('StatusText')), await show('StatusText'));
      const server = await machine.do('pgrep -u alice -f "opencode serve" -o');
      const first = await show('MainPID');
      await machine.do(`kill -KILL ${first}`);
      await until(
        'another watchdog',
        async () =>
          ![first, '0'].includes(await show('MainPID')) && (await show('ActiveState')) === 'active',
      );
      assert(
        (await machine.do('pgrep -u alice -f "opencode serve" -o')) === server,
        'the server is another process',
      );
      await as(`systemctl --user stop ${UNIT}`);
      const left = (await machine.try('pgrep -u alice -a')).out
        .split('\n')
        .filter((line) => line !== '' && !/systemd|sd-pam|dbus/.test(line));
      assert(left.length === 0, left.join('; '));
      return `status: ${await show('Result')}`;
    },
  );
}

/** Every block of docs/deploy.md that says `sh systemd` or `sh user`, word for word and in order, on a machine without the account. */
async function docs(machine) {
  const page = readFileSync(join(PROJECT, 'docs/deploy.md'), 'utf8');
  const blocks = [...page.matchAll(/^```sh (systemd|user)\n(.*?)^```$/gms)].map(
    ([, who, text]) => ({ who, text }),
  );
  const defaults = Object.entries(OPENCODE_ENV).map(([name, value]) => `${name}=${value}`);
  for (const manager of ['system', 'user']) {
    machine.write(
      `etc/systemd/${manager}.conf.d/trial.conf`,
      `[Manager]\nDefaultEnvironment=${defaults.join(' ')}\n`,
    );
  }
  await machine.do(
    [
      `rm -rf /etc/systemd/system/opencode* /etc/opencode-watchdog /var/lib/opencode-watchdog /etc/polkit-1/rules.d/*`,
      'userdel --force --remove opencode 2>/dev/null || true',
      'rm -rf /var/lib/opencode /home/alice/.config /home/alice/.local; systemctl daemon-reexec',
      'id alice >/dev/null 2>&1 || useradd --create-home alice; loginctl enable-linger alice',
      'systemctl restart user@$(id -u alice).service',
    ].join('; '),
  );
  for (const [index, { who, text }] of blocks.entries()) {
    const first = text.split('\n')[0].slice(0, 70);
    await check(
      `docs/deploy.md, block ${index + 1} of ${blocks.length} (${who}): ${first}`,
      async () => {
        machine.write('opt/block.sh', `set -eu\n${text}`);
        const as =
          who === 'user'
            ? 'runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/$(id -u alice) HOME=/home/alice '
            : '';
        await machine.do(`cd / && ${as}sh /opt/block.sh`);
      },
    );
  }
  await check('the docs leave no process and no unit', async () => {
    const left = (
      await machine.try(
        'pgrep -u opencode -a; pgrep -u alice -a opencode; ls /etc/systemd/system | grep opencode',
      )
    ).out.trim();
    assert(left === '', left);
  });
}
