import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_PROBLEMS } from '../../../src/config/problem.js';
import { MAX_ITEMS } from '../../../src/config/value-types.js';
import { ConfigHome } from './home.js';

const FILE = 'opencode-watchdog.yaml';
const DURATION = 'a duration such as 500ms, 30s, 5m or 2h';
const NO_PASSWORD =
  'no password in a configuration file, flag or OPENCODE_WATCHDOG_ variable: set OPENCODE_SERVER_PASSWORD, name a file in server.passwordFile, or give the systemd credential opencode-server-password';

/** What a person may write, and the exact line that he gets. */
const WRONG: [title: string, yaml: string, ...lines: string[]][] = [
  [
    'a word for a number',
    'retry: { maxAttempts: five }',
    `retry.maxAttempts | is "five"; expected a whole number of at least 1 | (file ~/${FILE}:1)`,
  ],
  [
    'a number below its bound',
    'retry:\n  maxAttempts: 0',
    `retry.maxAttempts | is 0; expected a whole number of at least 1 | (file ~/${FILE}:2)`,
  ],
  [
    'a key without a value',
    'retry:\n  maxAttempts:',
    `retry.maxAttempts | is null; expected a whole number of at least 1 | (file ~/${FILE}:2)`,
  ],
  [
    'a duration in words',
    'abort: { verifyTimeout: 5 seconds }',
    `abort.verifyTimeout | is "5 seconds"; expected ${DURATION}, at least 100ms | (file ~/${FILE}:1)`,
  ],
  [
    'a verification that has no time',
    'abort: { verifyTimeout: 0 }',
    `abort.verifyTimeout | is 0; expected ${DURATION}, at least 100ms | (file ~/${FILE}:1)`,
  ],
  [
    'a cooldown beyond its maximum',
    'restart: { cooldown: 1d }',
    `restart.cooldown | is "1d"; expected ${DURATION}, at least 100ms, at most 4h | (file ~/${FILE}:1)`,
  ],
  [
    'seconds without a unit',
    'abort: { verifyTimeout: 60 }',
    `abort.verifyTimeout | is 60; expected a duration with its unit: say 60s | (file ~/${FILE}:1)`,
  ],
  [
    'the milliseconds that 0.1 read',
    "stall: { maxSilence: '90000' }",
    `stall.maxSilence | is "90000"; expected a duration with its unit: say 90s | (file ~/${FILE}:1)`,
  ],
  [
    'a negative limit',
    'stall: { maxSilence: -1 }',
    `stall.maxSilence | is -1; expected ${DURATION}, or 0 for off | (file ~/${FILE}:1)`,
  ],
  [
    'a misspelt key',
    'retry: { maxAtempts: 3 }',
    `retry.maxAtempts | expected a known key; the nearest is retry.maxAttempts | (file ~/${FILE}:1)`,
  ],
  [
    'a key in another case',
    'retry: { maxattempts: 3 }',
    `retry.maxattempts | expected a known key; the nearest is retry.maxAttempts | (file ~/${FILE}:1)`,
  ],
  [
    'a key under the wrong parent',
    'server: { maxAttempts: 3 }',
    `server.maxAttempts | expected a known key; the nearest is retry.maxAttempts | (file ~/${FILE}:1)`,
  ],
  [
    'a misspelt level',
    'retries: { maxAttempts: 3 }',
    `retries | expected a known key; the nearest is retry | (file ~/${FILE}:1)`,
  ],
  [
    'a key written with dots',
    'retry.maxAttempts: 3',
    `retry.maxAttempts | expected it nested, one level under the other: retry: { maxAttempts: … } | (file ~/${FILE}:1)`,
  ],
  [
    'a value where a level is due',
    'retry: 5',
    `retry | is 5; expected keys with values, one level deeper | (file ~/${FILE}:1)`,
  ],
  [
    'a level where a value is due',
    'dryRun: { yes: true }',
    `dryRun | is {"yes":true}; expected true or false | (file ~/${FILE}:1)`,
  ],
  [
    'a list as the whole file',
    '- a\n- b',
    `the file | expected keys with values, one level deeper | (file ~/${FILE})`,
  ],
  [
    'text as the whole file, which may be a password',
    'hunter2',
    `the file | expected keys with values, one level deeper | (file ~/${FILE})`,
  ],
  [
    'a password in the file',
    'server: { password: hunter2 }',
    `server.password | is [secret]; expected ${NO_PASSWORD} | (file ~/${FILE}:1)`,
  ],
  [
    'a misspelt password in the file',
    'server: { pasword: hunter2 }',
    `server.pasword | is [secret]; expected ${NO_PASSWORD} | (file ~/${FILE}:1)`,
  ],
  [
    'a URL with a password',
    'server: { url: "http://me:hunter2@localhost:4096" }',
    `server.url | is "http://[secret]@localhost:4096"; expected a URL without user and password; use server.username, and server.passwordFile or OPENCODE_SERVER_PASSWORD | (file ~/${FILE}:1)`,
  ],
  [
    'a URL with a password that breaks it',
    'server: { url: "http://me:hunter2/\\"x@localhost:4096" }',
    `server.url | is "http://[secret]@localhost:4096"; expected an http or https URL such as http://localhost:4096 | (file ~/${FILE}:1)`,
  ],
  [
    'a URL without its scheme, with a password',
    'server: { url: "me:hunter2@localhost:4096" }',
    `server.url | is "[secret]@localhost:4096"; expected an http or https URL such as http://localhost:4096 | (file ~/${FILE}:1)`,
  ],
  [
    'a URL of another kind',
    'server: { url: "ftp://localhost" }',
    `server.url | is "ftp://localhost"; expected an http or https URL such as http://localhost:4096 | (file ~/${FILE}:1)`,
  ],
  [
    'a user with a colon',
    'server: { username: "a:b" }',
    `server.username | is [secret]; expected a name without a colon | (file ~/${FILE}:1)`,
  ],
  [
    'an unknown control',
    'server: { control: systemd }',
    `server.control | is "systemd"; expected one of auto, spawn, adopt, external, command, docker, service, observe | (file ~/${FILE}:1)`,
  ],
  [
    'control by command without a command',
    'server:\n  control: command',
    `server.restartCommand | is null; expected a command such as [systemctl, restart, opencode], because server.control is command | (file ~/${FILE}:2)`,
  ],
  [
    'control by docker without a container',
    'server:\n  control: docker',
    `server.container | is null; expected the name of the container, because server.control is docker | (file ~/${FILE}:2)`,
  ],
  [
    'a server spawned behind https',
    'server: { control: spawn, url: "https://localhost:4096" }',
    `server.url | is "https://localhost:4096"; expected http and no path, because server.control is spawn and opencode serves nothing else | (file ~/${FILE}:1)`,
  ],
  [
    'a command as one string',
    'server: { command: opencode serve }',
    `server.command | is "opencode serve"; expected a list of words such as [opencode, serve], the program first | (file ~/${FILE}:1)`,
  ],
  [
    'an empty command',
    'server: { command: [] }',
    `server.command | is []; expected a list of words such as [opencode, serve], the program first | (file ~/${FILE}:1)`,
  ],
  [
    'a number in a command',
    'server: { command: [opencode, 1] }',
    `server.command[1] | is 1; expected a word | (file ~/${FILE}:1)`,
  ],
  [
    'a backoff whose end is before its start',
    'restart: { backoff: { initial: 2m, max: 90s } }',
    `restart.backoff.max | is "90s"; expected at least restart.backoff.initial (2m) | (file ~/${FILE}:1)`,
  ],
  [
    'a schedule that is no cron expression',
    'recycle: { schedule: at four }',
    `recycle.schedule | is "at four"; expected a cron expression such as "0 4 * * *" (minute hour day month weekday), or null | (file ~/${FILE}:1)`,
  ],
  [
    'a schedule out of range',
    'recycle: { schedule: "61 * * * *" }',
    `recycle.schedule | is "61 * * * *"; expected a cron expression such as "0 4 * * *" (minute hour day month weekday), or null | (file ~/${FILE}:1)`,
  ],
  [
    'a schedule on a day that never comes',
    'recycle: { schedule: "0 4 31 6 *" }',
    `recycle.schedule | is "0 4 31 6 *"; expected a cron expression such as "0 4 * * *" (minute hour day month weekday), or null | (file ~/${FILE}:1)`,
  ],
  [
    'a size with an unknown unit',
    'recycle: { maxMemory: 4 potatoes }',
    `recycle.maxMemory | is "4 potatoes"; expected a size such as 512MiB or 4GiB (a bare number is bytes), or 0 for off | (file ~/${FILE}:1)`,
  ],
  [
    'a model without its provider',
    'recover: { models: [openai/gpt-5, claude] }',
    `recover.models[1] | is "claude"; expected a model as "provider/model" | (file ~/${FILE}:1)`,
  ],
  [
    'a webhook with credentials, which no message could be sent to',
    'notify: { webhooks: [{ url: "https://me:hunter2@chat.example/x", events: [server] }] }',
    `notify.webhooks[0].url | is [secret]; expected a URL without user and password before the host: put the token into the path or the query, as the service says | (file ~/${FILE}:1)`,
  ],
  [
    'a server URL with a token in its query',
    'server: { url: "http://localhost:4096/?token=hunter2" }',
    `server.url | is "http://localhost:4096/?[secret]"; expected an http or https URL such as http://localhost:4096, without ? and # | (file ~/${FILE}:1)`,
  ],
  [
    'a webhook that is wrong in every part',
    'notify: { webhooks: [{ url: hunter2, events: [Stuck], form: slack }] }',
    `notify.webhooks[0].url | is [secret]; expected an http or https URL | (file ~/${FILE}:1)`,
    `notify.webhooks[0].events[0] | is "Stuck"; expected the name of an event such as session.stuck | (file ~/${FILE}:1)`,
    `notify.webhooks[0].form | expected a known key; the nearest is format | (file ~/${FILE}:1)`,
  ],
  [
    'a status address without a port',
    'status: { listen: localhost }',
    `status.listen | is "localhost"; expected an address such as 127.0.0.1:4097, unix:/run/opencode-watchdog/status.sock, or off | (file ~/${FILE}:1)`,
  ],
  [
    'a status page open to the network without a token',
    'status: { listen: "0.0.0.0:4097" }',
    `status.tokenFile | is null; expected a file with a token, because status.listen (0.0.0.0:4097) is not loopback | (file ~/${FILE}:1)`,
  ],
  [
    'a password file that is missing',
    'server: { passwordFile: no/such }',
    `server.passwordFile | is no/such; expected a file that can be read, but it does not exist | (file ~/${FILE}:1)`,
  ],
  [
    'YAML that does not end',
    'retry: { maxAttempts: 3',
    `~/${FILE} | expected YAML or JSON, but line 1, column 24 says: Flow map in block collection must be sufficiently indented and end with a } | (file ~/${FILE}:1)`,
  ],
  [
    'a tab in YAML',
    'retry:\n\tmaxAttempts: 3',
    `~/${FILE} | expected YAML or JSON, but line 2, column 1 says: Tabs are not allowed as indentation | (file ~/${FILE}:2)`,
  ],
  [
    'a key given twice',
    'dryRun: true\ndryRun: false',
    `~/${FILE} | expected YAML or JSON, but line 2, column 1 says: Map keys must be unique | (file ~/${FILE}:2)`,
  ],
  [
    'an alias that is not defined, which may be a password',
    'server: { username: *hunter2 }',
    `~/${FILE} | expected YAML whose aliases (*name) are defined before their use and are few | (file ~/${FILE})`,
  ],
];

