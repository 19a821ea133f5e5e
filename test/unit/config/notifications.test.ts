/** `notify` in the configuration: URLs from files, a command, events that do not exist. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { refuseUnknownEvents } from '../../../src/commands/notify.js';
import { explainText } from '../../../src/config/explain.js';
import { secretsOf } from '../../../src/config/load.js';
import { ConfigHome } from './home.js';

let home: ConfigHome;
beforeEach(() => {
  home = new ConfigHome();
});
afterEach(() => home.remove());

const notify = (yaml: string) => home.write('opencode-watchdog.yaml', `notify:\n${yaml}`);

it('a URL is read from its file, and is a secret like any other', () => {
  const url = 'https://hooks.slack.test/services/T0/B0/xyz';
  home.write('slack-url', `${url}\n`);
  notify('  webhooks: [{ urlFile: slack-url, events: [session.stuck], format: slack }]');
  const loaded = home.load();
  expect(loaded.config.notify.webhooks[0]?.url).toBe(url);
  expect(secretsOf(loaded).map((secret) => secret.reveal())).toContain(url);
  expect(explainText(loaded)).not.toContain('xyz');
});

it.each([
  ['is missing', undefined, /notify\.webhooks\[0\]\.urlFile/],
  ['is empty', '', /a file that is not empty/],
  ['holds no URL', 'not a URL', /a file that holds an http or https URL/],
  [
    'holds a URL with a login',
    'https://me:not a URL@a.test/x',
    /a file that holds a URL without user and password before the host/,
  ],
])(
  'a file that %s is a problem of the key, and its content is not shown',
  (_what, content, words) => {
    if (content !== undefined) home.write('slack-url', content);
    notify('  webhooks: [{ urlFile: slack-url, events: [session.stuck] }]');
    const [problem = ''] = home.problems();
    expect(problem).toMatch(words);
    expect(problem).not.toContain('not a URL');
  },
);

it('both or neither of url and urlFile is refused', () => {
  notify('  webhooks: [{ url: "https://a.test/x", urlFile: b, events: [session.stuck] }]');
  expect(home.problems()[0]).toContain('either url or urlFile');
  notify('  webhooks: [{ events: [session.stuck] }]');
  expect(home.problems()[0]).toContain('either url or urlFile');
});

it('a command is a list of words, and an empty one is none', () => {
  notify('  command: [notify-send, opencode]');
  expect(home.load().config.notify.command).toEqual(['notify-send', 'opencode']);
  notify('  command: []');
  expect(home.load().config.notify.command).toEqual([]);
  notify('  command: notify-send');
  expect(home.problems()[0]).toContain('a list of words such as');
});

it.each([
  ['sesion.stuck', 'session.stuck'],
  ['servr', 'server'],
  ['session.stuk', 'session.stuck'],
])('the event %s does not exist: the nearest is named', (event, near) => {
  notify(`  webhooks: [{ url: "https://a.test/x", events: [server, ${event}] }]`);
  expect(() => refuseUnknownEvents(home.load())).toThrow(
    `is "${event}"; expected an event of docs/log-events.md; the nearest is ${near}`,
  );
});

it('names of events and of their groups pass', () => {
  notify(
    '  webhooks: [{ url: "https://a.test/x", events: [server, session.stuck, provider, error, health.summary] }]',
  );
  expect(() => refuseUnknownEvents(home.load())).not.toThrow();
});

it('config --changed prints only what something sets, as a file that says the same', () => {
  notify('  command: [notify-send, opencode]');
  const loaded = home.load({ env: { OPENCODE_WATCHDOG_RETRY_MAXATTEMPTS: '3' } });
  const text = explainText(loaded, true);
  expect(text.split('\n').map((line) => line.replace(/ +#.*/, ''))).toEqual([
    expect.stringMatching(/^# configuration file: /),
    'retry:',
    '  maxAttempts: 3',
    'notify:',
    '  command: [notify-send, opencode]',
    '',
  ]);
  notify('  command: []');
  expect(explainText(new ConfigHome().load(), true)).toContain('every key is as the defaults are');
});
