/** What the units do about processes that a stop has left: the command of ExecStopPost=, with a systemctl that only tells. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const UNITS = fileURLToPath(new URL('../../../systemd/', import.meta.url));
const DOCS = fileURLToPath(new URL('../../../docs/', import.meta.url));
const UNIT = 'opencode-watchdog@a\\x2db.service';

let bin: string;
beforeAll(() => {
  bin = mkdtempSync(join(tmpdir(), 'stop-post-'));
  writeFileSync(join(bin, 'systemctl'), '#!/bin/sh\nprintf "%s|" "$@"\n', { mode: 0o755 });
});
afterAll(() => rmSync(bin, { recursive: true }));

/** What systemd would run: `%n` is the unit's name, a word of its own. */
function asked(file: string, result: string): string {
  const line = /^ExecStopPost=-\+?\/bin\/sh -c '(.*)' %n$/m.exec(readFileSync(file, 'utf8'));
  const env = { PATH: `${bin}:${process.env.PATH}`, SERVICE_RESULT: result };
  return execFileSync('/bin/sh', ['-c', line?.[1] ?? 'echo no such line', UNIT], {
    env,
    encoding: 'utf8',
  });
}

describe.each([
  ['opencode-watchdog.service', ''],
  ['opencode-watchdog@.service', ''],
  ['user/opencode-watchdog.service', '--user|'],
])('%s', (unit, manager) => {
  const file = join(UNITS, unit);

  it('lets opencode outlive the watchdog', () => {
    expect(readFileSync(file, 'utf8')).toMatch(/^KillMode=process$/m);
  });

  it.each(['success', 'timeout'])('ends what is left after a stop (%s)', (result) => {
    expect(asked(file, result)).toBe(`${manager}kill|--signal=KILL|${UNIT}|`);
  });

  it.each(['signal', 'core-dump', 'watchdog', 'exit-code', 'oom-kill'])(
    'ends nothing after a crash (%s)',
    (result) => {
      expect(asked(file, result)).toBe('');
    },
  );
});

// With `mixed`, the final SIGKILL of a crash goes to the whole control group (systemd.kill(5)).
it('no page says KillMode= with another mode', () => {
  const pages = readdirSync(DOCS).filter((name) => name.endsWith('.md'));
  const text = pages.map((name) => readFileSync(join(DOCS, name), 'utf8')).join('');
  const modes = [...text.matchAll(/KillMode=(\w+)/g)].map(([, mode]) => mode);
  expect(new Set(modes)).toEqual(new Set(['process']));
});
