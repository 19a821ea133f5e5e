/** The library takes its options from opencode's own variables. */
import { expect, it, onTestFinished } from 'vitest';
import { OpencodeDriver } from '../../../../src/index.js';
import { startFakeOpencode } from '../../../support/fake-opencode.js';

it('prefers OPENCODE_PASSWORD, as the daemon and OpenCode 2 do', async () => {
  const server = await startFakeOpencode({ password: 'the-right-one' });
  onTestFinished(() => server.stop());
  const isUp = async (env: Record<string, string>) => {
    const driver = OpencodeDriver.fromEnv({}, { OPENCODE_API_URL: server.url, ...env });
    onTestFinished(() => driver.close());
    return driver.assertUp().then(
      () => true,
      () => false,
    );
  };
  const wrong = 'a-wrong-one';
  const right = 'the-right-one';
  expect(await isUp({ OPENCODE_PASSWORD: right, OPENCODE_SERVER_PASSWORD: wrong })).toBe(true);
  expect(await isUp({ OPENCODE_PASSWORD: wrong, OPENCODE_SERVER_PASSWORD: right })).toBe(false);
  expect(await isUp({ OPENCODE_SERVER_PASSWORD: right })).toBe(true);
});
