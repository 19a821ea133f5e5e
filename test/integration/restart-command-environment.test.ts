import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { runCli } from '../support/command.js';

const SECRETS = ['hunter2-server', 'hunter2-alone', 'hooks.example'];

test('a restart command inherits what it needs, and neither a password nor a webhook’s URL', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'watchdog-environment-'));
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end('{"healthy":true,"version":"1.18.33"}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const seen = join(dir, 'seen');
    const config = join(dir, 'watchdog.yaml');
    writeFileSync(
      config,
      stringify({
        server: {
          url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          control: 'command',
          directory: dir,
          restartCommand: ['sh', '-c', `env > '${seen}'; exit 3`],
        },
        status: { listen: 'off' },
      }),
      { mode: 0o600 },
    );
    const { code, out, err } = await runCli(['restart', '--config', config], {
      cwd: dir,
      env: {
        PATH: process.env.PATH,
        HOME: dir,
        UNIT: 'opencode.service',
        OPENCODE_SERVER_PASSWORD: 'hunter2-server',
        OPENCODE_PASSWORD: 'hunter2-alone',
        OPENCODE_WATCHDOG_NOTIFY_WEBHOOKS:
          '[{"url":"https://hooks.example/secret","events":["session.stuck"]}]',
      },
    });
    expect(code, out + err).toBe(1);
    expect(out + err).toContain('exit code 3');
    const environment = readFileSync(seen, 'utf8');
    expect(environment).toContain('UNIT=opencode.service');
    for (const secret of SECRETS) {
      expect(environment).not.toContain(secret);
      expect(out + err).not.toContain(secret);
    }
  } finally {
    server.close();
    server.closeAllConnections();
    rmSync(dir, { recursive: true, force: true });
  }
});
