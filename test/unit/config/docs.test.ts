/** What the pages say of the configuration: the keys are today's, and an example does what its comments say. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { updateConfigurationPage } from '../../../src/config/docs.js';
import { KEYS } from '../../../src/config/keys.js';
import { ConfigHome } from './home.js';

const pageOf = (name: string) =>
  readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');

it('docs/configuration.md has the keys of today’s schema (if not: npm run docs)', () => {
  const page = pageOf('configuration.md');
  expect(updateConfigurationPage(page)).toBe(page);
});

it('every key that takes 0 says what 0 does', () => {
  const silent = [...KEYS.values()]
    .filter(({ schema }) => schema.safeParse(0).success)
    .filter(({ description }) => !/\b0 = \S/.test(description))
    .map(({ path }) => path);
  expect(silent).toEqual([]);
});

it('the configuration of docs/getting-started.md loads as it stands and ends a run that has spent its budget', () => {
  const [, block = ''] = /^```yaml\n(profile: .*?)^```$/ms.exec(pageOf('getting-started.md')) ?? [];
  const home = new ConfigHome();
  try {
    const { config } = home.load({ file: home.write('config.yaml', block) });
    expect(config.profile).toBe('unattended');
    expect(config.budget).toMatchObject({ action: 'abort', run: { cost: 5 }, day: { cost: 50 } });

    const urlFile = home.write('slack-url', 'https://hooks.slack.example/services/x\n');
    const whole = block.replaceAll(/^# /gm, '').replace(/(urlFile: ).*/, `$1${urlFile}`);
    const { notify } = home.load({ file: home.write('whole.yaml', whole) }).config;
    expect(notify.webhooks).toMatchObject([{ format: 'slack' }]);
  } finally {
    home.remove();
  }
});
