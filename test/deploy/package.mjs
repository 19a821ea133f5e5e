/** What `npm i` brings: how much, and that the command and the library work with nothing else. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT, pack } from './app.mjs';
import { assert, check, part } from './report.mjs';
import { must, sh } from './shell.mjs';

/** A step above what it is: whoever adds a package shall notice. */
const MAX_PACKAGES = 25;
const MAX_MIB = 15;

/** No server is there: the error must still be the driver's own. */
const PROGRAM = `
import { DriverError, OpencodeDriver, renderTranscript } from 'opencode-watchdog';
const driver = new OpencodeDriver({ url: 'http://127.0.0.1:9' });
const error = await driver.sessions().catch((reason) => reason);
if (!(error instanceof DriverError) || error.kind !== 'unreachable') throw error;
if (typeof renderTranscript !== 'function') throw new Error('renderTranscript');
const { OpencodeDriver: Alone } = await import('opencode-watchdog/driver');
if (Alone !== OpencodeDriver) throw new Error('opencode-watchdog/driver is another library');
const { url } = OpencodeDriver.fromEnv({}, { OPENCODE_API_URL: 'http://127.0.0.1:10' });
if (url !== 'http://127.0.0.1:10') throw new Error(url);
`;
const TYPES = `
import { type Message, OpencodeDriver, type Swept } from 'opencode-watchdog';
const driver = new OpencodeDriver({ url: 'http://127.0.0.1:9' });
export const said = (message: Message, swept: Swept): string => \`\${message.text}\${swept.ended.length}\${driver.url}\`;
import { type OpencodeDriver as Alone, type Reply, type StreamEvent } from 'opencode-watchdog/driver';
export const told = (alone: Alone): AsyncIterable<StreamEvent> =>
  alone.stream({ prompt: 'x', schema: { type: 'object' }, timeoutMs: 1_000 });
export const form = (reply: Reply): unknown => reply.structured ?? reply.tokens?.input;
// @ts-expect-error a type of the package that is not found would be any, and this would pass
export const wrong = (message: Message): number => message.text;
`;
const TSCONFIG = {
  compilerOptions: { module: 'nodenext', strict: true, skipLibCheck: false, noEmit: true },
  files: ['program.ts'],
};

export async function packageOf(lab) {
  part('package');
  const folder = join(lab, 'package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const tarball = await pack(join(lab, 'pack'));
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');

  const installed = await check(
    `it brings at most ${MAX_PACKAGES} packages and ${MAX_MIB} MiB, and no warning about Node`,
    async () => {
      const flags = ['--no-audit', '--no-fund', '--no-package-lock'];
      const { code, out, err } = await sh('npm', ['install', ...flags, tarball], { cwd: folder });
      assert(code === 0, err);
      assert(!/EBADENGINE|deprecated/.test(err), err);
      const packages = Number(/added (\d+) package/.exec(out)?.[1]);
      const kib = Number.parseInt(await must('du', ['-sk', join(folder, 'node_modules')]), 10);
      assert(packages <= MAX_PACKAGES && kib <= MAX_MIB * 1024, `${packages}, ${kib} KiB`);
      return `${packages} packages, ${(kib / 1024).toFixed(1)} MiB`;
    },
  );
  if (!installed) return;

  await check('the library works with what was installed, and so do its types', async () => {
    writeFileSync(join(folder, 'program.js'), PROGRAM);
    await must(process.execPath, ['program.js'], { cwd: folder });
    writeFileSync(join(folder, 'program.ts'), TYPES);
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
    mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
    for (const name of ['@types/node', 'undici-types']) {
      symlinkSync(join(PROJECT, 'node_modules', name), join(folder, 'node_modules', name));
    }
    await must(join(PROJECT, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: folder });
  });

  await check('the command works without any package', async () => {
    const alone = join(lab, 'alone');
    rmSync(alone, { recursive: true, force: true });
    mkdirSync(alone);
    await must('tar', ['xzf', tarball, '-C', alone]);
    const cli = join(alone, 'package/dist/cli.js');
    // These load packages that only they need: node-cron and pino-pretty.
    const env = {
      ...process.env,
      HOME: alone,
      OPENCODE_WATCHDOG_RECYCLE_SCHEDULE: '0 4 * * *',
      OPENCODE_WATCHDOG_SERVER_CONTROL: 'observe',
      OPENCODE_WATCHDOG_STATUS_LISTEN: 'off',
    };
    const run = [cli, 'run', '--log-format', 'pretty', '--url', 'http://127.0.0.1:9'];
    const args = ['--preserve-status', '10', process.execPath, ...run];
    assert(/INFO +daemon\.stopped/.test(await must('timeout', args, { cwd: alone, env })));
    return must(process.execPath, [cli, '--version']);
  });
}
