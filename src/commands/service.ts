/** `service install | uninstall | status | logs`: the daemon as a service of this machine's own service manager. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { findProgram } from '../process/identity/binary.js';
import { type ConfigChoice, chooseConfigFile, configHint, namedBefore } from './service-config.js';
import {
  hiddenFromSystem,
  launchdAgent,
  MARK,
  SERVICE_NAME as NAME,
  passwordLine,
  type ServiceProgram,
  SYSTEM_USER,
  systemdUnit,
} from './service-files.js';
import { complain, EXIT, ExitError, print } from './shared.js';

const ACTS = ['install', 'uninstall', 'status', 'logs'] as const;
const PASSWORD_BYTES = 32;
/** The folders that PATH has after those of opencode and node. */
const USUAL_PATH = ['/usr/local/bin', '/usr/bin', '/bin'];
/** Where npm and opencode's installer put commands for one user, in the home (systemd/user/opencode-watchdog.service). */
const USERS_PATH = ['.local/bin', '.opencode/bin', '.npm-global/bin'];

export interface ServiceOptions extends ConfigChoice {
  system?: boolean;
  follow?: boolean;
}

/** Where a service's files are, and which manager it has. */
interface Place {
  manager: 'systemd' | 'launchd';
  system: boolean;
  unitFile: string;
  configFile: string;
  passwordFile: string;
  logFile: string;
}

export async function service([act]: readonly string[], options: ServiceOptions): Promise<number> {
  const chosen = ACTS.find((each) => each === act);
  if (chosen === undefined) {
    throw new ExitError(EXIT.usage, `service ${act}: expected one of ${ACTS.join(', ')}`);
  }
  const place = placeOf(options.system === true);
  switch (chosen) {
    case 'install':
      return install({ ...place, configFile: chooseConfigFile(place, options) });
    case 'uninstall':
      return uninstall(place);
    case 'status':
      return hand(statusCommand(place));
    case 'logs':
      return hand(logsCommand(place, options.follow === true));
  }
}

function placeOf(system: boolean): Place {
  const { platform, env } = process;
  if (platform === 'darwin') {
    if (system) {
      throw new ExitError(EXIT.usage, '--system: expected on Linux only; macOS gets an agent');
    }
    const library = join(homedir(), 'Library');
    const folder = join(homedir(), '.config', NAME);
    return {
      manager: 'launchd',
      system,
      unitFile: join(library, 'LaunchAgents', `${NAME}.plist`),
      configFile: join(folder, 'config.yaml'),
      passwordFile: join(folder, 'password'),
      logFile: join(library, 'Logs', `${NAME}.log`),
    };
  }
  if (platform !== 'linux') {
    throw new ExitError(
      EXIT.failed,
      `service: ${platform} has neither systemd nor launchd; on Windows, run it in WSL`,
    );
  }
  if (system && process.getuid?.() !== 0) {
    throw new ExitError(EXIT.usage, '--system: only root may do that (sudo), or leave it out');
  }
  const config = system ? '/etc' : env.XDG_CONFIG_HOME || join(homedir(), '.config');
  return {
    manager: 'systemd',
    system,
    unitFile: join(system ? '/etc/systemd/system' : `${config}/systemd/user`, `${NAME}.service`),
    configFile: join(config, NAME, 'config.yaml'),
    passwordFile: join(config, NAME, 'password'),
    logFile: '',
  };
}

function install(place: Place): number {
  refuseForeignFile(place.unitFile);
  if (place.manager === 'systemd') refuseWithoutSystemd(place);
  if (place.system) refuseWithoutAccount();
  const program = programOf(place);
  if (place.system) refuseHidden(program);
  const runsAlready = run(activeCommand(place), 'ignore') === 0;
  const did = [
    ...ensureFile(place.configFile, `${firstLine(place)}\n`, place.system ? 'all' : 'owner'),
    ...ensureFile(
      place.passwordFile,
      `${randomBytes(PASSWORD_BYTES).toString('base64url')}\n`,
      'owner',
    ),
  ];
  const text =
    place.manager === 'systemd'
      ? systemdUnit(shippedUnit(place.system), program)
      : launchdAgent(NAME, program, { home: homedir(), ...place });
  mkdirSync(dirname(place.unitFile), { recursive: true });
  writeFileSync(place.unitFile, text, { mode: 0o644 });
  did.push(`wrote ${place.unitFile}`);
  for (const command of startCommands(place, runsAlready)) {
    must(command);
    did.push(`ran ${command.join(' ')}`);
  }
  const lingers = place.manager === 'systemd' && !place.system;
  print(
    [
      ...did,
      ...(runsAlready
        ? [`it ran already, and goes on as it was started: ${restartHint(place)}`]
        : []),
      ...passwordHint(place),
      '',
      ...stateOf(place),
      'It runs. See it:   opencode-watchdog status',
      `Its log:           ${NAME} service logs${place.system ? ' --system' : ''}`,
      ...configHint(place.configFile),
      `Undo all of this:  ${NAME} service uninstall${place.system ? ' --system' : ''}`,
      ...(lingers ? ['To keep it running while you are logged out: loginctl enable-linger'] : []),
    ].join('\n'),
  );
  return EXIT.done;
}