describe('a wrong configuration', () => {
  let home: ConfigHome;
  beforeEach(() => {
    home = new ConfigHome();
  });
  afterEach(() => home.remove());

  it.each(WRONG)('%s', (_title, yaml, ...lines) => {
    home.write(FILE, yaml);
    expect(home.problems()).toEqual(lines);
  });

  it('has all its problems reported in one run, from every source', () => {
    home.write(FILE, 'retry: { maxAttempts: 0, foo: 1 }\nlog: { level: loud }');
    const problems = home.problems({
      env: { OPENCODE_WATCHDOG_ABORT_MAXTRIES: 'x', OPENCODE_WATCHDOG_ABORT_MAXTRY: '1' },
      flags: [{ key: 'server.url', flag: '--url', value: 'nowhere' }],
    });
    expect(problems.map((line) => line.split(' | ')[0])).toEqual([
      'retry.foo',
      'retry.maxAttempts',
      'log.level',
      'OPENCODE_WATCHDOG_ABORT_MAXTRY',
      'abort.maxTries',
      'server.url',
    ]);
  });

  it.each<[string, string, string]>([
    [
      'OPENCODE_WATCHDOG_RETRY_MAXATEMPTS',
      '3',
      'OPENCODE_WATCHDOG_RETRY_MAXATEMPTS | expected a known variable; the nearest is OPENCODE_WATCHDOG_RETRY_MAXATTEMPTS | (environment)',
    ],
    [
      'OPENCODE_WATCHDOG_RETRY',
      '3',
      'OPENCODE_WATCHDOG_RETRY | expected one variable for each key below, such as OPENCODE_WATCHDOG_RETRY_MAXATTEMPTS | (environment)',
    ],
    [
      'OPENCODE_WATCHDOG_SERVER_PASSWORD',
      'hunter2',
      `OPENCODE_WATCHDOG_SERVER_PASSWORD | is [secret]; expected ${NO_PASSWORD} | (environment)`,
    ],
    [
      'OPENCODE_WATCHDOG_RETRY_MAXDURATION',
      'soon',
      `retry.maxDuration | is "soon"; expected ${DURATION}, or 0 for off | (environment OPENCODE_WATCHDOG_RETRY_MAXDURATION)`,
    ],
    [
      'OPENCODE_API_URL',
      'localhost:4096',
      'server.url | is "localhost:4096"; expected an http or https URL such as http://localhost:4096 | (environment OPENCODE_API_URL)',
    ],
    [
      'OPENCODE_WATCHDOG_CONFIG',
      'missing.yaml',
      '~/missing.yaml | expected a file that can be read, but it does not exist | (environment OPENCODE_WATCHDOG_CONFIG)',
    ],
  ])('in the environment: %s=%s', (variable, value, line) => {
    expect(home.problems({ env: { [variable]: value } })).toEqual([line]);
  });

  it('is refused as a file that is no text, too long, a directory or missing', () => {
    home.write('binary', new Uint8Array([0x7f, 0x45, 0, 1]));
    home.write('latin1', new Uint8Array([0x61, 0xe9, 0x62]));
    home.write('huge', '#'.repeat(1024 * 1024 + 1));
    mkdirSync(join(home.dir, 'folder'));
    const said = (file: string) => home.problems({ file });
    expect(said('binary')).toEqual([
      '~/binary | expected text, but the file is binary | (flag --config)',
    ]);
    expect(said('latin1')).toEqual(['~/latin1 | expected text in UTF-8 | (flag --config)']);
    expect(said('huge')).toEqual([
      '~/huge | expected a file of at most 1024 KiB | (flag --config)',
    ]);
    expect(said('folder')).toEqual(['~/folder | expected a regular file | (flag --config)']);
    expect(said('missing')).toEqual([
      '~/missing | expected a file that can be read, but it does not exist | (flag --config)',
    ]);
  });

  it.each([
    ['an empty password file', '\n', 'a file that is not empty'],
    ['a password file of two lines', 'a\nb\n', 'a file of one line'],
    ['a password file that is too long', 'x'.repeat(5000), 'a file of at most 4 KiB'],
  ])('%s', (_title, content, expected) => {
    writeFileSync(join(home.dir, 'pw'), content);
    expect(home.problems({ env: { OPENCODE_WATCHDOG_SERVER_PASSWORDFILE: 'pw' } })).toEqual([
      `server.passwordFile | is pw; expected ${expected} | (environment OPENCODE_WATCHDOG_SERVER_PASSWORDFILE)`,
    ]);
  });
});

