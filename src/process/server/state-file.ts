/**
 * Remembers on disk which process this watchdog started for a URL, so that the next daemon knows its own: it may stop
 * such a server when it is stopped itself, and goes on reading its output.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { readTextFile } from '../../lib/text-file.js';
import { bootId } from '../table/proc-table.js';
import type { ProcessRef } from '../table/process-table.js';

/** A record or a claim has some hundred bytes: what is larger was not written by us. */
export const MAX_RECORD_BYTES = 64 * 1024;

const refSchema = z.object({ pid: z.int().positive(), startTime: z.string() });
const recordSchema = z.object({
  url: z.string(),
  bootId: z.string(),
  /** What was spawned: the server itself, or a wrapper above it. */
  root: refSchema,
  /** What listens; null until it is healthy. */
  server: refSchema.nullable(),
  /** What all that it starts has in its environment (leftovers.ts). */
  mark: z.string().optional(),
  files: z.object({ stdout: z.string(), stderr: z.string() }).nullable(),
});
export type ServerRecord = z.infer<typeof recordSchema>;

/** The same for every spelling of one server's address: the names of loopback are one. */
export function serverKey(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\]|0\.0\.0\.0|\[::\])$/.test(hostname);
  const effectivePort = port || (protocol === 'https:' ? '443' : '80');
  const name = `${loopback ? 'localhost' : hostname}:${effectivePort}`;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${name.replace(/[^\w.-]/g, '-')}-${hash}`;
}

/** systemd's StateDirectory=, else the XDG base directory for state. */
export function defaultStateDir(env: NodeJS.ProcessEnv): string {
  const fromSystemd = env.STATE_DIRECTORY?.split(':')[0];
  if (fromSystemd) return fromSystemd;
  return join(
    env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local/state'),
    'opencode-watchdog',
  );
}

export class ServerRecords {
  readonly #path: string;
  readonly #url: string;
  readonly dir: string;

  constructor(dir: string, url: string) {
    this.dir = dir;
    this.#url = url;
    this.#path = join(dir, `server-${serverKey(url)}.json`);
  }

  /** The file that a stream of a newly started server is written to. */
  outputFile(stream: 'stdout' | 'stderr'): string {
    return join(this.dir, `server-${serverKey(this.#url)}.${stream}.log`);
  }

  /** What was started last; undefined where nothing was, in an earlier boot, or where the file is no record. */
  read(): ServerRecord | undefined {
    try {
      const file = readTextFile(this.#path, MAX_RECORD_BYTES);
      if (!('text' in file)) return undefined;
      const record = recordSchema.parse(JSON.parse(file.text));
      return record.bootId === bootId() ? record : undefined;
    } catch {
      return undefined;
    }
  }

  /** Remembers what was spawned, and which process listens once that is known. @throws where it cannot be written */
  write(record: Pick<ServerRecord, 'root' | 'server' | 'mark' | 'files'>): void {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    const { mark, files } = record;
    this.#save({
      url: this.#url,
      bootId: bootId(),
      root: refOf(record.root),
      server: record.server && refOf(record.server),
      ...(mark !== undefined && { mark }),
      files,
    });
  }

  /** Written aside and renamed: a daemon killed here leaves the old record or the new one, never half of one. */
  #save(record: ServerRecord): void {
    const draft = `${this.#path}.${randomUUID()}`;
    try {
      writeFileSync(draft, JSON.stringify(record), { mode: 0o600, flag: 'wx' });
      renameSync(draft, this.#path);
    } catch (error) {
      // What a full disk took of it is no record.
      rmSync(draft, { force: true });
      throw error;
    }
  }

  remove(): void {
    try {
      rmSync(this.#path, { force: true });
    } catch {
      // A directory that cannot be written has no record, or one of a process that has ended, which nobody believes.
    }
  }
}

const refOf = ({ pid, startTime }: ProcessRef): ProcessRef => ({ pid, startTime });
