/** Help as people ask for it. */
import { execFile } from 'node:child_process';
import { expect, it } from 'vitest';
import { CLI } from '../support/daemon.js';

function run(...args: string[]) {
  return new Promise<{ code: number; out: string; err: string }>((resolve) => {
    execFile(process.execPath, [CLI, ...args], (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
    );
  });
}

it('help and help COMMAND are --help, -v is --version', async () => {
  const [help, helpOf, version] = await Promise.all([
    run('help'),
    run('help', 'report'),
    run('-v'),
  ]);
  expect(help).toEqual(await run('--help'));
  expect(helpOf).toEqual(await run('report', '--help'));
  expect(helpOf.code).toBe(0);
  expect(helpOf.out).toContain('--since <when>');
  expect(version).toEqual(await run('--version'));
  const unknown = await run('help', 'statsu');
  expect(unknown.code).toBe(2);
  expect(unknown.err).toContain('Did you mean status?');
});
