/** What `service install` leaves behind, with a fake service manager that only writes down what it is told. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensureFile, type ServiceOptions, service } from '../../../src/commands/service.js';
import { configFileOf } from '../../../src/commands/service-files.js';
import { loadConfig } from '../../../src/config/load.js';

const real = process.platform;
let home: string;
let said: string;

/** Runs `service install` of a person on that platform. `loaded`: the manager says that the service runs already; `state`: its status line. */
async function install(
  platform: NodeJS.Platform,
  loaded = false,
  state = 'healthy, 1 busy',
  options: ServiceOptions = {},
): Promise<string[]> {
  Object.defineProperty(process, 'platform', { value: platform });
  const log = join(home, 'told');
  rmSync(log, { force: true });
  const answers = [
    `*is-system-running*) echo running ;;`,
    `*is-active*|*print*) exit ${loaded ? 0 : 3} ;;`,
    `*StatusText*) echo '${state}' ;;`,
  ];
  for (const name of ['launchctl', 'systemctl']) {
    const file = join(home, 'bin', name);
    writeFileSync(
      file,
      `#!/bin/sh\necho "${name} $*" >>'${log}'\ncase "$*" in\n${answers.join('\n')}\nesac\n`,
    );
    chmodSync(file, 0o755);
  }
  expect(await service(['install'], options)).toBe(0);
  return existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : [];
}

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'service-'));
  mkdirSync(join(home, 'bin'));
  writeFileSync(join(home, 'bin/opencode'), '#!/bin/sh\n', { mode: 0o755 });
  vi.stubEnv('HOME', home);
  vi.stubEnv('XDG_CONFIG_HOME', '');
  vi.stubEnv('PATH', `${join(home, 'bin')}:/usr/bin:/bin`);
  said = '';
  for (const stream of [process.stdout, process.stderr]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => {
      said += String(chunk);
      return true;
    });
  }
});
afterEach(() => {
  Object.defineProperty(process, 'platform', { value: real });
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(home, { recursive: true });
});

const folder = () => join(home, '.config/opencode-watchdog');

describe.each(['linux', 'darwin'] as const)('service install on %s', (platform) => {
  it('makes a configuration that names the password, so that every command finds it', async () => {
    await install(platform);
    const made = loadConfig({ env: { HOME: home, PATH: process.env.PATH }, cwd: home });
    expect(made.config.server.passwordFile).toBe(join(folder(), 'password'));
    expect(made.secrets.password?.reveal()).toBe(
      readFileSync(join(folder(), 'password'), 'utf8').trim(),
    );
    expect(said).not.toContain('passwordFile');
  });

  it('leaves a configuration as it is, and says the line that it lacks', async () => {
    mkdirSync(folder(), { recursive: true });
    const file = join(folder(), 'config.yaml');
    writeFileSync(file, 'log: { level: debug }\n');
    await install(platform);
    expect(readFileSync(file, 'utf8')).toBe('log: { level: debug }\n');
    expect(said).toContain(`server: { passwordFile: "${join(folder(), 'password')}" }`);
    said = '';
    writeFileSync(file, 'server:\n  passwordFile: /elsewhere\n');
    await install(platform);
    expect(said).not.toContain('server: {');
  });
});

