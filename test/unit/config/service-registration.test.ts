/** OpenCode 2's background service is found by its registration. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { loadConfig, secretsOf } from '../../../src/config/load.js';
import { createRedactor } from '../../../src/lib/redaction.js';

const folder = mkdtempSync(join(tmpdir(), 'watchdog-service-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const env = { XDG_STATE_HOME: folder, XDG_CONFIG_HOME: folder, HOME: folder };
const load = (more: NodeJS.ProcessEnv = {}) => {
  const { config, secrets } = loadConfig({ env: { ...env, ...more }, cwd: folder });
  return [config.server.url, secrets.password?.reveal()];
};
const SERVICE = { OPENCODE_WATCHDOG_SERVER_CONTROL: 'service' };

it('is looked for at its default port before it has ever run', () => {
  expect(load(SERVICE)).toEqual(['http://127.0.0.1:49374', undefined]);
});

it('tells where it listens and its password, to whoever asks for it', () => {
  mkdirSync(join(folder, 'opencode'));
  const registration = {
    id: 'svc-1',
    version: '2.0.26',
    url: 'http://127.0.0.1:50001',
    pid: 4242,
    password: 'abc',
  };
  writeFileSync(join(folder, 'opencode', 'service.json'), JSON.stringify(registration));
  expect(load(SERVICE)).toEqual(['http://127.0.0.1:50001', 'abc']);
  // Its URL is enough; another server's password it is not.
  expect(load({ OPENCODE_API_URL: 'http://localhost:50001' })[1]).toBe('abc');
  expect(load()[1]).toBeUndefined();
  expect(load({ ...SERVICE, OPENCODE_PASSWORD: 'mine' })[1]).toBe('mine');
});

it('is that of another channel, too, where the URL leads to it; the release goes first', () => {
  const registration = { id: 'svc-2', url: 'http://127.0.0.1:50002', password: 'beta' };
  const text = JSON.stringify(registration);
  writeFileSync(join(folder, 'opencode', 'service-beta.json'), text);
  writeFileSync(join(folder, 'opencode', 'service-settings.json.bak'), text);
  expect(load({ OPENCODE_API_URL: 'http://127.0.0.1:50002' })[1]).toBe('beta');
  expect(load(SERVICE)).toEqual(['http://127.0.0.1:50001', 'abc']);
  rmSync(join(folder, 'opencode', 'service.json'));
  expect(load(SERVICE)).toEqual(['http://127.0.0.1:50002', 'beta']);
  rmSync(join(folder, 'opencode', 'service-beta.json'));
});

it('is none where its registration cannot be read', () => {
  writeFileSync(join(folder, 'opencode', 'service.json'), '{"url": ');
  expect(load(SERVICE)).toEqual(['http://127.0.0.1:49374', undefined]);
});

it('is found, and its password masked, by a daemon that was there before it', () => {
  rmSync(join(folder, 'opencode'), { recursive: true });
  const url = 'http://127.0.0.1:50003';
  const loaded = loadConfig({ env: { ...env, OPENCODE_API_URL: url }, cwd: folder });
  mkdirSync(join(folder, 'opencode'));
  const registration = JSON.stringify({ id: 'svc-3', url, password: 'registered late' });
  writeFileSync(join(folder, 'opencode', 'service.json'), registration);
  expect(loaded.findPassword?.()?.reveal()).toBe('registered late');
  const redactor = createRedactor(secretsOf(loaded));
  expect(redactor.text('registered late is wrong')).toBe('[secret] is wrong');
});
