/**
 * Remembers on disk which process this watchdog started for a URL, so that the next daemon knows its own: it may stop
 * such a server when it is stopped itself, and goes on reading its output.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from '../../lib/state-dir.js';
import { bootId } from '../table/proc-table.js';
import type { ProcessRef } from '../table/process-table.js';

/**
 * A lock or the record of a spawned server. It has some hundred bytes: what is larger was not written by us. At the
 * limit: it is taken as absent.
 */
export const MAX_RECORD_BYTES = 64 * 1024;

const refSchema = z.object({ pid: z.int().positive(), startTime: z.string() });
const recordSchema = z.object({
  url: z.string(),
  bootId: z.string(),
  /** What was spawned: the server itself, or a wrapper above it. */
  root: refSchema,
  /** What listens; null until it is healthy. */
  server: refSchema.nullable(),
  /** What all that it starts has in its environment (orphans.ts): a record is believed of a process that shows it. */
  mark: z.uuid(),
});
export type ServerRecord = z.infer<typeof recordSchema>;

/** Earlier servers that may have left processes running. At the limit: the oldest is forgotten. */
export const MAX_EARLIER = 20;
const earlierSchema = z.array(recordSchema);

/** Where a started server's output goes. */
export interface OutputFiles {
  stdout: string;
  stderr: string;
}

export class ServerRecords {
  readonly #path: string;
  readonly #earlierPath: string;
  readonly #url: string;
  readonly dir: string;

  constructor(dir: string, url: string) {
    this.dir = dir;
    this.#url = url;
    this.#path = join(dir, 'server.json');
    this.#earlierPath = join(dir, 'earlier-servers.json');
  }

  /** Computed, never read from the record: who could write that could have any file read and emptied. */
  outputFiles(): OutputFiles {
    return {
      stdout: join(this.dir, 'server.stdout.log'),
      stderr: join(this.dir, 'server.stderr.log'),
    };
  }

  /** What was started last; undefined where nothing was, in an earlier boot, or where the file is no record. */
  read(): ServerRecord | undefined {
    try {
      const file = readPrivateFile(this.#path, MAX_RECORD_BYTES);
      if (file.kind !== 'text') return undefined;
      const record = recordSchema.parse(JSON.parse(file.text));
      return record.bootId === bootId() ? record : undefined;
    } catch {
      return undefined;
    }
  }

  /** Remembers what was spawned, and which process listens once that is known. @throws where it cannot be written */
  write(record: Pick<ServerRecord, 'root' | 'server' | 'mark'>): void {
    ensurePrivateDirectory(this.dir);
    const { mark } = record;
    const whole: ServerRecord = {
      url: this.#url,
      bootId: bootId(),
      root: refOf(record.root),
      server: record.server && refOf(record.server),
      mark,
    };
    writePrivateFile(this.#path, JSON.stringify(whole));
  }

  /** It is remembered among the earlier ones: what it started may outlive it. */
  remove(): void {
    const record = this.read();
    try {
      if (record) this.keepEarlier([...this.earlier(), record]);
      rmSync(this.#path, { force: true });
    } catch {
      // A directory that cannot be written has no record, or one of a process that has ended, which nobody believes.
    }
  }

  /** What was started before in this boot, oldest first. */
  earlier(): ServerRecord[] {
    try {
      const file = readPrivateFile(this.#earlierPath, MAX_RECORD_BYTES);
      if (file.kind !== 'text') return [];
      const boot = bootId();
      return earlierSchema.parse(JSON.parse(file.text)).filter((each) => each.bootId === boot);
    } catch {
      return [];
    }
  }

  /** @throws where it cannot be written */
  keepEarlier(records: readonly ServerRecord[]): void {
    if (records.length === 0) rmSync(this.#earlierPath, { force: true });
    else writePrivateFile(this.#earlierPath, JSON.stringify(records.slice(-MAX_EARLIER)));
  }
}

const refOf = ({ pid, startTime }: ProcessRef): ProcessRef => ({ pid, startTime });
