/** The evidence of an incident on disk: private, without secrets, bounded, and read back as it was written. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../../../src/config/secret.js';
import {
  EvidenceStore,
  MAX_EVIDENCE_FOLDERS,
  readEvidence,
  type ServerEvidence,
} from '../../../src/status/evidence-store.js';
import { evidenceParts, fenced } from '../../../src/status/report/evidence-text.js';

const SECRET = 'hunter2-of-the-server';
const START = Date.parse('2026-11-28T22:00:00Z');
const seen = (second = 0): ServerEvidence => ({
  time: new Date(START + second * 1_000).toISOString(),
  reason: 'unresponsive',
  opencode: { version: '1.18.33', api: 1, pid: 4711 },
  machine: {
    system: 'linux 6.1 x64',
    cpus: 8,
    load: [0.5, 1, 2],
    freeBytes: 2 ** 30,
    totalBytes: 2 ** 34,
  },
  sessions: [
    {
      id: 'ses_1',
      health: 'retrying',
      forMs: 61_000,
      attempt: 3,
      message: `key ${SECRET} refused`,
    },
  ],
  processes: [
    {
      pid: 4711,
      ppid: 1,
      name: 'opencode',
      state: 'S',
      bytes: 600 * 2 ** 20,
      threads: [
        { tid: 4711, name: 'opencode', state: 'D', waitsIn: 'folio_wait_bit' },
        { tid: 4712, name: 'Bun Pool 0', state: 'S', waitsIn: 'futex_wait_queue' },
        { tid: 4713, name: 'Bun Pool 1', state: 'S', waitsIn: 'futex_wait_queue' },
      ],
    },
  ],
  output: [`password=${SECRET}`, 'listening'],
});

let state: string;
let store: EvidenceStore;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'watchdog-evidence-'));
  store = new EvidenceStore(state, [new Secret(SECRET)]);
});
afterEach(() => rmSync(state, { recursive: true, force: true }));

describe('the evidence of an incident', () => {
  it('is a folder that nobody else may look into, and no file of it shows a secret', async () => {
    const folder = await store.write(seen());
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(readdirSync(folder).sort()).toEqual(['evidence.json', 'output.log']);
    for (const name of readdirSync(folder)) {
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
      expect(readFileSync(join(folder, name), 'utf8')).not.toContain(SECRET);
    }
  });

  it('is read back as it was written', async () => {
    const read = readEvidence(await store.write(seen()));
    expect(read).toMatchObject({
      opencode: { version: '1.18.33' },
      processes: seen().processes,
      output: ['password=[secret]', 'listening'],
    });
  });

  it('is kept of the newest incidents alone, and what else lies there stays', async () => {
    mkdirSync(join(state, 'evidence', 'mine'), { recursive: true, mode: 0o700 });
    for (let i = 0; i < MAX_EVIDENCE_FOLDERS + 3; i++) await store.write(seen(i));
    const names = readdirSync(join(state, 'evidence')).sort();
    expect(names).toHaveLength(MAX_EVIDENCE_FOLDERS + 1);
    expect(names[0]).toBe('2026-11-28T22-00-03-000Z-unresponsive');
    expect(names.at(-1)).toBe('mine');
  });

  it('that is gone, or was changed, is said to be so', async () => {
    expect(readEvidence(join(state, 'nowhere'))).toEqual({ why: 'it is not there (any more)' });
    const folder = await store.write(seen());
    writeFileSync(join(folder, 'evidence.json'), '{"time": 7}');
    expect(readEvidence(folder)).toMatchObject({ why: expect.stringContaining('time') });
  });
});

describe('in words', () => {
  it('it says what each thread waited for, and which runs were open', () => {
    const text = evidenceParts('/state/x', seen()).flatMap(({ title, rows }) => [title, ...rows]);
    expect(text).toContain('opencode 1.18.33, API 1, pid 4711');
    expect(text).toContain(
      '4711 opencode, child of 1, S, 600 MiB; main thread D in folio_wait_bit; 3 threads: 2 S in futex_wait_queue, 1 D in folio_wait_bit',
    );
    expect(text).toContain(`ses_1 retrying for 1 min 1 s, attempt 3, key ${SECRET} refused`);
    expect(text).toContain('Its last 2 lines of output');
  });

  it('a folder that cannot be read is named', () => {
    const [part] = evidenceParts('/state/x', { why: 'it is not there (any more)' });
    expect(part).toEqual({
      title: 'Seen before the restart: /state/x cannot be read',
      rows: ['it is not there (any more)'],
    });
  });

  it('no line of output ends its block, and none commands the terminal', () => {
    const evil = { ...seen(), output: ['a ``` b ````', '\u001b]0;owned\u0007'] };
    const rows = evidenceParts('/state/x', evil).at(-1)?.rows ?? [];
    expect(fenced(rows)[0]).toBe('`````text');
    expect(rows.join('')).not.toMatch(/\p{Cc}/u);
  });
});
