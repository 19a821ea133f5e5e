/** A server whose command starts a process that cannot be seen from here: under sudo, in a container. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SpawnControl } from '../../src/process/control/spawn.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

let habitat: Habitat;
beforeEach(async () => {
  habitat = await Habitat.make();
});
afterEach(() => habitat.clear());

/**
 * Starts the server in a session of its own and stays. No holder of the port is ever shown, as if another user owned
 * it.
 */
async function started() {
  const wrapper = join(habitat.dir, 'sudo.mjs');
  writeFileSync(
    wrapper,
    `import { spawn } from 'node:child_process';
     spawn(process.execPath, [${JSON.stringify(habitat.script)}, ...process.argv.slice(2)], { detached: true, stdio: 'ignore' }).unref();
     setInterval(() => {}, 1e6);`,
  );
  const control = new SpawnControl({
    ...habitat.options({ holders: async () => [] }),
    command: [process.execPath, wrapper, 'serve'],
  });
  const { pid } = await control.start(habitat.signal);
  return { control, pid: pid!, server: (await habitat.ask()).pid };
}

test('its command ends and the server answers on: nobody calls it dead', async () => {
  const { control, pid, server } = await started();
  expect(server).not.toBe(pid);
  process.kill(pid, 'SIGKILL');
  const notice = await waitFor(() => habitat.notices.find((each) => each.includes('answers on')));
  expect(notice).toContain('warn: the command that started the server has ended (by SIGKILL)');
  expect(habitat.exits).toEqual([]);
  expect((await habitat.ask()).pid).toBe(server);
  await control.dispose('leave');
});

test('its command ends and nothing answers any more: its end is told, once', async () => {
  const { control, pid, server } = await started();
  process.kill(server, 'SIGKILL');
  await waitFor(() =>
    habitat.ask().then(
      () => false,
      () => true,
    ),
  );
  process.kill(pid, 'SIGKILL');
  await waitFor(() => habitat.exits.length > 0);
  expect(habitat.exits).toEqual([{ pid, code: null, signal: 'SIGKILL' }]);
  await control.dispose('leave');
});
