import { expect, test } from 'vitest';
import { commandEnvironment, serverEnvironment } from '../../../src/lib/child-env.js';

const env = {
  PATH: '/bin',
  OPENCODE_SERVER_PASSWORD: 'hunter2',
  OPENCODE_PASSWORD: 'hunter2',
  OPENCODE_WATCHDOG_NOTIFY_WEBHOOKS: '[{"url":"https://hooks.example/secret"}]',
  CREDENTIALS_DIRECTORY: '/run/credentials/x',
  NOTIFY_SOCKET: '/run/systemd/notify',
  XPC_SERVICE_NAME: 'opencode-watchdog',
};

test('a command of the user’s inherits no password, no webhook URL and no credentials', () => {
  expect(commandEnvironment(env)).toEqual({ PATH: '/bin' });
});

test('a server inherits nothing that is the daemon’s alone', () => {
  expect(Object.keys(serverEnvironment(env))).toEqual([
    'PATH',
    'OPENCODE_SERVER_PASSWORD',
    'OPENCODE_PASSWORD',
  ]);
});