function uninstall(place: Place): number {
  if (!existsSync(place.unitFile)) {
    throw new ExitError(EXIT.failed, `${place.unitFile} is not there: nothing is installed`);
  }
  refuseForeignFile(place.unitFile);
  const configFile = namedBefore(place);
  const stopped = run(stopCommand(place));
  if (stopped !== 0) complain(`"${stopCommand(place).join(' ')}" ended with ${stopped}`);
  rmSync(place.unitFile);
  if (place.manager === 'systemd') run([...systemctl(place), 'daemon-reload']);
  print(
    `removed ${place.unitFile}\nleft as they are: ${configFile}, ${place.passwordFile}, and the state directory`,
  );
  return stopped === 0 ? EXIT.done : EXIT.failed;
}

/** The unit that this package ships. */
function shippedUnit(system: boolean): string {
  const file = system ? `systemd/${NAME}.service` : `systemd/user/${NAME}.service`;
  return readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
}

function programOf(place: Place): ServiceProgram {
  // The folder where a shell finds opencode, not that of a link's target: an upgrade changes the target.
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => folder.startsWith('/'));
  const ofOpencode = folders.filter((folder) => existsSync(join(folder, 'opencode'))).slice(0, 1);
  const isMissing = findProgram('opencode', process.env, process.cwd()) === undefined;
  const ofInstallers = isMissing && !place.system ? USERS_PATH : [];
  const path = [
    ...new Set([
      ...ofOpencode,
      ...ofInstallers.map((folder) => join(homedir(), folder)),
      dirname(process.execPath),
      ...USUAL_PATH,
    ]),
  ];
  if (isMissing) {
    complain(
      `opencode is not in the PATH. The service tries again with growing pauses. Install it in one of ${path.join(', ')}; then "${NAME} restart" starts it at once`,
    );
  }
  const command = [process.execPath, realpathSync(process.argv[1] ?? '')];
  return { command, path, configFile: place.configFile };
}

/** A file of that name that a person wrote must not be replaced or removed. */
function refuseForeignFile(file: string): void {
  if (!existsSync(file) || readFileSync(file, 'utf8').includes(MARK)) return;
  throw new ExitError(
    EXIT.failed,
    `${file} is there and was not written by this command: move it away first`,
  );
}

function refuseWithoutSystemd(place: Place): void {
  const command = [...systemctl(place), 'is-system-running'];
  const { stdout, error } = spawnSync(command[0] ?? '', command.slice(1), { encoding: 'utf8' });
  const state = error === undefined ? stdout.trim() : error.message;
  if (/^(running|degraded|starting|initializing|maintenance)$/.test(state)) return;
  throw new ExitError(
    EXIT.failed,
    `systemd does not run here ("${command.join(' ')}": ${state || 'no answer'}). Start "opencode-watchdog run" by what does: see docs/deploy.md`,
  );
}

function refuseWithoutAccount(): void {
  if (run(['id', '-u', SYSTEM_USER], 'ignore') === 0) return;
  throw new ExitError(
    EXIT.failed,
    `the account "${SYSTEM_USER}", which opencode runs as, is missing. Make it: useradd --system --create-home --home-dir /var/lib/opencode --shell /usr/sbin/nologin ${SYSTEM_USER}`,
  );
}

/** The account that the system unit runs as cannot see into anybody's home. */
function refuseHidden({ command, path }: ServiceProgram): void {
  const [hidden] = hiddenFromSystem(command);
  if (hidden !== undefined) {
    throw new ExitError(
      EXIT.failed,
      `${hidden} is in somebody's home, which the account "${SYSTEM_USER}" cannot read: install node and ${NAME} for all (in /usr/local or /usr), or leave out --system`,
    );
  }
  const [folder] = hiddenFromSystem(path.map((each) => `${each}/`));
  if (folder !== undefined) {
    complain(
      `opencode is in ${folder}, which the account "${SYSTEM_USER}" cannot read: install it for all, for instance with "npm i -g opencode-ai"`,
    );
  }
}

