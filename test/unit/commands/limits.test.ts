/** What commands read is bounded: files, stdin, a prompt, and the daemon's own answer. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { MAX_BYTES, readInput } from '../../../src/commands/batch-tasks.js';
import { DaemonClient, MAX_ANSWER_BYTES } from '../../../src/commands/daemon-client.js';
import {
  contextFile,
  filePart,
  MAX_CONTEXT_BYTES,
  MAX_FILE_BYTES,
  MAX_STDIN_BYTES,
  promptText,
} from '../../../src/commands/prompt-options.js';
import { defaultConfig } from '../../../src/config/schema.js';
import { MAX_PROMPT_CHARS, promptWish } from '../../../src/opencode/driver/prompt-words.js';

const folder = mkdtempSync(join(tmpdir(), 'watchdog-limits-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

/** A file of so many bytes that takes no room on the disk. */
function sparse(name: string, bytes: number): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

it.each([
  ['a context file', contextFile, 'a.txt', MAX_CONTEXT_BYTES],
  ['a text file', filePart, 'a.md', MAX_FILE_BYTES],
  ['an image', filePart, 'a.png', MAX_FILE_BYTES],
  ['a file of tasks', readInput, 'tasks', MAX_BYTES],
])('%s larger than its limit is refused', (_, read, name, limit) => {
  expect(() => read(sparse(name, limit + 1))).toThrow(/at most \d+ (KiB|MiB)/);
});

it('a prompt from stdin, or of many parts, is refused beyond its limit', async () => {
  const block = Buffer.alloc(64 * 1024, 0x61);
  const endless = Readable.from(
    (function* () {
      for (;;) yield block;
    })(),
  );
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(endless as typeof process.stdin);
  await expect(promptText('-')).rejects.toThrow(`more than ${MAX_STDIN_BYTES / 1024} KiB`);
  const words = { model: undefined, agent: undefined, system: undefined, variant: undefined };
  const body = (chars: number) => promptWish({ ...words, text: 'x'.repeat(chars) } as never);
  expect(body(MAX_PROMPT_CHARS).text).toHaveLength(MAX_PROMPT_CHARS);
  expect(() => body(MAX_PROMPT_CHARS + 1)).toThrow('more than 4194304');
});

it('an answer larger than any of the daemon’s is given up', async () => {
  const server = createServer((_, response) =>
    response.end(Buffer.alloc(MAX_ANSWER_BYTES + 1, 0x20)),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const config = defaultConfig();
  const status = { ...config.status, listen: `127.0.0.1:${port}`, tokenFile: join(folder, 'none') };
  const client = new DaemonClient({ config: { ...config, status } });
  await expect(client.get('/status')).rejects.toThrow('the answer is too large');
  server.closeAllConnections();
  server.close();
});