it('names a hundred problems at most, and no value of a list or text in the place of a group', () => {
  const home = new ConfigHome();
  const unknown = Object.fromEntries(
    Array.from({ length: 3 * MAX_PROBLEMS }, (_, n) => [`no_such_key_${n}${'x'.repeat(500)}`, 1]),
  );
  home.write('c', JSON.stringify(unknown));
  const said = home.problems({ file: 'c' });
  expect(said).toHaveLength(MAX_PROBLEMS + 1);
  expect(said.at(-1)).toBe(`… and ${2 * MAX_PROBLEMS} more`);
  expect(said.join().length).toBeLessThan(50_000);
  const url = 'https://hooks.example.com/s3cr3t';
  home.write('c', JSON.stringify({ notify: [{ url }], server: url }));
  expect(home.problems({ file: 'c' })).toEqual([
    'notify | is a list; expected keys with values, one level deeper | (file ~/c:1)',
    'server | is text; expected keys with values, one level deeper | (file ~/c:1)',
  ]);
  home.write(
    'c',
    JSON.stringify({
      notify: { webhooks: Array(MAX_ITEMS + 1).fill({ url, events: ['session'] }) },
    }),
  );
  expect(home.problems({ file: 'c' }).join()).toMatch(/at most 20/);
  home.remove();
});
