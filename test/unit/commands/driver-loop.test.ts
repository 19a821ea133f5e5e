/** Which loops the driver's commands end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { drive } from '../../../src/commands/driver-commands.js';
import { prompted } from '../../support/driver-replies.js';
import { type FakeOpencode, startFakeOpencode } from '../../support/fake-opencode.js';

let folder: string;
let server: FakeOpencode;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'watchdog-loop-'));
  for (const name of ['HOME', 'XDG_STATE_HOME', 'XDG_CONFIG_HOME']) vi.stubEnv(name, folder);
  server = await startFakeOpencode();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

it('a run that reaches the limit of the configuration is ended', async () => {
  vi.stubEnv('OPENCODE_WATCHDOG_LOOP_MAXEMPTYSTEPS', '3');
  await drive({ url: server.url }, async ({ driver }) => {
    const ended = expect(driver.prompt({ prompt: 'x' })).rejects.toMatchObject({
      kind: 'loop',
      message: expect.stringContaining('3 steps in a row held nothing'),
    });
    const { id: sessionID } = await prompted(server);
    for (const messageID of ['msg_1', 'msg_2', 'msg_3']) {
      const info = { id: messageID, sessionID, role: 'assistant' };
      const part = { id: `prt_${messageID}`, messageID, sessionID, type: 'step-finish' };
      server.emit({ type: 'message.updated', properties: { info } });
      server.emit({
        type: 'message.part.updated',
        properties: { part: { ...part, reason: 'tool-calls' } },
      });
    }
    await ended;
    return 0;
  });
});
