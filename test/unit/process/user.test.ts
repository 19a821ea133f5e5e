import { afterEach, expect, test, vi } from 'vitest';
import { guardFor, serverUser } from '../../../src/commands/server.js';
import type { LoadedConfig } from '../../../src/config/load.js';
import { defaultConfig } from '../../../src/config/schema.js';
import { SystemClock } from '../../../src/lib/clock.js';
import { PasswordGuard } from '../../../src/process/identity/password-guard.js';
import { environmentOf, parsePasswd } from '../../../src/process/identity/user.js';

afterEach(() => vi.restoreAllMocks());

const PASSWD = 'root:x:0:0:root:/root:/bin/bash\nbroken\ndev:x:1000:1001:Dev:/home/dev:\n';
const DEV = { name: 'dev', uid: 1000, gid: 1001, home: '/home/dev', shell: '/bin/sh' };

test('a user is found by name and by uid', () => {
  expect(parsePasswd(PASSWD, 'dev')).toEqual(DEV);
  expect(parsePasswd(PASSWD, '1000')).toEqual(DEV);
  expect(parsePasswd(PASSWD, 'broken')).toBeUndefined();
  expect(parsePasswd('', 'dev')).toBeUndefined();
});

test('nothing in the user’s environment leads into root’s home or session', () => {
  const env = {
    HOME: '/root',
    PATH: '/bin',
    XDG_DATA_HOME: '/root/data',
    XDG_CONFIG_HOME: '/etc/xdg-dev',
    XDG_RUNTIME_DIR: '/run/user/0',
    SUDO_USER: 'me',
  };
  expect(environmentOf(DEV, env)).toEqual({
    PATH: '/bin',
    XDG_CONFIG_HOME: '/etc/xdg-dev',
    HOME: '/home/dev',
    USER: 'dev',
    LOGNAME: 'dev',
    SHELL: '/bin/sh',
  });
});

const configured = (user: string | null) =>
  ({ config: { server: { user } } }) as unknown as LoadedConfig;

test('server.user of a daemon that is not root is bad configuration (exit 2)', () => {
  vi.spyOn(process as { geteuid(): number }, 'geteuid').mockReturnValue(1000);
  expect(serverUser(configured(null))).toBeUndefined();
  expect(() => serverUser(configured('dev'))).toThrow(
    expect.objectContaining({ code: 2, message: expect.stringContaining('runs as uid 1000') }),
  );
});

test('a command of another user than root may read with a configuration that names server.user', () => {
  vi.spyOn(process as { geteuid(): number }, 'geteuid').mockReturnValue(1000);
  const config = defaultConfig();
  config.server.user = 'dev';
  expect(guardFor({ config } as LoadedConfig, new SystemClock())).toBeInstanceOf(PasswordGuard);
});

test('server.user that the system does not know is bad configuration (exit 2)', () => {
  vi.spyOn(process as { geteuid(): number }, 'geteuid').mockReturnValue(0);
  expect(() => serverUser(configured('no-such-user-here'))).toThrow(
    expect.objectContaining({ code: 2, message: expect.stringContaining('"no-such-user-here"') }),
  );
});
