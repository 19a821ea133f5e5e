import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { healthcheck } from '../../../src/commands/healthcheck.js';
import { healthSocketPath } from '../../../src/config/health-socket.js';

describe('healthcheck', () => {
  let folder: string;
  let config: string;
  let server: Server;
  let answer = 200;
  let said: string[];

  beforeEach(async () => {
    said = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      said.push(String(text));
      return true;
    });
    server = createServer((req, res) => {
      res.writeHead(req.url === '/healthz' ? answer : 404, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ ok: answer === 200 }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    folder = mkdtempSync(join(tmpdir(), 'healthcheck-'));
    config = join(folder, 'config.yaml');
    const { port } = server.address() as AddressInfo;
    writeFileSync(config, `status: { listen: "127.0.0.1:${port}" }\n`);
  });

  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    server.close();
    rmSync(folder, { recursive: true });
  });

  it('is 0 and silent while the loop turns', async () => {
    answer = 200;
    expect(await healthcheck({ config })).toBe(0);
    expect(said).toEqual([]);
  });

  it('asks at status.listen where the runtime directory cannot be looked at', async () => {
    answer = 200;
    symlinkSync('loop', join(folder, 'loop'));
    for (const runtime of [join(config, 'run'), join(folder, 'loop/run')]) {
      vi.stubEnv('RUNTIME_DIRECTORY', runtime);
      expect(await healthcheck({ config })).toBe(0);
    }
    expect(said).toEqual([]);
  });

  it('is 1, with what the daemon says, when it does not', async () => {
    answer = 503;
    expect(await healthcheck({ config })).toBe(1);
    expect(said.join()).toContain('503');
  });

  it('is 1, never 2 or 3, for everything else: Docker knows two words only', async () => {
    server.close();
    await once(server, 'close');
    expect(await healthcheck({ config })).toBe(1);
    writeFileSync(config, 'status: { listen: off }\n');
    expect(await healthcheck({ config })).toBe(1);
    expect(await healthcheck({ config: join(folder, 'missing.yaml') })).toBe(1);
  });

  describe('with sockets in the runtime directory', () => {
    const sockets: Server[] = [];

    beforeEach(() => {
      vi.stubEnv('RUNTIME_DIRECTORY', folder);
      // A typo in a ConfigMap, for instance.
      writeFileSync(config, 'retry: { maxAttemps: 2 }\n');
      vi.stubEnv('OPENCODE_WATCHDOG_CONFIG', config);
    });

    afterEach(() => {
      vi.unstubAllEnvs();
      for (const each of sockets.splice(0)) each.close();
    });

    async function socketOf(url: string, status: number): Promise<void> {
      const daemon = createServer((_, res) => {
        res.writeHead(status, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ ok: status === 200 }));
      });
      daemon.listen(healthSocketPath(process.env, url));
      await once(daemon, 'listening');
      sockets.push(daemon);
    }

    it('is 0 while the loop turns, whatever the file on disk says by now', async () => {
      await socketOf('http://localhost:4096', 200);
      expect(await healthcheck({})).toBe(0);
      expect(said).toEqual([]);
    });

    it('is 1 when the daemon says so', async () => {
      await socketOf('http://localhost:4096', 503);
      expect(await healthcheck({})).toBe(1);
      expect(said.join()).toContain('503');
    });

    it.each([
      { OPENCODE_WATCHDOG_SERVER_URL: 'http://localhost:4101' },
      { OPENCODE_API_URL: 'http://localhost:4101' },
      { OPENCODE_WATCHDOG_CONFIG: '4101.yaml' },
    ])('does not take another daemon for the one that %o names', async (names) => {
      await socketOf('http://localhost:4096', 200);
      const own = 'status: { listen: off }\n';
      writeFileSync(config, own);
      writeFileSync(join(folder, '4101.yaml'), `server: { url: "http://localhost:4101" }\n${own}`);
      expect(await healthcheck({})).toBe(0);
      for (const [name, value] of Object.entries(names)) {
        vi.stubEnv(name, name.endsWith('CONFIG') ? join(folder, value) : value);
      }
      expect(await healthcheck({})).toBe(1);
      await socketOf('http://localhost:4101', 200);
      expect(await healthcheck({})).toBe(0);
    });

    it('needs a good configuration where no socket answers', async () => {
      expect(await healthcheck({})).toBe(1);
      expect(said.join()).toContain('maxAttemps');
    });

    it('needs it where the user has several daemons, and with a flag', async () => {
      await socketOf('http://localhost:4096', 200);
      expect(await healthcheck({ config })).toBe(1);
      expect(await healthcheck({ url: 'http://localhost:4101' })).toBe(1);
      expect(await healthcheck({ profile: 'no such' })).toBe(1);
      await socketOf('http://localhost:4101', 200);
      expect(await healthcheck({})).toBe(1);
      writeFileSync(config, 'status: { listen: off }\n');
      expect(await healthcheck({})).toBe(0);
      expect(await healthcheck({ url: 'http://localhost:4101' })).toBe(0);
      expect(await healthcheck({ url: 'http://localhost:4201' })).toBe(1);
    });
  });
});
