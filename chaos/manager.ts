/** Runs the daemon as a service manager does: writes its output to a file, and starts it again when it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { CLI } from '../test/support/daemon.js';
import { pause } from '../test/support/wait.js';
import type { Emit, LogLine } from './evidence.js';

export interface ManagerOptions {
  config: string;
  env: Record<string, string>;
  /** Where the log and the recording are written: a disk that may be full. */
  disk: string;
  emit: Emit;
}

const POLL_MS = 100;
/** Like RestartSec= in a unit file. */
const RESTART_MS = 500;

export class Manager {
  readonly #options: ManagerOptions;
  #child: ChildProcess | undefined;
  #tail: LogTail | undefined;
  #generation = 0;
  #ordered: NodeJS.Signals | undefined;
  #stopping = false;
  #holdMs = RESTART_MS;

  constructor(options: ManagerOptions) {
    this.#options = options;
  }

  /** Undefined while no daemon runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const { config, env, disk, emit } = this.#options;
    const generation = ++this.#generation;
    const file = join(disk, `daemon-${generation}.ndjson`);
    const out = openSync(file, 'a');
    const record = join(disk, `record-${generation}.ndjson`);
    const args = [CLI, 'run', '--config', config, '--record', record];
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', out, 'pipe'] });
    closeSync(out);
    this.#child = child;
    this.#ordered = undefined;
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    emit({ kind: 'daemon.started', generation, pid: child.pid ?? 0 });
    const tail = new LogTail(file, {
      line: (line) => emit({ kind: 'log', generation, line }),
      broken: (text) => emit({ kind: 'log.broken', generation, text }),
    });
    this.#tail = tail;
    child.once('exit', (code, signal) => {
      tail.end();
      this.#child = undefined;
      const expected =
        this.#ordered !== undefined && (this.#ordered === 'SIGTERM' ? code === 0 : true);
      emit({ kind: 'daemon.ended', generation, code, signal, expected, stderr });
      if (this.#stopping) return;
      setTimeout(() => this.#stopping || this.start(), this.#holdMs).unref();
      this.#holdMs = RESTART_MS;
    });
  }

  /** Ends the daemon. The next one starts after `holdMs`. Resolves when it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM', holdMs = RESTART_MS): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#holdMs = holdMs;
    this.#ordered = signal;
    const gone = once(child, 'exit');
    child.kill(signal);
    // A frozen daemon reacts only to SIGKILL. One that was told to stop has its own time limits.
    const giveUp = pause(STOP_MS).then(() => child.kill('SIGKILL'));
    await Promise.race([gone, giveUp]);
    await gone;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#child) this.#child.kill('SIGCONT');
    await this.end('SIGTERM');
  }

  /** Reads the last lines now. */
  catchUp(): void {
    this.#tail?.read();
  }
}

/** Like systemd's TimeoutStopSec=, but generous. */
const STOP_MS = 60_000;

/** Reads a growing log from a disk that may be full. */
class LogTail {
  readonly #fd: number;
  readonly #on: { line(line: LogLine): void; broken(text: string): void };
  readonly #decoder = new StringDecoder('utf8');
  readonly #timer: NodeJS.Timeout;
  #offset = 0;
  #rest = '';

  constructor(file: string, on: { line(line: LogLine): void; broken(text: string): void }) {
    this.#fd = openSync(file, 'r');
    this.#on = on;
    this.#timer = setInterval(() => this.read(), POLL_MS);
  }

  read(): void {
    const size = fstatSync(this.#fd).size - this.#offset;
    if (size <= 0) return;
    const bytes = Buffer.alloc(size);
    this.#offset += readSync(this.#fd, bytes, 0, size, this.#offset);
    const lines = (this.#rest + this.#decoder.write(bytes)).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
  }

  /** A SIGKILL may come in the middle of a line, so an incomplete last line is no error. */
  end(): void {
    clearInterval(this.#timer);
    this.read();
    closeSync(this.#fd);
  }

  #take(text: string): void {
    let line: unknown;
    try {
      line = JSON.parse(text);
    } catch {
      this.#on.broken(text);
      return;
    }
    this.#on.line(line as LogLine);
  }
}