/** How to restart the daemon alone: the server that it started goes on. */
function restartHint(place: Place): string {
  if (place.manager === 'launchd') {
    return `"launchctl kill SIGKILL ${launchdDomain()}/${NAME}" starts the watchdog anew and leaves opencode running; the agent's file counts from the next login`;
  }
  // systemd 252 calls it --kill-whom, and still takes the older name.
  return `"${[...systemctl(place), 'kill', '--kill-who=main', '-s', 'KILL', NAME].join(' ')}" brings in the new unit and leaves opencode running`;
}

/** What a new configuration begins with. */
function firstLine({ system, passwordFile }: Place): string {
  // The password of the system unit is root's. Neither the daemon's account nor a person could read it.
  return system ? 'log: { level: info }' : passwordLine(passwordFile);
}

/**
 * The service gets the password from its manager, a command in a shell does not. If the configuration was there before,
 * it may not say where the password is.
 */
function passwordHint({ system, configFile, passwordFile }: Place): string[] {
  if (system || readFileSync(configFile, 'utf8').includes('passwordFile')) return [];
  return [
    `for commands such as "${NAME} sessions", add to ${configFile}:  ${passwordLine(passwordFile)}`,
  ];
}

/** What the daemon says of itself if its start is over but opencode is not healthy. */
function stateOf(place: Place): string[] {
  if (place.manager === 'launchd') return [];
  const [program = '', ...words] = [...systemctl(place), 'show', '-P', 'StatusText', NAME];
  const state = spawnSync(program, words, { encoding: 'utf8' }).stdout?.trim() ?? '';
  return state === '' || state.startsWith('healthy') ? [] : [`opencode is not healthy: ${state}`];
}

/**
 * Makes a file if it is not there, with its folder. @returns what was done, in words; nothing if the file was there
 *
 * What the account of the system unit reads is opened after it is made, because root's umask may close it.
 */
export function ensureFile(file: string, content: string, readers: 'owner' | 'all'): string[] {
  if (existsSync(file)) return [];
  const folder = dirname(file);
  const made = mkdirSync(folder, { recursive: true });
  writeFileSync(file, content, { mode: 0o600, flag: 'wx' });
  if (readers === 'all') {
    if (made !== undefined) chmodSync(folder, 0o755);
    chmodSync(file, 0o644);
  }
  return [`made ${file}`];
}

const systemctl = ({ system }: Place): string[] =>
  system ? ['systemctl'] : ['systemctl', '--user'];
const launchdDomain = (): string => `gui/${process.getuid?.() ?? 0}`;

function startCommands(place: Place, runsAlready: boolean): string[][] {
  if (place.manager === 'systemd') {
    return [
      [...systemctl(place), 'daemon-reload'],
      [...systemctl(place), 'enable', '--now', NAME],
    ];
  }
  // launchd refuses to load an agent twice. To unload it first would end opencode and its sessions.
  return runsAlready ? [] : [['launchctl', 'bootstrap', launchdDomain(), place.unitFile]];
}

/** Ends with 0 if the service runs (launchd: if the agent is loaded). */
function activeCommand(place: Place): string[] {
  return place.manager === 'systemd'
    ? [...systemctl(place), 'is-active', '--quiet', NAME]
    : ['launchctl', 'print', `${launchdDomain()}/${NAME}`];
}

function stopCommand(place: Place): string[] {
  return place.manager === 'systemd'
    ? [...systemctl(place), 'disable', '--now', NAME]
    : ['launchctl', 'bootout', `${launchdDomain()}/${NAME}`];
}

function statusCommand(place: Place): string[] {
  return place.manager === 'systemd'
    ? [...systemctl(place), 'status', '--no-pager', NAME]
    : ['launchctl', 'print', `${launchdDomain()}/${NAME}`];
}

function logsCommand(place: Place, follow: boolean): string[] {
  if (place.manager === 'launchd')
    return ['tail', ...(follow ? ['-f'] : []), '-n', '200', place.logFile];
  const unit = place.system ? ['-u', NAME] : ['--user-unit', NAME];
  return ['journalctl', ...unit, '-o', 'cat', '-n', '200', ...(follow ? ['-f'] : ['--no-pager'])];
}

function must(command: readonly string[]): void {
  const code = run(command);
  if (code === 0) return;
  throw new ExitError(
    EXIT.failed,
    `"${command.join(' ')}" ended with ${code}. What was written stays; "service uninstall" removes it`,
  );
}

/** Runs a command of the service manager and shows its output as it is. If the command fails, we fail with code 1. */
function hand(command: readonly string[]): number {
  return run(command) === 0 ? EXIT.done : EXIT.failed;
}

function run(command: readonly string[], stdio: 'inherit' | 'ignore' = 'inherit'): number {
  const { status, error } = spawnSync(command[0] ?? '', command.slice(1), { stdio });
  if (error !== undefined) complain(`"${command.join(' ')}": ${error.message}`);
  return status ?? EXIT.failed;
}
