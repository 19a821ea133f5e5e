/** Files beside the unit: keys of model providers, and a log that logrotate turns. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from './app.mjs';
import { assert, check } from './report.mjs';
import { config, leftOf, PASSWORD, serverOf, UNIT } from './setup.mjs';
import { until } from './shell.mjs';

const KEY = 'sk-trial-0815-key';
const LOG = '/var/log/opencode-watchdog.log';
const DROP_IN = `etc/systemd/system/${UNIT}.d/files.conf`;

export async function files(machine, opencode) {
  machine.write('etc/opencode-watchdog/config.yaml', config({}));
  await machine.do(`systemctl reset-failed ${UNIT} 2>/dev/null || true`);

  await check(
    'keys of a provider come from a file that only root reads, and show nowhere',
    async () => {
      machine.write('etc/opencode-watchdog/environment', `TRIAL_API_KEY=${KEY}\n`, 0o600);
      machine.write(DROP_IN, `[Service]\nStandardOutput=append:${LOG}\n`);
      await machine.do(`rm -f ${LOG}* && systemctl daemon-reload && systemctl start ${UNIT}`);
      assert(await opencode.healthy(), 'not healthy');
      const inherited = await machine.do(
        `tr '\\0' '\\n' </proc/${await serverOf(machine)}/environ`,
      );
      assert(inherited.includes(`TRIAL_API_KEY=${KEY}`), 'opencode has not got it');
      for (const place of [`systemctl show ${UNIT}`, 'ps axww -o args', `cat ${LOG}`]) {
        const { out } = await machine.try(place);
        assert(!out.includes(KEY) && !out.includes(PASSWORD), `${place} shows it`);
      }
    },
  );

  await check('logrotate with copytruncate turns the log of a running watchdog', async () => {
    machine.write(
      'etc/logrotate.d/opencode-watchdog',
      readFileSync(join(PROJECT, 'deploy/logrotate/opencode-watchdog'), 'utf8'),
    );
    const pid = await machine.property(UNIT, 'MainPID');
    const before = Number(await machine.do(`stat -c %s ${LOG}`));
    await machine.do('logrotate --force /etc/logrotate.d/opencode-watchdog');
    await machine.do(`systemctl reload ${UNIT}`);
    const text = await until(
      'a line after the turn',
      async () => {
        const content = await machine.do(`cat ${LOG}`);
        return content.includes('config.reloaded') && content;
      },
      15_000,
    );
    // A hole of zeros would be before the first line.
    for (const line of text.split('\n')) JSON.parse(line);
    assert((await machine.property(UNIT, 'MainPID')) === pid, 'the watchdog was restarted');
    const kept = Number(await machine.do(`stat -c %s ${LOG}.1`));
    assert(kept >= before, `${kept} of ${before} bytes are kept`);
    await machine.do('logrotate --force /etc/logrotate.d/opencode-watchdog');
    await machine.do(`test -e ${LOG}.2.gz`);
    return `${kept} bytes turned`;
  });

  await machine.do(
    `systemctl stop ${UNIT}; rm -f /${DROP_IN} ${LOG}* /etc/opencode-watchdog/environment; systemctl daemon-reload`,
  );
  await check('they leave nothing', async () => {
    assert((await leftOf(machine)) === '', await leftOf(machine));
  });
}
