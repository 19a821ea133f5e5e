import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { secretsOf } from '../../../src/config/load.js';
import { defaultConfig, policyOf } from '../../../src/config/schema.js';
import { DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { ConfigHome } from './home.js';

let home: ConfigHome;
beforeEach(() => {
  home = new ConfigHome();
});
afterEach(() => home.remove());

describe('the defaults', () => {
  it('are complete without any source, and the state machine’s policy is part of them', () => {
    const { config, file } = home.load();
    expect(config).toEqual(defaultConfig());
    expect(policyOf(config)).toMatchObject(DEFAULT_POLICY);
    expect(file).toBeUndefined();
  });
});

describe('precedence', () => {
  const flag = { key: 'server.url', flag: '--url', value: 'http://flag:1' };
  const specific = { OPENCODE_WATCHDOG_SERVER_URL: 'http://specific:1' };
  const opencode = { OPENCODE_API_URL: 'http://opencode:1/' };
  const file = 'server: { url: "http://file:1" }';

  it.each([
    ['a flag over all', [flag], { ...specific, ...opencode }, file, 'http://flag:1', 'flag --url'],
    [
      'our variable over opencode’s and the file',
      [],
      { ...specific, ...opencode },
      file,
      'http://specific:1',
      'environment OPENCODE_WATCHDOG_SERVER_URL',
    ],
    [
      'opencode’s variable over the file',
      [],
      opencode,
      file,
      'http://opencode:1',
      'environment OPENCODE_API_URL',
    ],
    ['the file over the default', [], {}, file, 'http://file:1', 'file ~/opencode-watchdog.yaml:1'],
    ['the default', [], {}, '', 'http://localhost:4096', 'default'],
    [
      'an empty variable is not set',
      [],
      { OPENCODE_API_URL: '', OPENCODE_WATCHDOG_SERVER_URL: '' },
      file,
      'http://file:1',
      'file ~/opencode-watchdog.yaml:1',
    ],
  ])('%s', (_title, flags, env, yaml, url, origin) => {
    home.write('opencode-watchdog.yaml', yaml);
    const { config, origins } = home.load({ flags, env });
    expect(config.server.url).toBe(url);
    expect(origins.get('server.url')?.replace(home.dir, '~')).toBe(origin);
  });

  it('does not judge opencode’s variable where ours overrides it', () => {
    const env = { OPENCODE_API_URL: 'not for us', ...specific };
    expect(home.load({ env }).config.server.url).toBe('http://specific:1');
  });
});

describe('the file', () => {
  it('is the first that exists of the contract’s places', () => {
    home.write('named.yaml', 'retry: { maxAttempts: 1 }');
    home.write('by-variable.yaml', 'retry: { maxAttempts: 2 }');
    home.write('opencode-watchdog.yaml', 'retry: { maxAttempts: 3 }');
    home.write('xdg/opencode-watchdog/config.yaml', 'retry: { maxAttempts: 4 }');
    home.write('.config/opencode-watchdog/config.yaml', 'retry: { maxAttempts: 6 }');
    const attempts = (options: Parameters<ConfigHome['load']>[0]) =>
      home.load(options).config.retry.maxAttempts;
    const env = {
      OPENCODE_WATCHDOG_CONFIG: 'by-variable.yaml',
      XDG_CONFIG_HOME: `${home.dir}/xdg`,
    };
    expect(attempts({ file: 'named.yaml', env })).toBe(1);
    expect(attempts({ env })).toBe(2);
    expect(attempts({ env: { XDG_CONFIG_HOME: env.XDG_CONFIG_HOME } })).toBe(3);
  });

  it('is looked for in the user’s directory last but one', () => {
    home.write('xdg/opencode-watchdog/config.yaml', 'retry: { maxAttempts: 4 }');
    home.write('.config/opencode-watchdog/config.yaml', 'retry: { maxAttempts: 6 }');
    const xdg = home.load({ env: { XDG_CONFIG_HOME: `${home.dir}/xdg` } });
    expect(xdg.config.retry.maxAttempts).toBe(4);
    expect(home.load({ env: { XDG_CONFIG_HOME: 'relative' } }).config.retry.maxAttempts).toBe(6);
  });

  it('may be JSON with tabs, have a byte order mark, be empty, or have empty levels', () => {
    const attempts = (content: string) => {
      home.write('c', content);
      return home.load({ file: 'c' }).config.retry.maxAttempts;
    };
    expect(attempts('{\n\t"retry": {\n\t\t"maxAttempts": 7\n\t}\n}\n')).toBe(7);
    expect(attempts('\uFEFFretry: { maxAttempts: 8 }')).toBe(8);
    expect(attempts('')).toBe(12);
    expect(attempts('retry:\n  # maxAttempts: 3\n')).toBe(12);
  });
});

describe('the environment', () => {
  it('gives numbers, lists, flags and nulls as YAML, and text as it stands', () => {
    const { config } = home.load({
      env: {
        OPENCODE_WATCHDOG_RESTART_BACKOFF_INITIAL: '250ms',
        OPENCODE_WATCHDOG_RECOVER_MODELS: '[openai/gpt-5, openrouter/anthropic/claude]',
        OPENCODE_WATCHDOG_DRYRUN: 'true',
        OPENCODE_WATCHDOG_SERVER_USERNAME: '012345',
        OPENCODE_WATCHDOG_SERVER_DIRECTORY: '/srv/a #1: b',
        OPENCODE_WATCHDOG_RECYCLE_SCHEDULE: '0 4 * * *',
        OPENCODE_WATCHDOG_STATUS_TOKENFILE: 'null',
      },
    });
    expect(config.restart.backoff.initial).toBe(250);
    expect(config.recover.models).toEqual(['openai/gpt-5', 'openrouter/anthropic/claude']);
    expect(config.dryRun).toBe(true);
    expect(config.server.username).toBe('012345');
    expect(config.server.directory).toBe('/srv/a #1: b');
    expect(config.recycle.schedule).toBe('0 4 * * *');
    expect(config.status.tokenFile).toBeNull();
  });

  it.each(['', 'METRICS_', 'STATUS_2_'])(
    'may have the variables that Kubernetes sets for a service named opencode-watchdog-%s',
    (rest) => {
      const service = `OPENCODE_WATCHDOG_${rest}`;
      const env = {
        [`${service}SERVICE_HOST`]: '10.0.0.1',
        [`${service}SERVICE_PORT`]: '4097',
        [`${service}SERVICE_PORT_STATUS`]: '4097',
        [`${service}PORT`]: 'tcp://10.0.0.1:4097',
        [`${service}PORT_4097_TCP`]: 'tcp://10.0.0.1:4097',
        [`${service}PORT_4097_TCP_PROTO`]: 'tcp',
        [`${service}PORT_4097_TCP_PORT`]: '4097',
        [`${service}PORT_4097_TCP_ADDR`]: '10.0.0.1',
      };
      expect(home.problems({ env })).toEqual([]);
    },
  );

  it('may have the image that deploy/compose.yaml reads', () => {
    expect(home.problems({ env: { OPENCODE_WATCHDOG_IMAGE: 'example.com/watchdog' } })).toEqual([]);
  });

  it.each(['OPENCODE_WATCHDOG_PORT', 'OPENCODE_WATCHDOG_STATUS_PORT'])(
    'may not have %s with a port: a person meant status.listen',
    (variable) => {
      expect(home.problems({ env: { [variable]: '4097' } })).toEqual([
        expect.stringContaining(variable),
      ]);
    },
  );
});

describe('the password', () => {
  const variable = { OPENCODE_SERVER_PASSWORD: 'from-variable' };

  it.each([
    [
      'our variable’s file',
      { ...variable, OPENCODE_WATCHDOG_SERVER_PASSWORDFILE: 'other' },
      'from-other',
    ],
    ['opencode’s variable', variable, 'from-variable'],
    ['the file’s file', { CREDENTIALS_DIRECTORY: 'CREDS' }, 'from-file'],
  ])('comes from %s', (_title, env, password) => {
    home.write('opencode-watchdog.yaml', 'server: { passwordFile: pw }');
    home.write('pw', 'from-file\n');
    home.write('other', 'from-other');
    expect(home.load({ env }).secrets.password?.reveal()).toBe(password);
  });

  it('comes from a systemd credential where nothing else gives it', () => {
    const credential = home.write('creds/opencode-server-password', 'from-credential\r\n');
    home.write('creds/password', 'from-other-credential');
    const env = { CREDENTIALS_DIRECTORY: credential.replace('/opencode-server-password', '') };
    const { secrets, origins } = home.load({ env });
    expect(secrets.password?.reveal()).toBe('from-credential');
    expect(origins.get('server.password')).toBe(
      `systemd credential in ${env.CREDENTIALS_DIRECTORY}`,
    );
    expect(home.load({ env: { CREDENTIALS_DIRECTORY: '/nowhere' } }).secrets).toEqual({});
  });

  it.each([
    ['opencode-server-password', 'two\nlines', 'a file of one line'],
    ['opencode-server-password', '', 'a file that is not empty'],
    ['password', '\n', 'a file that is not empty'],
  ])('is never left out because the systemd credential %s is bad: %j', (name, content, words) => {
    home.write('creds/password', 'another');
    home.write(`creds/${name}`, content);
    expect(home.problems({ env: { CREDENTIALS_DIRECTORY: `${home.dir}/creds` } })).toEqual([
      `systemd credential | is ~/creds/${name}; expected ${words} | (environment CREDENTIALS_DIRECTORY)`,
    ]);
  });

  it('is never left out because the systemd credential cannot be read', () => {
    home.write('creds/password', 'another');
    mkdirSync(join(home.dir, 'creds/opencode-server-password'));
    expect(home.problems({ env: { CREDENTIALS_DIRECTORY: `${home.dir}/creds` } })).toEqual([
      expect.stringContaining('expected a regular file'),
    ]);
  });

  it('loses one newline at its end and nothing else', () => {
    home.write('pw', ' with spaces \n');
    const env = { OPENCODE_WATCHDOG_SERVER_PASSWORDFILE: 'pw' };
    expect(home.load({ env }).secrets.password?.reveal()).toBe(' with spaces ');
  });

  it('does not show however the loaded configuration is printed', () => {
    const loaded = home.load({ env: variable });
    const printed = [
      inspect(loaded, { depth: 9, showHidden: true }),
      JSON.stringify(loaded),
      `${loaded.secrets.password}`,
    ];
    expect(printed.join()).not.toContain('from-variable');
  });

  it('is among the values that the log must not show, with tokens and webhooks', () => {
    home.write('token', 'a-token');
    home.write(
      'opencode-watchdog.yaml',
      'status: { tokenFile: token }\nnotify: { webhooks: [{ url: "https://x.y/z", events: [session.stuck] }] }',
    );
    const values = secretsOf(home.load({ env: variable })).map((secret) => secret.reveal());
    expect(values.sort()).toEqual(['a-token', 'from-variable', 'https://x.y/z']);
  });
});
