import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { drive } from '../../src/commands/driver-commands.js';
import { makePassword } from '../../src/config/made-password.js';
import { SystemClock } from '../../src/lib/clock.js';
import { serverStateDir } from '../../src/lib/state-dir.js';
import { acquireLock } from '../../src/process/lock.js';
import { runCli } from '../support/command.js';
import { startFakeOpencode } from '../support/fake-opencode.js';
import { routes } from '../support/fake-opencode-routes.js';
import { isRoot, needsRoot } from '../support/other-user.js';
import { waitFor } from '../support/wait.js';
import { Habitat } from '../unit/process/support.js';

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

it('looks for a relative command where the server is started, and gives it no password', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'watchdog-check-'));
  ends.push(async () => rmSync(folder, { recursive: true, force: true }));
  const says = '#!/bin/sh\n[ -z "$OPENCODE_SERVER_PASSWORD" ] && echo 1.2.3\n';
  writeFileSync(join(folder, 'opencode'), says, { mode: 0o755 });
  const env = { PATH: process.env.PATH, HOME: folder, OPENCODE_SERVER_PASSWORD: 'secret' };
  const checkFrom = async (directory: string, program = './opencode') => {
    const server = { url: 'http://127.0.0.1:9', command: [program, 'serve'], directory };
    const file = join(folder, 'config.json');
    writeFileSync(file, JSON.stringify({ server }));
    return (await runCli(['check', '--config', file], { env })).out;
  };
  expect(await checkFrom(folder)).toMatch(/^ok {4}binary {5}opencode 1\.2\.3 at \S+$/m);
  const missing = join(folder, 'missing');
  expect(await checkFrom(missing)).toMatch(/^FAIL {2}binary .*".\/opencode" is not there/m);
  expect(await checkFrom(missing, join(folder, 'opencode'))).toMatch(
    /^FAIL {2}binary .* working directory \S+\/missing cannot be used/m,
  );
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

/** A configuration whose server, or restart command, writes its environment to `seen` and fails. */
function startsWitness({ server = {}, ...more }: { server?: object; dryRun?: boolean } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'watchdog-check-'));
  ends.push(async () => rmSync(folder, { recursive: true, force: true }));
  const seen = join(folder, 'seen');
  const url = 'http://127.0.0.1:9';
  const command = ['/bin/sh', '-c', `env > '${seen}'; exit 1`];
  const config = {
    server: {
      url,
      directory: folder,
      command,
      restartCommand: command,
      startTimeout: '3s',
      ...server,
    },
    status: { listen: 'off' },
    ...more,
  };
  const file = join(folder, 'config.yaml');
  writeFileSync(file, JSON.stringify(config));
  return { file, folder, seen, url };
}

it('a dry run starts and restarts nothing, and says what it would do', async () => {
  const { file, folder, seen } = startsWitness({ dryRun: true });
  const run = (...args: string[]) =>
    runCli([...args, '--config', file], { env: { PATH: process.env.PATH, HOME: folder } });
  const checked = await run('check', '--start');
  expect(checked.out).toMatch(/^FAIL {2}server .*would be started/m);
  expect(checked.code).toBe(3);
  const restarted = await run('restart');
  expect(restarted).toMatchObject({ code: 1, err: expect.stringContaining('would be restarted') });
  await drive({ config: file }, async ({ driver }) => {
    await expect(driver.check({ start: true })).rejects.toThrow('would be started');
    return 0;
  });
  expect(existsSync(seen)).toBe(false);
});

it('a server that is not ours to start is started by neither a command nor the driver', async () => {
  const { file, folder, seen } = startsWitness({ server: { control: 'external' } });
  const env = { PATH: process.env.PATH, HOME: folder };
  const checked = await runCli(['check', '--start', '--config', file], { env });
  expect(checked.out).toMatch(/^FAIL {2}server .*server\.control is external: its own supervisor/m);
  expect(checked.code).toBe(3);
  await drive({ config: file }, async ({ driver }) => {
    await expect(driver.check({ start: true })).rejects.toThrow('server.control is external');
    return 0;
  });
  expect(existsSync(seen)).toBe(false);
});

