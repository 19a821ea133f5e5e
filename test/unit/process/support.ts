/** Small scripted servers that look like opencode to the process room, and a control's dependencies. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../../src/lib/clock.js';
import type { ControlDeps } from '../../../src/process/control/control.js';
import type { LocalOptions } from '../../../src/process/server/local-server.js';
import { freePort } from '../../support/ports.js';
import { isAlive, killAll, processesWithEnv } from '../../support/processes.js';

/**
 * Serves `/global/health` on --port. What it does besides is in $FAKE, words of: `ignore-term`, `exit` (at once, with
 * words), `tool` (a child in its own session; its pid is at /tool), `tool-ignore-term`, `background` (a child that was
 * let go of), `pipeline` (the same as a pipeline into a file), `shown-pipeline` (into the server), `piped` (its reader is
 * another such child), `slow` (listens once its directory has a file `go`), `noisy` (writes without end), `deaf` (listens, answers 500).
 */
const SERVER = `
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
const fake = (process.env.FAKE ?? '').split(' ');
const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
if (fake.includes('exit')) {
  for (let i = 1; i <= 30; i++) console.log('line ' + i);
  console.error('Error: bad config, password=[' + (process.env.SHOWN ?? '') + ']');
  process.exit(7);
}
if (fake.includes('ignore-term')) process.on('SIGTERM', () => console.log('no'));
let tool;
if (fake.includes('tool') || fake.includes('tool-ignore-term')) {
  const code = fake.includes('tool') ? 'setInterval(() => {}, 1e6)' : 'process.on("SIGTERM", () => {}); console.log(1); setInterval(() => {}, 1e6)';
  tool = spawn(process.execPath, ['-e', code], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  if (!fake.includes('tool')) await new Promise((resolve) => tool.stdout.once('data', resolve));
}
if (fake.includes('background')) {
  tool = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { detached: true, stdio: 'ignore' });
}
for (const [word, end] of [['pipeline', '> /dev/null 2>&1'], ['shown-pipeline', '']]) {
  if (!fake.includes(word)) continue;
  const shell = spawn('sh', ['-c', 'sleep 1000000 2>&1 | cat ' + end + ' &'], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  await new Promise((resolve) => shell.once('exit', resolve));
}
if (fake.includes('piped')) {
  const reader = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  spawn('sleep', ['1000000'], { detached: true, stdio: ['ignore', reader.stdin, 'ignore'] });
}
while (fake.includes('slow') && !existsSync('go')) await new Promise((resolve) => setTimeout(resolve, 20));
if (fake.includes('noisy')) {
  const write = () => process.stdout.write(('x'.repeat(99) + '\\n').repeat(100), () => setImmediate(write));
  write();
}
createServer((req, res) => {
  if (req.url === '/exit') process.exit(3);
  if (req.url === '/say') console.log('said \\u001b[31mred');
  if (fake.includes('deaf')) res.statusCode = 500;
  res.setHeader('content-type', 'application/json');
  res.end(JSON.stringify({ healthy: true, version: 'fake', pid: process.pid, cwd: process.cwd(), argv: process.argv, env: process.env, tool: tool?.pid }));
}).listen(port, '127.0.0.1', () => console.log('listening'));
`;

export interface Seen {
  version: string;
  pid: number;
  cwd: string;
  argv: string[];
  env: Record<string, string>;
  tool?: number;
}

export class Habitat {
  readonly dir = mkdtempSync(join(tmpdir(), 'watchdog-process-'));
  /** Named as opencode's own script would be. */
  readonly script = join(this.dir, 'opencode.mjs');
  readonly exits: Array<Parameters<ControlDeps['onExit']>[0]> = [];
  readonly lines: string[] = [];
  readonly notices: string[] = [];
  readonly suspended: number[] = [];
  readonly clock = new SystemClock();
  readonly signal = new AbortController().signal;
  readonly port: number;

  private constructor(port: number) {
    this.port = port;
    writeFileSync(this.script, SERVER);
  }

  static async make(): Promise<Habitat> {
    return new Habitat(await freePort());
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get command(): string[] {
    return [process.execPath, this.script, 'serve'];
  }

  /** Every process that is started here has this in its environment. */
  env(more: Record<string, string> = {}): Record<string, string> {
    return { PATH: process.env.PATH ?? '', HOME: this.dir, HABITAT: this.dir, ...more };
  }

  readonly deps: ControlDeps = {
    isHealthy: async (signal) => {
      try {
        const answer = await fetch(`${this.url}/global/health`, {
          signal: AbortSignal.any([signal, AbortSignal.timeout(3_000)]),
        });
        return answer.ok || answer.status === 401 ? { version: 'fake' } : null;
      } catch {
        return null;
      }
    },
    onExit: (exit) => this.exits.push(exit),
    onSuspended: ({ pid }) => this.suspended.push(pid),
    onOutput: ({ line }) => this.lines.push(line),
    onNotice: (level, message) => this.notices.push(`${level}: ${message}`),
  };

  options(more: Partial<LocalOptions> & { fake?: string } = {}): LocalOptions {
    const { fake, ...rest } = more;
    return {
      url: this.url,
      command: this.command,
      directory: this.dir,
      env: this.env(fake === undefined ? {} : { FAKE: fake }),
      deps: this.deps,
      clock: this.clock,
      startTimeoutMs: 120_000,
      stopGraceMs: 1_000,
      stateDir: join(this.dir, 'state'),
      ...rest,
    };
  }

  /** What the server says of itself. */
  async ask(path = '/'): Promise<Seen> {
    return (await (await fetch(`${this.url}${path}`)).json()) as Seen;
  }

  /** Everything that runs here. */
  processes(): number[] {
    return processesWithEnv(`HABITAT=${this.dir}`).filter(isAlive);
  }

  async clear(): Promise<void> {
    await killAll(() => this.processes(), 'the habitat');
    rmSync(this.dir, { recursive: true, force: true });
  }
}
