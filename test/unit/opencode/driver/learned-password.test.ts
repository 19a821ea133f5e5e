/** A driver that lives long learns a password that did not exist when it started. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { drive } from '../../../../src/commands/driver-commands.js';
import { madePasswordFile } from '../../../../src/config/made-password.js';
import { OpencodeDriver } from '../../../../src/index.js';
import { type FakeOpencode, startFakeOpencode } from '../../../support/fake-opencode.js';

const PASSWORD = 'a'.repeat(43);

let server: FakeOpencode;
let folder: string;
beforeEach(async () => {
  server = await startFakeOpencode({ password: PASSWORD });
  folder = mkdtempSync(join(tmpdir(), 'watchdog-password-'));
  for (const name of ['OPENCODE_PASSWORD', 'OPENCODE_SERVER_PASSWORD', 'STATE_DIRECTORY']) {
    vi.stubEnv(name, undefined);
  }
  vi.stubEnv('XDG_STATE_HOME', folder);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, text, { mode: 0o600 });
}

it.each([
  ['nobody gave one', {}],
  ['the function that gives one has none', { password: () => undefined }],
])('one that another process makes, where %s', async (_, options) => {
  const driver = new OpencodeDriver({ url: server.url, ...options });
  try {
    await expect(driver.assertUp()).rejects.toMatchObject({ kind: 'unauthorized' });
    write(madePasswordFile(process.env, server.url), `${PASSWORD}\n`);
    await driver.assertUp();
  } finally {
    await driver.close();
  }
});

/** As OpenCode's background service does when it starts. */
function register(): void {
  const registration = { id: 'svc-1', url: server.url, password: PASSWORD };
  write(join(folder, 'opencode', 'service.json'), JSON.stringify(registration));
}
/** A registration is read once a second. */
const seen = { timeout: 120_000, interval: 100 };

it.each(['service', 'auto'])(
  'one that OpenCode’s background service registers, in a command, with control %s',
  async (control) => {
    const file = join(folder, 'config.yaml');
    write(file, JSON.stringify({ server: { url: server.url, control } }));
    const code = await drive({ config: file }, async ({ driver }) => {
      await expect(driver.assertUp()).rejects.toMatchObject({ kind: 'unauthorized' });
      register();
      await vi.waitFor(() => driver.assertUp(), seen);
      return 0;
    });
    expect(code).toBe(0);
  },
);

it('one that OpenCode’s background service registers, in a program', async () => {
  const driver = new OpencodeDriver({ url: server.url });
  try {
    await expect(driver.assertUp()).rejects.toMatchObject({ kind: 'unauthorized' });
    register();
    await vi.waitFor(() => driver.assertUp(), seen);
  } finally {
    await driver.close();
  }
});
