/** Every command in the skill file is run as it is written there, on a real opencode. */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CLI } from '../support/daemon.js';
import { type Bench, startBench } from '../support/driver-bench.js';

const SKILL = new URL('../../skills/opencode-driver/SKILL.md', import.meta.url);

let bench: Bench;
beforeAll(async () => {
  bench = await startBench();
});
afterAll(() => bench.stop());

test('the skill file is one, and all its commands work', async () => {
  const skill = await readFile(SKILL, 'utf8');
  expect(skill).toMatch(/^---\nname: opencode-driver\ndescription: .{40,1024}\n---\n/);
  expect(skill.split('\n').length).toBeLessThan(100);
  const blocks = [...skill.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
  expect(blocks.length).toBeGreaterThan(4);

  const command = join(bench.home.path, 'bin/opencode-watchdog');
  await writeFile(command, `#!/bin/sh\nexec ${process.execPath} ${CLI} "$@"\n`);
  await chmod(command, 0o755);
  const script = `set -eux\nOTHER_MODEL=fake/m2\n${blocks.join('\n')}`;
  const { code, stdout, stderr } = await bench.start('sh', ['-c', script]).ended;
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain('All done.');
  expect(await readFile(join(bench.server.directory, 'plan.md'), 'utf8')).toBe('All done.\n');
  await bench.expectNothingLeft();
});

test('every command that the skill file names in its text is one', async () => {
  const skill = await readFile(SKILL, 'utf8');
  const { stdout } = await bench.cli(['--help']);
  const known = new Set([...stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name));
  const named = [...skill.matchAll(/`(?:opencode-watchdog )?([a-z]+) (?:ID|--start)`?/g)];
  expect(named.length).toBeGreaterThan(1);
  for (const [, name] of named) expect(known).toContain(name);
});
