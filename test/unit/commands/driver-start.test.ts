/** Which servers the driver's commands start for root, where `server.user` names somebody. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { drive } from '../../../src/commands/driver-commands.js';
import { freePort } from '../../support/ports.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'watchdog-start-'));
  vi.stubEnv('HOME', folder);
  vi.stubEnv('XDG_STATE_HOME', folder);
  vi.stubEnv('XDG_CONFIG_HOME', folder);
  vi.stubEnv('OPENCODE_WATCHDOG_SERVER_COMMAND', '["no-such-program"]');
  vi.spyOn(process as { geteuid(): number }, 'geteuid').mockReturnValue(0);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

it.each([
  ['root', 'binary_not_found', 'no-such-program'],
  ['0', 'binary_not_found', 'no-such-program'],
  ['nobody', 'unreachable', 'server.user is "nobody"'],
  ['no-such-user', 'unreachable', 'server.user is "no-such-user"'],
])('for server.user %s a start ends with %s', async (user, kind, says) => {
  vi.stubEnv('OPENCODE_WATCHDOG_SERVER_USER', user);
  const url = `http://127.0.0.1:${await freePort()}`;
  await drive({ url }, async ({ driver }) => {
    const starting = driver.check({ start: true });
    await expect(starting).rejects.toMatchObject({
      kind,
      message: expect.stringContaining(says),
    });
    return 0;
  });
});
