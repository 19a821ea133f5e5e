import { chmodSync, cpSync, existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { Config } from '../../src/config/schema.js';
import { statusTokenFile } from '../../src/config/status-token.js';
import { type CommandOptions, runProgram } from '../support/command.js';
import { CLI, startDaemon, type TestDaemon } from '../support/daemon.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';
import { isRoot, needsRoot, OTHER_UID } from '../support/other-user.js';
import { freePort } from '../support/ports.js';

let folder: string;
let server: FakeOpencode;
let daemon: TestDaemon;
let port: number;
let file: string;
const env = () => ({ PATH: process.env.PATH, HOME: folder, XDG_RUNTIME_DIR: folder });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watchdog-access-'));
  server = await startFakeOpencode();
  port = await freePort();
  const config = {
    server: { url: server.url, control: 'observe' },
    status: { listen: `127.0.0.1:${port}` },
  };
  file = join(folder, 'config.yaml');
  await writeFile(file, stringify(config));
  daemon = await startDaemon({ config, env: env() });
  await Promise.all([daemon.saw('status.listening'), daemon.saw('stream.connected')]);
});
afterAll(async () => {
  await daemon?.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

function run(
  args: string[],
  more: NodeJS.ProcessEnv = {},
  as: Pick<CommandOptions, 'cwd' | 'uid' | 'gid'> = {},
  cli = CLI,
) {
  const options = { env: { ...env(), ...more }, cwd: folder, ...as };
  return runProgram(process.execPath, [cli, ...args], options);
}

const tokenFile = () =>
  statusTokenFile(
    { status: { tokenFile: null }, server: { url: server.url } } as Config,
    env(),
    '/',
  );

describe('the daemon’s own user', () => {
  it('acts and sees content by the token that the daemon has made', async () => {
    const { id } = server.addSession({ title: 'Buy the rival', directory: '/home/ada/rival' });
    server.setStatus(id, { type: 'busy' });
    await daemon.saw('session.health', { sessionID: id });
    const token = readFileSync(tokenFile(), 'utf8').trim();
    const page = await run(['page', '--config', file]);
    expect(page).toEqual({ code: 0, out: `http://127.0.0.1:${port}/#token=${token}\n`, err: '' });
    expect((await run(['status', '--config', file])).out).toContain('Buy the rival');
    expect((await run(['pause', '--config', file])).code).toBe(0);
    expect((await run(['resume', '--config', file])).code).toBe(0);
    expect(daemon.output()).not.toContain(token);
  });

  it('asks for health over the unix socket', async () => {
    expect(await run(['healthcheck', '--config', file])).toEqual({ code: 0, out: '', err: '' });
    const url = new URL(server.url);
    const other = join(folder, 'no-port.yaml');
    // Nothing listens at this address, so only the socket can have answered.
    await writeFile(
      other,
      stringify({ server: { url: url.origin }, status: { listen: '127.0.0.1:1' } }),
    );
    expect((await run(['healthcheck', '--config', other])).code).toBe(0);
    expect((await run(['healthcheck', '--config', other], { XDG_RUNTIME_DIR: '' })).code).toBe(1);
  });
});

describe('who does not have the token', () => {
  it('gets ids and numbers, the file’s name, and exit code 4', async () => {
    const elsewhere = { HOME: join(folder, 'elsewhere') };
    const seen = await run(['status', '--config', file], elsewhere);
    expect(seen.code).toBe(4);
    expect(seen.out).toContain('healthy');
    expect(seen.out).not.toContain('rival');
    expect(seen.err).toContain(tokenFile());
    for (const args of [['pause'], ['resume'], ['restart'], ['abort', 'ses_1'], ['page']]) {
      const { code, err } = await run([...args, '--config', file], elsewhere);
      expect([code, err], args.join()).toEqual([4, expect.stringContaining(tokenFile())]);
    }
    expect(daemon.events('daemon.paused')).toHaveLength(1);
  });

  it.skipIf(!isRoot)(
    `is told the sudo -u line as another user, and that line works${needsRoot}`,
    async () => {
      // Other users may not read the daemon's home, nor the folder of this test.
      const open = await mkdtemp(join(tmpdir(), 'watchdog-open-'));
      cpSync(dirname(CLI), join(open, 'dist'), { recursive: true });
      cpSync(file, join(open, 'config.yaml'));
      cpSync(join(dirname(CLI), '../package.json'), join(open, 'package.json'));
      chmodSync(open, 0o755);
      const cli = join(open, 'dist/cli.js');
      const args = ['pause', '--config', join(open, 'config.yaml')];
      try {
        const as = { uid: OTHER_UID, gid: OTHER_UID, cwd: open };
        const refused = await run(args, { HOME: open, XDG_RUNTIME_DIR: '' }, as, cli);
        const line = `sudo -u root env OPENCODE_WATCHDOG_STATUS_TOKENFILE=${tokenFile()} opencode-watchdog ${args.join(' ')}`;
        expect(refused).toEqual({ code: 4, out: '', err: expect.stringContaining(line) });
        // What `sudo -u root` would run, here run by root itself.
        const more = { OPENCODE_WATCHDOG_STATUS_TOKENFILE: tokenFile(), HOME: open };
        expect((await run(args, more)).code).toBe(0);
        expect((await run(['resume', ...args.slice(1)], more)).code).toBe(0);
      } finally {
        await rm(open, { recursive: true });
      }
    },
  );
});

describe('a file of the working directory', () => {
  it('ends commands that act with 2 and is left out by those that read, until it is trusted', async () => {
    const clone = await mkdtemp(join(folder, 'clone-'));
    const marker = join(folder, 'was-run');
    const hostile = { server: { command: ['touch', marker], url: server.url } };
    await writeFile(join(clone, 'opencode-watchdog.yaml'), stringify(hostile));
    for (const args of [['run'], ['check', '--start'], ['abort', 'ses_1'], ['restart']]) {
      const { code, err } = await run(args, {}, { cwd: clone });
      expect([code, err], args.join()).toEqual([
        2,
        expect.stringMatching(
          /sets server\.command, server\.url: .*opencode-watchdog config trust/,
        ),
      ]);
    }
    const shown = await run(['config'], {}, { cwd: clone });
    expect([shown.code, shown.err.trim().split('\n').length]).toEqual([0, 1]);
    expect(shown.err).toContain('server.command, server.url of it are left out');
    expect(shown.out).toContain('http://localhost:4096');
    expect((await run(['config', 'trust'], {}, { cwd: clone })).code).toBe(0);
    const trusted = await run(['config'], {}, { cwd: clone });
    expect([trusted.err, trusted.out]).toEqual(['', expect.stringContaining(server.url)]);
    expect(existsSync(marker)).toBe(false);
  });
});