it('the driver of root does not start the server of another user as root', async () => {
  const { file, seen } = startsWitness({ server: { user: 'nobody' } });
  const root = vi.spyOn(process as { geteuid(): number }, 'geteuid').mockReturnValue(0);
  ends.push(async () => root.mockRestore());
  await drive({ config: file }, async ({ driver }) => {
    await expect(driver.check({ start: true })).rejects.toThrow('server.user is "nobody"');
    return 0;
  });
  expect(existsSync(seen)).toBe(false);
});

it.skipIf(!isRoot)(
  `root does not run a file of server.user to ask its version${needsRoot}`,
  async () => {
    const server = { user: 'nobody', command: ['./opencode', 'serve'] };
    const { file, folder, seen } = startsWitness({ server });
    writeFileSync(join(folder, 'opencode'), `#!/bin/sh\necho 1.2.3 > '${seen}'\n`, { mode: 0o755 });
    const { out } = await runCli(['check', '--config', file], {
      env: { PATH: process.env.PATH, HOME: folder },
    });
    expect(out).toMatch(/^- {5}binary {5}\S+\/opencode; its version is not asked: root /m);
    await drive({ config: file }, async ({ driver }) => {
      expect(await driver.check()).toMatchObject({
        binary: { found: true, notAsked: expect.stringContaining('nobody') },
      });
      return 0;
    });
    expect(existsSync(seen)).toBe(false);
  },
);

it('two commands that start the server at once start one, and both find it', async () => {
  const habitat = await Habitat.make();
  ends.push(() => habitat.clear());
  const file = join(habitat.dir, 'config.yaml');
  const { url, command } = habitat;
  writeFileSync(file, JSON.stringify({ server: { url, command, directory: habitat.dir } }));
  const env = habitat.env({ FAKE: 'slow' });
  const start = () => runCli(['check', '--start', '--config', file], { env });
  const both = Promise.all([start(), start()]);
  const files = () => readdirSync(habitat.dir, { recursive: true }).map(String);
  await waitFor(() => files().some((name) => name.endsWith('/server.json')), { what: 'a start' });
  writeFileSync(join(habitat.dir, 'go'), '');
  for (const { out } of await both) expect(out).toMatch(/^ok {4}server /m);
  expect(habitat.processes()).toHaveLength(1);
});

it('a server that a daemon watches is left to that daemon', async () => {
  const { file, folder, seen, url } = startsWitness({ server: { startTimeout: '300ms' } });
  vi.stubEnv('XDG_STATE_HOME', folder);
  ends.push(async () => vi.unstubAllEnvs());
  const { env, ppid: pid } = process;
  // The lock of another living process.
  const stateDir = serverStateDir(env, url);
  const lock = await acquireLock({ url, env, stateDir, clock: new SystemClock(), pid });
  ends.push(async () => lock.release());
  const checked = await runCli(['check', '--start', '--config', file], { env });
  const says = `opencode-watchdog (pid ${pid}) watches this server, so only that daemon starts it`;
  expect(checked.out).toContain(`FAIL  server     ${says}`);
  expect(checked.code).toBe(3);
  await drive({ config: file }, async ({ driver }) => {
    await expect(driver.check({ start: true })).rejects.toThrow(says);
    return 0;
  });
  expect(existsSync(seen)).toBe(false);
});

it('a password that we made reaches a started server by no variable that opencode 1.x reads', async () => {
  const { file, folder, seen, url } = startsWitness();
  for (const name of ['OPENCODE_PASSWORD', 'OPENCODE_SERVER_PASSWORD', 'STATE_DIRECTORY']) {
    vi.stubEnv(name, undefined);
  }
  vi.stubEnv('XDG_STATE_HOME', folder);
  ends.push(async () => vi.unstubAllEnvs());
  makePassword(process.env, url);
  await drive({ config: file }, async ({ driver }) => {
    await driver.check({ start: true }).catch(() => {});
    return 0;
  });
  const names = readFileSync(seen, 'utf8').match(/^OPENCODE_\w*PASSWORD(?==)/gm);
  expect(names).toEqual(['OPENCODE_PASSWORD']);
});
