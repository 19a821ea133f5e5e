import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { explainJson, explainText, readableConfig } from '../../../src/config/explain.js';
import { ConfigHome } from './home.js';

let home: ConfigHome;
beforeEach(() => {
  home = new ConfigHome();
});
afterEach(() => home.remove());

describe('the explained configuration', () => {
  it('names where each value came from', () => {
    home.write('opencode-watchdog.yaml', 'retry:\n  maxAttempts: 3');
    const text = explainText(
      home.load({
        env: { OPENCODE_WATCHDOG_ABORT_MAXTRIES: '2', OPENCODE_SERVER_PASSWORD: 'hunter2' },
      }),
    ).replaceAll(home.dir, '~');
    expect(text).toMatch(/^# configuration file: ~\/opencode-watchdog.yaml\n/);
    expect(text).toMatch(/^ {2}maxAttempts: 3 +# from file ~\/opencode-watchdog.yaml:2$/m);
    expect(text).toMatch(/^ {2}maxTries: 2 +# from environment OPENCODE_WATCHDOG_ABORT_MAXTRIES$/m);
    expect(text).toMatch(
      /^ {2}# password: \[secret\] +# from environment OPENCODE_SERVER_PASSWORD$/m,
    );
    expect(text).toMatch(/^ {2}maxDuration: 2m {2,}# from default$/m);
    expect(text).not.toContain('hunter2');
  });

  it('is itself a file that gives the same configuration, as text and as JSON', () => {
    const anyText = fc.string({ unit: 'grapheme', minLength: 1 }).filter((t) => !/\p{Cc}/u.test(t));
    fc.assert(
      fc.property(
        fc.nat({ max: 10_000_000 }),
        anyText,
        fc.array(
          anyText.filter((t) => t.trim() !== ''),
          { minLength: 1 },
        ),
        (ms, directory, command) => {
          const given = {
            retry: { maxWait: `${ms}ms` },
            recycle: { maxMemory: ms },
            server: { directory, command },
          };
          home.write('a', JSON.stringify(given));
          const first = home.load({ file: 'a' });
          home.write('b', explainText(first));
          expect(home.load({ file: 'b' }).config).toEqual(first.config);
          home.write('b', JSON.stringify(explainJson(first).config));
          expect(home.load({ file: 'b' }).config).toEqual(first.config);
        },
      ),
    );
  });

  it('is such a file too if a webhook’s URL is read from a file', () => {
    home.write('slack-url', 'https://hooks.slack.com/services/T/B/hunter2');
    home.write('a', 'notify: { webhooks: [{ urlFile: slack-url, events: [session.stuck] }] }');
    const first = home.load({ file: 'a' });
    for (const file of [explainText(first), JSON.stringify(explainJson(first).config)]) {
      home.write('b', file);
      expect(home.load({ file: 'b' }).config).toEqual(first.config);
    }
  });

  it('shows of a webhook the host only', () => {
    home.write(
      'opencode-watchdog.yaml',
      'notify: { webhooks: [{ url: "https://hooks.slack.com/services/T/B/hunter2", events: [session.stuck], format: slack }] }',
    );
    const loaded = home.load();
    const shown =
      explainText(loaded) + JSON.stringify([explainJson(loaded), readableConfig(loaded.config)]);
    expect(shown).toContain('https://hooks.slack.com/[secret]');
    expect(shown).not.toContain('hunter2');
  });
});
