/** What the trials on a booted systemd share: names, the unit's quick configuration, and who is asked what. */
import { OPENCODE_ENV } from './opencode.mjs';
import { until } from './shell.mjs';

export const UNIT = 'opencode-watchdog.service';
export const PASSWORD = 'trial-Pa55w0rd-4711';
export const URL = 'http://127.0.0.1:4096';
/** Of the globally installed package, inside the machine. */
export const UNITS = '/usr/local/lib/node_modules/opencode-watchdog/systemd';

/** A drop-in with opencode's environment: no updates, no downloads. */
export const environment = (more = {}) =>
  `[Service]\n${Object.entries({ ...OPENCODE_ENV, ...more })
    .map(([name, value]) => `Environment="${name}=${value}"`)
    .join('\n')}\n`;

/** Quick limits, so that the trial does not wait for what the unit tests have proven. */
export function config({ url = URL, control = 'spawn', listen = '127.0.0.1:4097', more = '' }) {
  return `server: { url: "${url}"${control ? `, control: ${control}` : ''} }\nstatus: { listen: "${listen}" }\nretry: { maxAttempts: 9, maxDuration: 15s }\n${more}`;
}

/** The pid of the opencode server of an account. */
export const serverOf = async (machine, account = 'opencode') =>
  machine.do(`pgrep -u ${account} -f "^opencode serve|/opencode serve" -o`);

export const leftOf = async (machine, account = 'opencode') =>
  (await machine.try(`pgrep -u ${account} -a`)).out.trim();

/** Waits until another watchdog than `before` runs and is active. */
export const nextWatchdog = (machine, before) =>
  until('another watchdog', async () => {
    const now = await machine.property(UNIT, 'MainPID');
    return (
      now !== '0' &&
      now !== String(before) &&
      (await machine.property(UNIT, 'ActiveState')) === 'active' &&
      now
    );
  });
