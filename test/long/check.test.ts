import { afterAll, beforeAll, expect, test } from 'vitest';
import { runInHome } from '../support/command.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { prepareHome, startOpencode } from '../support/opencode.js';
import { freePort } from '../support/ports.js';

let provider: FakeProvider;
let home: Awaited<ReturnType<typeof prepareHome>>;

beforeAll(async () => {
  provider = await startFakeProvider();
  home = await prepareHome(provider);
});
afterAll(async () => {
  await home.remove();
  await provider.stop();
});

test('a model that no provider has is red with the nearest that is known; a refused password is exit code 4, and is not printed', async () => {
  const other = await prepareHome(provider, { config: { model: 'fake/m11' } });
  const server = await startOpencode({ provider, home: other, password: 'right-pa55word' });
  const asked = (password: string) =>
    runInHome(home, ['check', '--url', server.url], { OPENCODE_SERVER_PASSWORD: password });
  try {
    // The first request for the providers takes the longest, on a busy machine longer than `check` waits.
    await server.api.call('GET', '/config/providers');
    await server.api.call('GET', '/config/providers', home.directory);
    const unknown = await asked('right-pa55word');
    expect(unknown.out).toMatch(/^FAIL {2}model .*fake\/m11; did you mean fake\/m1\?/m);
    expect(unknown.code).toBe(1);

    const refused = await asked('wrong-pa55word');
    expect(refused.code).toBe(4);
    expect(refused.out).toMatch(/^FAIL {2}server .*OPENCODE_SERVER_PASSWORD/m);
    expect(refused.out + refused.err).not.toContain('wrong-pa55word');
  } finally {
    await server.stop();
    await other.remove();
  }
});

test('a binary that is not there is red, and says how to install it', async () => {
  const result = await runInHome(home, ['check', '--url', `http://127.0.0.1:${await freePort()}`], {
    PATH: '/nonexistent',
  });
  expect(result.out).toMatch(/^FAIL {2}binary .*npm i -g opencode-ai/m);
  expect(result.code).toBe(3);
});
