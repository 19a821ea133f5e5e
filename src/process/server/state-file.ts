/**
 * Remembers on disk which process this watchdog started for a URL, so that the next daemon recognises it: that daemon
 * may stop such a server when it is itself stopped, and it goes on reading the server's output.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from '../../lib/state-dir.js';
import { bootId } from '../table/proc-table.js';
import type { ProcessRef } from '../table/process-table.js';

/**
 * A lock or the record of a spawned server. It has a few hundred bytes, so a larger file was not written by us. At the
 * limit: it is taken as absent.
 */
export const MAX_RECORD_BYTES = 64 * 1024;

const refSchema = z.object({ pid: z.int().positive(), startTime: z.string() });
const recordSchema = z.object({
  url: z.string(),
  bootId: z.string(),
  /** What was spawned: the server itself, or a wrapper above it. */
  root: refSchema,
  /** The process that listens; null until it is healthy. */
  server: refSchema.nullable(),
  /**
   * The marker in the environment of all that it starts (orphans.ts): a record is trusted for a process that shows it.
   */
  mark: z.uuid(),
  /** It was started as the server before it, which somebody else had started. */
  adopted: z.literal(true).optional(),
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

  /**
   * Computed, never read from the record: otherwise whoever can write the record could have any file read and emptied.
   */
  outputFiles(): OutputFiles {
    return {
      stdout: join(this.dir, 'server.stdout.log'),
      stderr: join(this.dir, 'server.stderr.log'),
    };
  }

  /** What was started last; undefined if nothing was started in this boot, or if the file is no record. */
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

  /** Remembers what was spawned, and which process listens once that is known. @throws if it cannot be written */
  write(record: Pick<ServerRecord, 'root' | 'server' | 'mark' | 'adopted'>): void {
    ensurePrivateDirectory(this.dir);
    const { mark, adopted } = record;
    const whole: ServerRecord = {
      url: this.#url,
      bootId: bootId(),
      root: refOf(record.root),
      server: record.server && refOf(record.server),
      mark,
      ...(adopted && { adopted }),
    };
    writePrivateFile(this.#path, JSON.stringify(whole));
  }

  /** Removes the record, but keeps it among the earlier ones, because what the server started may outlive it. */
  remove(): void {
    const record = this.read();
    try {
      if (record) this.keepEarlier([...this.earlier(), record]);
      rmSync(this.#path, { force: true });
    } catch {
      // If the directory cannot be written, it holds no record, or one of an ended process, which is not trusted.
    }
  }

  /** What was started earlier in this boot, oldest first. */
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

  /** @throws if it cannot be written */
  keepEarlier(records: readonly ServerRecord[]): void {
    if (records.length === 0) rmSync(this.#earlierPath, { force: true });
    else writePrivateFile(this.#earlierPath, JSON.stringify(records.slice(-MAX_EARLIER)));
  }
}

const refOf = ({ pid, startTime }: ProcessRef): ProcessRef => ({ pid, startTime });
