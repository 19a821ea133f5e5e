import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../support/command.js';
import { freePort } from '../support/ports.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'watchdog-cli-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs the command as a user would, in an empty home. */
const run = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  runCli(args, { cwd: dir, env: { PATH: process.env.PATH, HOME: dir, ...env } });

describe('opencode-watchdog config', () => {
  it('prints the effective configuration to stdout and nothing to stderr', async () => {
    const { code, out, err } = await run(['config', '--url', 'http://127.0.0.1:5000']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^ {2}url: http:\/\/127\.0\.0\.1:5000 +# from flag --url$/m);
  });

  it('prints JSON for machines', async () => {
    const { code, out } = await run(['config', '--json', '--dry-run']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      file: null,
      config: { dryRun: true, probe: { interval: '5s', maxFailures: 3 } },
      origins: { dryRun: 'flag --dry-run', 'probe.interval': 'default' },
    });
  });

  it('ends with 2 and every problem on stderr for a wrong configuration', async () => {
    const file = join(dir, 'wrong.yaml');
    writeFileSync(
      file,
      'retry: { maxAttempts: five, maxWate: 1 }\nserver: { password: hunter2 }\n',
    );
    const { code, out, err } = await run(['config', '--config', file]);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err.split('\n')).toEqual([
      'opencode-watchdog: 3 problems in the configuration:',
      `  retry.maxWate      expected a known key; the nearest is retry.maxWait  (file ${file}:1)`,
      expect.stringMatching(/^ {2}server\.password {4}is \[secret\]; expected no password in a/),
      `  retry.maxAttempts  is "five"; expected a whole number of at least 1  (file ${file}:1)`,
      '',
    ]);
  });

  it('only validates with --check, for people and for machines', async () => {
    expect(await run(['config', '--check'])).toEqual({
      code: 0,
      out: '',
      err: 'opencode-watchdog: the configuration is good (file: none, defaults only)\n',
    });
    const wrong = await run(['config', '--check', '--json'], { OPENCODE_WATCHDOG_DRYRUN: 'maybe' });
    expect(wrong.code).toBe(2);
    expect(JSON.parse(wrong.out)).toEqual({
      ok: false,
      problems: [
        {
          key: 'dryRun',
          value: '"maybe"',
          expected: 'true or false',
          source: 'environment OPENCODE_WATCHDOG_DRYRUN',
        },
      ],
    });
  });

  it('shows no secret, whatever the place it was given in', async () => {
    writeFileSync(join(dir, 'pw'), 'hunter2\n');
    const outputs = await Promise.all([
      run(['config'], { OPENCODE_SERVER_PASSWORD: 'hunter2' }),
      run(['config', '--json'], { OPENCODE_WATCHDOG_SERVER_PASSWORDFILE: 'pw' }),
      run(['config', '--url', 'http://opencode:hunter2@localhost:4096']),
      run(['config'], { OPENCODE_API_URL: 'opencode:hunter2@localhost:4096' }),
      run(['config'], { OPENCODE_WATCHDOG_SERVER_PASSWORD: 'hunter2' }),
    ]);
    expect(outputs.map(({ code }) => code)).toEqual([0, 0, 2, 2, 2]);
    for (const { out, err } of outputs) expect(out + err).not.toContain('hunter2');
  });
});

describe('the command line', () => {
  it.each([
    [['confg'], "error: unknown command 'confg'\n(Did you mean config?)\n"],
    [['config', '--jsn'], "error: unknown option '--jsn'\n(Did you mean --json?)\n"],
    [['config', '--url'], "error: option '--url <url>' argument missing\n"],
    [['config', 'more'], 'opencode-watchdog: config "more": expected nothing, or trust [FILE]\n'],
  ])('answers %j with exit code 2', async (args, err) => {
    expect(await run(args)).toEqual({ code: 2, out: '', err });
  });

  it.each([
    ['prompt', 'Hello'],
    ['models'],
    ['sweep'],
    ['mcp'],
    ['abort', 'ses_1'],
    ['restart'],
    ['pause'],
    ['status'],
    ['page'],
    ['report'],
  ])('%s takes --profile as run does', async (...args) => {
    const { code, out, err } = await run([...args, '--profile', 'nosuch']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('profile  is "nosuch"; expected one of default, unattended, strict');
  });

  it('runs the daemon when no command is named, but not with a wrong configuration', async () => {
    for (const args of [
      ['--url', 'nowhere'],
      ['run', '--url', 'nowhere'],
    ]) {
      const { code, out, err } = await run(args);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toContain('server.url  is "nowhere"; expected an http or https URL');
    }
    expect(await run(['--dry-rum'])).toMatchObject({
      code: 2,
      err: "error: unknown option '--dry-rum'\n(Did you mean --dry-run?)\n",
    });
  });

  it('does not run where the server command is nowhere to be found, and says how to get it', async () => {
    const port = await freePort();
    const args = ['run', '--url', `http://127.0.0.1:${port}`];
    const env = { OPENCODE_WATCHDOG_SERVER_COMMAND: '[opencode-that-is-not-there, serve]' };
    const { code, err } = await run(args, { ...env, OPENCODE_WATCHDOG_STATUS_LISTEN: 'off' });
    expect(code).toBe(2);
    expect(err).toBe(
      'opencode-watchdog: server.command: "opencode-that-is-not-there" is not in the PATH: install it with "npm i -g opencode-ai", or set server.command\n',
    );
  });

  it.each([
    { name: 'systemd', of: { NOTIFY_SOCKET: '/nonexistent/notify' } },
    { name: 'launchd', of: { XPC_SERVICE_NAME: 'opencode-watchdog' } },
  ])('waits for the server command under $name, as long as the breaker lets it', async ({ of }) => {
    const port = await freePort();
    const { code, out } = await run(['run', '--url', `http://127.0.0.1:${port}`], {
      ...of,
      OPENCODE_WATCHDOG_SERVER_COMMAND: '[opencode-that-is-not-there, serve]',
      OPENCODE_WATCHDOG_RESTART_MAXRESTARTS: '1',
      OPENCODE_WATCHDOG_RESTART_BACKOFF_INITIAL: '10ms',
      OPENCODE_WATCHDOG_RESTART_GIVEUP: 'exit',
      OPENCODE_WATCHDOG_STATUS_LISTEN: 'off',
    });
    expect(code).toBe(5);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const failed = lines.filter(({ event }) => event === 'server.restart_failed');
    expect(failed.map(({ reason }) => reason)).toEqual(['start', 'exited']);
    expect(failed[0].error).toContain('"opencode-that-is-not-there" was not found');
    expect(lines.map(({ event }) => event)).toContain('server.breaker_open');
  });

  it('does not run where it cannot write the recording that was asked for, and says so without a stack', async () => {
    const file = join(dir, 'missing', 'r.ndjson');
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, err } = await run(['run', '--dry-run', '--url', url, '--record', file], {
      OPENCODE_WATCHDOG_SERVER_CONTROL: 'observe',
      OPENCODE_WATCHDOG_STATUS_LISTEN: 'off',
    });
    expect(code).toBe(2);
    expect(err).toMatch(
      /^opencode-watchdog: --record \S+r\.ndjson: it cannot be written \(ENOENT.*\)\. Name a file .*\n$/,
    );
  });

  it('prints version and help of every command to stdout', async () => {
    expect(await run(['--version'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    expect(await run(['config', '--version'])).toMatchObject({ code: 0, err: '' });
    expect(await run(['config', '--help'])).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringContaining('--config <file>'),
    });
  });
});