describe.each([
  ['linux', '.config/systemd/user/opencode-watchdog.service'],
  ['darwin', 'Library/LaunchAgents/opencode-watchdog.plist'],
] as const)('the configuration of a service on %s', (platform, unit) => {
  const ofUnit = () => configFileOf(readFileSync(join(home, unit), 'utf8'));
  const withOptions = (options: ServiceOptions) => install(platform, false, '', options);

  it('is the file of --config, also after a second install without it', async () => {
    const file = join(home, 'my "own" 100% & $x.yaml');
    writeFileSync(file, 'log: { level: debug }\n');
    await withOptions({ config: file });
    expect(ofUnit()).toBe(file);
    expect(readFileSync(file, 'utf8')).toBe('log: { level: debug }\n');
    expect(existsSync(join(folder(), 'config.yaml'))).toBe(false);
    expect(said).toContain(`Its configuration: ${file} (the commands need it too: --config)`);
    await withOptions({});
    expect(ofUnit()).toBe(file);
  });

  it('is named by its absolute path', async () => {
    const file = join(home, 'shop.yaml');
    writeFileSync(file, '');
    vi.spyOn(process, 'cwd').mockReturnValue(home);
    await withOptions({ config: 'shop.yaml' });
    expect(ofUnit()).toBe(file);
  });

  it('is not made where --config names a file that is not there', async () => {
    const config = join(home, 'typo.yaml');
    await expect(withOptions({ config })).rejects.toMatchObject({
      code: 2,
      message: `--config ${config}: expected a file that is there`,
    });
    expect(existsSync(join(home, unit))).toBe(false);
  });

  it.each([
    [{ url: 'http://localhost:4101' }, '--url', 'server: { url: "http://localhost:4101" }'],
    [{ profile: 'strict' }, '--profile', 'profile: "strict"'],
  ])('is where %j belongs', async (options, flag, line) => {
    await expect(withOptions(options)).rejects.toMatchObject({
      code: 2,
      message: `${flag}: the service reads nothing but its configuration file. Put this line into ${join(folder(), 'config.yaml')}: ${line}`,
    });
    expect(existsSync(join(home, unit))).toBe(false);
  });

  it('is not the file of the working directory, and install says so', async () => {
    vi.spyOn(process, 'cwd').mockReturnValue(home);
    const file = join(home, 'opencode-watchdog.yaml');
    writeFileSync(file, 'profile: strict\n');
    await withOptions({});
    expect(said).toContain(
      `${file} is not read by the service: copy it to ${join(folder(), 'config.yaml')}, or name it by --config`,
    );
    said = '';
    await withOptions({ config: file });
    expect(said).not.toContain('is not read');
  });
});

describe('service install where opencode does not get healthy', () => {
  it('says what the daemon says of itself', async () => {
    await install('linux');
    expect(said).not.toContain('not healthy');
    await install('linux', false, 'the server is down, restarts are held by the breaker');
    expect(said).toContain(
      'opencode is not healthy: the server is down, restarts are held by the breaker',
    );
  });
});

describe('service install where opencode is not installed yet', () => {
  it('lets the service look where its installers put it, and says how to go on', async () => {
    rmSync(join(home, 'bin/opencode'));
    await install('linux');
    const unit = readFileSync(join(home, '.config/systemd/user/opencode-watchdog.service'), 'utf8');
    const path = /^Environment=PATH=(.*)$/m.exec(unit)?.[1]?.split(':') ?? [];
    expect(path).toEqual(
      expect.arrayContaining([join(home, '.opencode/bin'), join(home, '.local/bin'), '/usr/bin']),
    );
    expect(said).toContain('opencode is not in the PATH');
    expect(said).toContain(path.join(', '));
    expect(said).toContain('"opencode-watchdog restart" starts it at once');
  });
});

describe('a file that service install makes under a strict umask', () => {
  const mode = (file: string) => statSync(file).mode & 0o777;
  let umask: number;
  beforeEach(() => {
    umask = process.umask(0o077);
  });
  afterEach(() => void process.umask(umask));

  it('can be read by the account of the system unit, if it is to', () => {
    const file = join(home, 'etc/opencode-watchdog/config.yaml');
    expect(ensureFile(file, '{}\n', 'all')).toEqual([`made ${file}`]);
    expect([mode(file), mode(join(file, '..'))]).toEqual([0o644, 0o755]);
  });

  it('is for its owner alone, if it is not', () => {
    const file = join(home, 'etc/opencode-watchdog/password');
    ensureFile(file, 'secret\n', 'owner');
    expect([mode(file), mode(join(file, '..'))]).toEqual([0o600, 0o700]);
  });

  it('stays as it is, with its folder, if it was there', () => {
    const file = join(home, 'config.yaml');
    writeFileSync(file, 'log: { level: debug }\n');
    expect(ensureFile(file, '{}\n', 'all')).toEqual([]);
    expect(mode(file)).toBe(0o600);
  });
});

describe('service install a second time', () => {
  it('on macOS does not load the agent again, and leaves what runs alone', async () => {
    const bootstrap = expect.stringContaining('launchctl bootstrap');
    expect(await install('darwin')).toContainEqual(bootstrap);
    const again = await install('darwin', true);
    expect(again).not.toContainEqual(bootstrap);
    expect(again).not.toContainEqual(expect.stringMatching(/bootout|kill/));
    expect(said).toMatch(/it ran already.*launchctl kill SIGKILL gui\/\d+\/opencode-watchdog/);
  });

  it('on Linux names the restart in words that systemd 247 knows, too', async () => {
    await install('linux', true);
    // systemd 252 calls it --kill-whom and still takes the older name.
    expect(said).toContain('systemctl --user kill --kill-who=main -s KILL opencode-watchdog');
  });
});
