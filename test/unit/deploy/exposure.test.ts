/** How open the units are by `systemd-analyze security`, and whether each says why where it is. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';

const UNITS = fileURLToPath(new URL('../../../systemd/', import.meta.url));
/** Of ten. The watchdog that only watches is to be at most at 2.5; the others are as low as an agent's tools allow. */
const AT_MOST = {
  'pair/opencode-watchdog.service': 2.5,
  'pair/opencode.service': 2.6,
  'opencode-watchdog.service': 3,
  'opencode-watchdog@.service': 3,
};
const ROWS = z.array(z.object({ name: z.string(), exposure: z.string().nullable().optional() }));

const analyse = (unit: string, ...flags: string[]) =>
  spawnSync(
    'systemd-analyze',
    ['security', '--offline=true', '--no-pager', ...flags, `${UNITS}${unit}`],
    { encoding: 'utf8' },
  );
/** `--offline` is from systemd 250 on. */
const LACKS =
  analyse('pair/opencode.service', '--json=short').status === 0
    ? ''
    : ' (skipped: no systemd-analyze of 250 or later)';

describe.skipIf(LACKS !== '').each(Object.entries(AT_MOST))(`%s${LACKS}`, (unit, limit) => {
  it(`is exposed to at most ${limit}`, () => {
    const said = /exposure level for \S+: ([\d.]+)/.exec(analyse(unit).stdout)?.[1];
    expect(Number(said)).toBeLessThanOrEqual(limit);
  });

  it('names each line that is missing, with what needs it', () => {
    const json = analyse(unit, '--json=short').stdout.split('\n')[0] ?? '';
    const comments = readFileSync(`${UNITS}${unit}`, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('#'))
      .join('\n');
    const open = ROWS.parse(JSON.parse(json)).filter(({ exposure }) => Number(exposure) > 0);
    // "SystemCallFilter=~@debug", "RestrictAddressFamilies=~AF_(INET|INET6)", "RootDirectory=/RootImage="
    const unnamed = open.filter(({ name }) => {
      const [setting = '', value = ''] = name.split('=~');
      const part = /^AF_\((\w+)/.exec(value)?.[1] ?? value;
      return !comments.includes(setting.split(/[=/]/)[0] ?? '') || !comments.includes(part);
    });
    expect(unnamed.map(({ name }) => name)).toEqual([]);
    expect(open.length).toBeGreaterThan(5);
  });
});

// The lock has a claim file in the temporary folder (src/process/lock.ts): in a private one nobody else would find it.
it.each([
  'opencode-watchdog.service',
  'opencode-watchdog@.service',
  'pair/opencode-watchdog.service',
  'user/opencode-watchdog.service',
])('%s shares /tmp with other watchdogs of its user', (unit) => {
  const text = readFileSync(`${UNITS}${unit}`, 'utf8');
  expect(text).not.toMatch(/^PrivateTmp=/m);
  const readOnly = /^ProtectSystem=strict$/m.test(text);
  if (readOnly) expect(text).toMatch(/^ReadWritePaths=(.* )?\/tmp( |$)/m);
});

it('no unit’s runtime folder, which a stop removes, is in that of another', () => {
  const folders = ['opencode-watchdog.service', 'opencode-watchdog@.service'].map((unit) => {
    const text = readFileSync(`${UNITS}${unit}`, 'utf8');
    return /^RuntimeDirectory=(.+)$/m.exec(text)?.[1]?.replace('%i', 'shop');
  });
  expect(folders).toEqual(['opencode-watchdog', 'opencode-watchdog-shop']);
});
