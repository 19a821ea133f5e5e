/**
 * Evidence of a server's state just before the server was ended: one folder for each incident, in the state directory.
 * The daemon writes the folders, `report --incident` reads them.
 *
 * They contain no titles, directories or prompts, so that they can be given to opencode's developers. Whatever looks
 * like a secret is masked before it is written.
 */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { createRedactor, type Redactor, type Revealable } from '../lib/redaction.js';
import { ensurePrivateDirectory, readPrivateFile } from '../lib/state-dir.js';

/** Folders of evidence in the state directory. At the limit: the oldest is removed. */
export const MAX_EVIDENCE_FOLDERS = 20;
/** Characters of an output line in an incident's evidence. At the limit: it is cut. */
export const MAX_EVIDENCE_LINE = 1_024;
/** Size of an evidence file that `report` reads. At the limit: the file is not read. */
export const MAX_EVIDENCE_BYTES = 2 ** 20;

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const FACTS = 'evidence.json';
const OUTPUT = 'output.log';
/** The names of our folders: a time and a reason. Nothing else is ever removed. */
const FOLDER = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[a-z]+$/;
/** Threads are the longest list, and they are nested four levels deep. */
const BOUNDS = { string: 500, items: 500, depth: 8 };

const threadSchema = z.object({
  tid: z.number(),
  name: z.string(),
  state: z.string(),
  waitsIn: z.string().optional(),
});
const processSchema = z.object({
  pid: z.number(),
  ppid: z.number(),
  name: z.string(),
  state: z.string(),
  bytes: z.number(),
  threads: z.array(threadSchema),
});
const sessionSchema = z.object({
  id: z.string(),
  parentID: z.string().optional(),
  health: z.string(),
  forMs: z.number(),
  runForMs: z.number().optional(),
  steps: z.number().optional(),
  attempt: z.number().optional(),
  model: z.string().optional(),
  tool: z.string().optional(),
  toolForMs: z.number().optional(),
  /** What opencode says about a retry. */
  message: z.string().optional(),
});
const factsSchema = z.object({
  /** ISO 8601, UTC. */
  time: z.iso.datetime(),
  /** Why the server was about to be ended. */
  reason: z.string(),
  opencode: z.object({
    version: z.string().optional(),
    api: z.number().optional(),
    pid: z.number().optional(),
  }),
  machine: z.object({
    system: z.string(),
    cpus: z.number(),
    /** Load averages over 1, 5 and 15 minutes. */
    load: z.array(z.number()),
    freeBytes: z.number(),
    totalBytes: z.number(),
  }),
  sessions: z.array(sessionSchema),
  /** The server first, the others by their memory; absent if no process can be seen. */
  processes: z.array(processSchema).optional(),
});

export type EvidenceFacts = z.infer<typeof factsSchema>;
export type EvidenceSession = z.infer<typeof sessionSchema>;

/** The facts, and the last lines of the server's output, oldest first. */
export interface ServerEvidence extends EvidenceFacts {
  output: string[];
}

export class EvidenceStore {
  readonly #directory: string;
  readonly #redactor: Redactor;

  /** @param secrets values that no file may contain */
  constructor(directory: string, secrets: readonly Revealable[]) {
    this.#directory = join(directory, 'evidence');
    this.#redactor = createRedactor(secrets, BOUNDS);
  }

  /** @returns the folder's path. @throws if it cannot be written */
  async write({ output, ...facts }: ServerEvidence): Promise<string> {
    ensurePrivateDirectory(this.#directory);
    const folder = join(
      this.#directory,
      `${facts.time.replace(/[:.]/g, '-')}-${facts.reason.replace(/[^a-z]/g, '')}`,
    );
    const lines = output.map((line) => `${this.#redactor.text(line, MAX_EVIDENCE_LINE)}\n`);
    const json = JSON.stringify(this.#redactor.value(facts), null, 2);
    await mkdir(folder, { mode: FOLDER_MODE });
    // The folder is new and only we may write to it, so nobody can have put a link there.
    const options = { mode: FILE_MODE, flag: 'wx' };
    await writeFile(join(folder, FACTS), `${json}\n`, options);
    await writeFile(join(folder, OUTPUT), lines.join(''), options);
    await this.#removeOldest();
    return folder;
  }

  async #removeOldest(): Promise<void> {
    const names = (await readdir(this.#directory)).filter((name) => FOLDER.test(name)).sort();
    for (const name of names.slice(0, -MAX_EVIDENCE_FOLDERS)) {
      await rm(join(this.#directory, name), { recursive: true, force: true });
    }
  }
}

/**
 * @param owner the uid of the daemon that wrote it; ours if it is left out
 * @returns `why` if it cannot be read: it was removed meanwhile, is on another machine, or belongs to another user
 */
export function readEvidence(folder: string, owner?: number): ServerEvidence | { why: string } {
  const facts = readPrivateFile(join(folder, FACTS), MAX_EVIDENCE_BYTES, owner);
  if (facts.kind !== 'text') {
    return { why: facts.kind === 'absent' ? 'it is not there (any more)' : facts.problem };
  }
  const output = readPrivateFile(join(folder, OUTPUT), MAX_EVIDENCE_BYTES, owner);
  try {
    const read = factsSchema.parse(JSON.parse(facts.text));
    const lines = output.kind === 'text' ? output.text.split('\n') : [];
    return { ...read, output: lines.filter((line) => line !== '') };
  } catch (error) {
    return { why: error instanceof Error ? error.message : String(error) };
  }
}
