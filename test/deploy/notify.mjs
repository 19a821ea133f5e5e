/** What an agent may tell systemd in the watchdog's name: in one unit everything, in the pair nothing. */
import { assert, check } from './report.mjs';
import { UNIT } from './setup.mjs';
import { until } from './shell.mjs';

const QUICK = '[Service]\nWatchdogSec=6s\nTimeoutStopSec=4s\n';
const DROP_IN = `etc/systemd/system/${UNIT}.d/quick.conf`;
/** Run by the agent's bash tool: the socket's place is no secret. */
const say = (words) => `NOTIFY_SOCKET=/run/systemd/notify systemd-notify ${words}`;
/** Says every second that the watchdog is well, and then that it is not needed any more. */
const LULL = `for i in $(seq 25); do ${say('WATCHDOG=1 STATUS=all-is-well')}; sleep 1; done; true`;

/** With the single unit running: its header, docs/deploy.md and SECURITY.md say that this cannot be defended. */
export async function single(machine, opencode) {
  await check(
    "one unit: an agent's message is taken for the watchdog's, as its header says",
    async () => {
      await opencode.prompt(
        `[[bash for i in $(seq 60); do ${say('STATUS=owned')}; sleep 0.3; done]]`,
      );
      await until(
        'the false status',
        async () => (await machine.property(UNIT, 'StatusText')) === 'owned',
        40_000,
        100,
      );
      assert((await machine.property(UNIT, 'NotifyAccess')) === 'all', 'NotifyAccess');
    },
  );
}

/** With the pair running. */
export async function pair(machine, opencode) {
  const unit = (name) => machine.property(UNIT, name);
  const server = (name) => machine.property('opencode.service', name);
  /** The agent's bash tool runs it; its own words prove that it was run. */
  const agent = async (command) => {
    const mark = `agent-${Date.now()}`;
    await opencode.prompt(`[[bash ${command}; echo done >${mark}]]`);
    await until(
      `the agent has run: ${command}`,
      async () => (await machine.try(`test -e /var/lib/opencode/${mark}`)).code === 0,
    );
  };

  await check('the pair: the agent cannot speak to systemd in the watchdog’s name', async () => {
    const before = await unit('MainPID');
    const own = await server('MainPID');
    await agent(say('STATUS=owned STOPPING=1'));
    await agent(say(`MAINPID=${own} STATUS=owned`));
    await agent(say(`--pid=${before} MAINPID=${own} STATUS=owned`));
    await agent(say('WATCHDOG=trigger'));
    await agent(say('WATCHDOG_USEC=0 STATUS=owned'));
    assert((await unit('MainPID')) === before, `MainPID is ${await unit('MainPID')}`);
    assert((await unit('ActiveState')) === 'active', await unit('ActiveState'));
    assert(!/owned/.test(await unit('StatusText')), await unit('StatusText'));
    assert((await unit('WatchdogUSec')) !== 'infinity', 'the limit is gone');
    assert((await server('MainPID')) === own, "opencode's MainPID");
    assert((await server('StatusText')) === '', await server('StatusText'));
    assert((await server('ActiveState')) === 'active', await server('ActiveState'));
  });

  await check(
    'the pair: the agent freezes the watchdog and says in its place that all is well; systemd ends and starts it',
    async () => {
      machine.write(DROP_IN, QUICK);
      await machine.do(`systemctl daemon-reload && systemctl restart ${UNIT}`);
      const before = await unit('MainPID');
      await agent(`(${LULL}) >/dev/null 2>&1 & kill -STOP ${before}`);
      const began = Date.now();
      assert(/^State:\s+T/m.test(await machine.do(`cat /proc/${before}/status`)), 'not frozen');
      await until(
        'another watchdog',
        async () => ![before, '0'].includes(await unit('MainPID')),
        30_000,
      );
      await machine.do(`rm /${DROP_IN} && systemctl daemon-reload`);
      return `${((Date.now() - began) / 1000).toFixed(1)} s after SIGSTOP, WatchdogSec=6s`;
    },
  );

  await check('the pair: the agent’s user cannot stop or change the watchdog’s unit', async () => {
    const as = (command) =>
      machine.try(`setpriv --reuid=opencode --regid=opencode --clear-groups ${command}`);
    for (const command of [
      `systemctl --no-ask-password stop ${UNIT}`,
      `systemctl --no-ask-password restart ${UNIT}`,
      'systemctl --no-ask-password daemon-reload',
      `sh -c 'echo $$ >/sys/fs/cgroup/system.slice/${UNIT}/cgroup.procs'`,
      'cat /etc/opencode-watchdog/password',
    ]) {
      assert((await as(command)).code !== 0, `${command} worked`);
    }
  });
}
