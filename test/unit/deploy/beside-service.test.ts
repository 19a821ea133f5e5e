/** docs/deploy.md, "Beside an opencode.service that you have": what a reader pastes must not touch that service. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const page = readFileSync(new URL('../../../docs/deploy.md', import.meta.url), 'utf8');
const section = page
  .split(/^## /m)
  .find((each) => each.startsWith('Beside an opencode.service that you have'));

/** Each block with the paragraph that leads to it. */
const blocks = [
  ...(section ?? '').matchAll(/^(?<before>[^\n].*?)\n\n```sh systemd\n(?<text>.*?)^```$/gms),
].map(({ groups }) => ({
  before: groups?.before?.split('\n\n').at(-1) ?? '',
  text: groups?.text ?? '',
}));

it('installs, stops and removes opencode.service only where it is that of this package', () => {
  expect(blocks).toHaveLength(4);
  // `opencode-watchdog.service` does not count, nor does the folder `opencode-watchdog`.
  const touches = /(?<![\w-])opencode\.service|systemctl (enable|disable).* opencode(?![\w-])/;
  const touching = blocks.filter(({ text }) => touches.test(text));
  expect(touching).toHaveLength(2);
  for (const { before } of touching) expect(before).toMatch(/^Only if /);
});

it('makes the account and the password with the service that needs them', () => {
  const made = blocks.find(({ text }) => text.includes('pair/opencode.service'))?.text;
  expect(made).toContain('useradd --system');
  expect(made).toContain('/etc/opencode-watchdog/password');
});
