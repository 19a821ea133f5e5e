import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { runCli } from '../support/command.js';
import { startFakeOpencode } from '../support/fake-opencode.js';
import { routes } from '../support/fake-opencode-routes.js';

routes['GET /config'] ??= () => ({ model: 'fake/m1' });

const ends: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const check = (url: string) =>
  runCli(['check', '--url', url], { env: { PATH: '/nonexistent', HOME: '/nonexistent' } });

it('is green where a server answers, and the missing binary is a warning', async () => {
  const server = await startFakeOpencode();
  ends.push(() => server.stop());
  const { code, out } = await check(server.url);
  expect(out).toMatch(/^warn {2}binary .*npm i -g opencode-ai/m);
  expect(out).toMatch(/^ok {4}model /m);
  expect(code).toBe(0);
});

it('is red without a binary where no server answers', async () => {
  const { code, out } = await check('http://127.0.0.1:9');
  expect(out).toMatch(/^FAIL {2}binary /m);
  expect(out).toMatch(/^FAIL {2}server .*check --start/m);
  expect(code).toBe(3);
});

it('says of a stranger on the port how to find out who it is', async () => {
  const stranger = createServer((socket) => socket.end('220 mail.example ready\r\n'));
  stranger.listen(0, '127.0.0.1');
  await once(stranger, 'listening');
  ends.push(async () => stranger.close());
  const { port } = stranger.address() as AddressInfo;
  const { code, out } = await check(`http://127.0.0.1:${port}`);
  expect(out).toMatch(/^FAIL {2}server .*ss -ltnp/m);
  expect(code).toBe(3);
});
