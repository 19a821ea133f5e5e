/** The ways in which people ask for help. */
import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { runCli } from '../support/command.js';

const run = (...args: string[]) => runCli(args);

it('help and help COMMAND are --help, -v is --version', async () => {
  const [help, helpOf, version] = await Promise.all([
    run('help'),
    run('help', 'report'),
    run('-v'),
  ]);
  expect(help).toEqual(await run('--help'));
  const [, documents = ''] = / The documents: (.*)$/m.exec(help.out) ?? [];
  expect(existsSync(documents), help.out).toBe(true);
  expect(helpOf).toEqual(await run('report', '--help'));
  expect(helpOf.code).toBe(0);
  expect(helpOf.out).toContain('--since <when>');
  expect(version).toEqual(await run('--version'));
  const unknown = await run('help', 'statsu');
  expect(unknown.code).toBe(2);
  expect(unknown.err).toContain('Did you mean status?');
});
