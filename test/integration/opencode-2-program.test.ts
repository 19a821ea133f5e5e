/** Tests the fake OpenCode 2 as a program against points 10 and 11 of opencode-2-facts, section 13. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askOpencode2, Opencode2Home } from '../support/opencode-2-home.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';

let home: Opencode2Home;
beforeEach(async () => {
  home = await Opencode2Home.make();
});
afterEach(() => home.clear());

function opencode(words: string[], env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(home.program, words, { env: home.env(env) });
  const said: string[] = [];
  child.stdout?.on('data', (text) => said.push(String(text)));
  child.stderr?.on('data', (text) => said.push(String(text)));
  return { child, said: () => said.join('') };
}
const ready = (said: () => string) =>
  waitFor(() => /^server listening on (\S+)$/m.exec(said())?.[1], { what: 'the ready line' });
const registered = () =>
  waitFor(async () => {
    const known = home.registration();
    const { status } = await askOpencode2(known.url, known.password)('/api/info');
    return status === 200 ? known : undefined;
  });

describe('point 11: ports and passwords', () => {
  it('takes the next free port without one, and ends where the one it is given is taken', async () => {
    const env = { FAKE2_PORT: String(home.port), OPENCODE_PASSWORD: 'pw' };
    const first = opencode(['serve'], env);
    expect(await ready(first.said)).toBe(home.url);
    const second = opencode(['serve'], env);
    expect(await ready(second.said)).not.toBe(home.url);
    const third = opencode(['serve', '--port', String(home.port)], env);
    const [code] = await once(third.child, 'exit');
    expect(code).toBe(1);
    expect(first.said()).not.toContain('server password');
  });

  it('boots as 503 says, and prints a password of its own where it was given none', async () => {
    const { said } = opencode(['serve', '--port', String(home.port)], { FAKE2_BOOT_MS: '500' });
    const starting = await waitFor(async () => {
      const { status } = await askOpencode2(home.url, 'x')('/api/session');
      return status;
    });
    expect(starting).toBe(401);
    await ready(said);
    const [, password = ''] = await waitFor(() => /^server password ([\w-]{43})$/m.exec(said()));
    expect((await askOpencode2(home.url, password)('/api/info')).status).toBe(200);
  });
});

describe('point 10: the background service', () => {
  it('ends itself when its registration is gone or names another', async () => {
    opencode(['serve', '--service'], { FAKE2_WATCH_MS: '100' });
    const { pid } = await registered();
    rmSync(join(home.dir, 'state/opencode/service.json'));
    await waitFor(() => !isAlive(pid), { what: 'its end' });
  });

  it('is given no password by the environment, and has the same one after a restart', async () => {
    opencode(['serve', '--service'], { OPENCODE_PASSWORD: 'pw' });
    const before = await registered();
    expect(before.password).not.toBe('pw');
    await once(opencode(['service', 'restart']).child, 'exit');
    const after = await registered();
    expect(after.pid).not.toBe(before.pid);
    expect((await askOpencode2(home.url, after.password)('/api/info')).json).toMatchObject({
      pid: after.pid,
    });
  });

  it('goes on with the runs that a shutdown has cut, and says so in the transcript', async () => {
    opencode(['serve', '--service']);
    const { password } = await registered();
    const ask = askOpencode2(home.url, password);
    const made = await ask('/api/session', { location: { directory: home.directory } });
    const { id } = (made.json as { data: { id: string } }).data;
    await ask(`/api/session/${id}/prompt`, { text: '[[text 60000]]' });
    await once(opencode(['service', 'restart']).child, 'exit');
    const again = askOpencode2(home.url, (await registered()).password);
    expect((await again('/api/session/active')).json).toEqual({
      data: { [id]: { type: 'running' } },
    });
    const { json } = await again(`/api/session/${id}/message`);
    const types = (json as { data: { type: string }[] }).data.map(({ type }) => type);
    expect(types).toContain('synthetic');
  });
});
