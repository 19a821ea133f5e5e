/**
 * The fake OpenCode 2 as a program: `opencode serve` and `opencode service`, points 10 and 11 of opencode-2-facts,
 * section 13. `Opencode2Home` bundles it into one file.
 *
 * $FAKE2_BOOT_MS: how long it answers 503 (100). $FAKE2_PORT: the first port that is tried without `--port` (4096).
 * $FAKE2_WATCH_MS: how often a service reads its registration (5000). $FAKE2_CHANNEL: the release channel of the build.
 */
import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Fake2Session, FakeOpencode2 } from './fake-opencode-2.js';
import { behave } from './opencode-2-behaviours.js';

const { env } = process;
const VERSION = '2.0.26';
const BOOT_MS = Number(env.FAKE2_BOOT_MS ?? 100);
const FIRST_PORT = Number(env.FAKE2_PORT ?? 4096);
const WATCH_MS = Number(env.FAKE2_WATCH_MS ?? 5_000);
const CHANNEL = env.FAKE2_CHANNEL ? `-${env.FAKE2_CHANNEL}` : '';
/** 0xc0de. A test uses a port of its own. */
const SERVICE_PORT = Number(env.FAKE2_SERVICE_PORT ?? 49_374);
const HOME = env.HOME ?? homedir();
const REGISTRATION = join(
  env.XDG_STATE_HOME || join(HOME, '.local/state'),
  `opencode/service${CHANNEL}.json`,
);
const DATABASE = join(env.XDG_DATA_HOME || join(HOME, '.local/share'), 'opencode/fake.json');

interface Registration {
  id: string;
  version: string;
  url: string;
  pid: number;
  password: string;
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const read = <T>(file: string): T | undefined => {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
};
const write = (file: string, value: unknown) => {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(value), { mode: 0o600 });
};
const isFlag = (name: string) => (word: string) => word === name || word.startsWith(`${name}=`);
const flag = (name: string) => {
  const at = process.argv.findIndex(isFlag(name));
  const word = process.argv[at];
  if (word === undefined) return undefined;
  return word === name ? process.argv[at + 1] : word.slice(name.length + 1);
};
const has = (name: string) => process.argv.some(isFlag(name));

async function listen(options: { password: string; hostname: string }): Promise<FakeOpencode2> {
  const isService = has('--service');
  const given = has('--port') ? Number(flag('--port')) : isService ? SERVICE_PORT : undefined;
  for (let port = given ?? FIRST_PORT; ; port += 1) {
    try {
      const fake = new FakeOpencode2({ ...options, version: VERSION, port, heartbeatMs: 500 });
      fake.state = 'starting';
      return await fake.listen();
    } catch (error) {
      if (given !== undefined || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE')
        throw error;
    }
  }
}

async function serve(): Promise<void> {
  const isService = has('--service');
  const kept = read<Registration>(REGISTRATION);
  const asked = isService ? undefined : env.OPENCODE_PASSWORD || env.OPENCODE_SERVER_PASSWORD;
  const made = randomBytes(32).toString('base64url');
  const password = asked ?? (isService ? kept?.password : undefined) ?? made;
  const fake = await listen({ password, hostname: flag('--hostname') ?? '127.0.0.1' });
  behave(fake);
  const stored = read<Fake2Session[]>(DATABASE) ?? [];
  for (const each of stored) {
    const now = { asks: new Map(), inbox: [], stopping: false, executions: 0 };
    fake.sessions.set(each.id, { ...each, ...now });
  }
  fake.onClaim = () => write(DATABASE, [...fake.sessions.values()]);
  const own: Registration = {
    id: randomUUID(),
    version: VERSION,
    url: fake.url,
    pid: process.pid,
    password,
  };
  const isOwn = () => read<Registration>(REGISTRATION)?.id === own.id;
  const end = () => {
    fake.shutDown();
    if (isService && isOwn()) rmSync(REGISTRATION);
    process.exit(0);
  };
  process.on('SIGTERM', end).on('SIGINT', end);
  if (isService) {
    write(REGISTRATION, own);
    setInterval(() => {
      if (!isOwn()) end();
    }, WATCH_MS);
  }
  await wait(BOOT_MS);
  fake.state = 'ready';
  console.log(`server listening on ${fake.url}`);
  if (!isService && asked === undefined) console.log(`server password ${password}`);
  // A foreground server never resumes (section 6).
  if (isService) for (const session of fake.sessions.values()) fake.resume(session);
}

async function service(what: string): Promise<void> {
  const known = read<Registration>(REGISTRATION);
  const isAlive = (pid: number) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  const runs = known !== undefined && isAlive(known.pid);
  if (what === 'status') {
    console.log(runs ? known.url : 'stopped');
    return;
  }
  if (runs && what !== 'start') {
    process.kill(known.pid, 'SIGTERM');
    while (isAlive(known.pid)) await wait(20);
  }
  if (what === 'stop' || (what === 'start' && runs)) return;
  const words = [process.argv[1] ?? '', 'serve', '--service'];
  spawn(process.execPath, words, { detached: true, stdio: 'ignore', cwd: HOME }).unref();
  for (;;) {
    const now = read<Registration>(REGISTRATION);
    const authorization = `Basic ${btoa(`opencode:${now?.password}`)}`;
    const answer = await fetch(`${now?.url}/api/info`, { headers: { authorization } }).catch(
      () => undefined,
    );
    if (answer?.status === 200) return;
    await wait(20);
  }
}

const [, , command = '', what = ''] = process.argv;
const work = has('--version')
  ? Promise.resolve(console.log(`opencode v${VERSION}`))
  : command === 'serve'
    ? serve()
    : service(what);
work.catch((error: unknown) => {
  console.error(error instanceof Error ? `Error: ${error.message}` : error);
  process.exit(1);
});
