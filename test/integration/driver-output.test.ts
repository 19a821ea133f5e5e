/** What the driver's commands read from their flags and stdin, and what happens to a result that cannot be written. */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLI } from '../support/daemon.js';
import { PROMPT, prompted, reply } from '../support/driver-replies.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';

let folder: string;
let server: FakeOpencode;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watchdog-output-'));
  server = await startFakeOpencode();
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

interface StartOptions {
  stdin?: string;
  stdout?: number;
  /** The limit for files that it writes, in KiB. Writing more fails, as on a full disk. */
  fileKiB?: number;
  env?: Record<string, string>;
}

function start(args: string[], { stdin = '', stdout, fileKiB, env }: StartOptions = {}) {
  const limit = fileKiB === undefined ? '' : `trap '' XFSZ; ulimit -f ${fileKiB}; `;
  const child = spawn('bash', ['-c', `${limit}exec "$@"`, 'bash', process.execPath, CLI, ...args], {
    env: { PATH: process.env.PATH, HOME: folder, OPENCODE_API_URL: server.url, ...env },
    cwd: folder,
    stdio: ['pipe', stdout ?? 'pipe', 'pipe'],
  });
  child.stdin?.end(stdin);
  const ended = Promise.all([
    new Promise<number | null>((resolve) => child.once('close', resolve)),
    child.stdout === null ? '' : text(child.stdout).catch(() => ''),
    child.stderr === null ? '' : text(child.stderr),
  ]).then(([code, out, err]) => ({ code, out, err }));
  return { child, ended };
}

/** Waits for the next prompt and gives it this reply. */
async function replyNext(words: string) {
  const { id, messages } = await prompted(server, server.count(PROMPT) + 1);
  const sent = JSON.stringify(messages);
  reply(server, id, words);
  return sent;
}

/** Writes an answer in the form of a schema, as opencode does it, and sets the session idle. */
function replyInForm(id: string) {
  // The names look like those of our own times, durations and sizes.
  const structured = { created: 1_795_338_897_735, durationMs: 12.5, sizeBytes: 0.5 };
  const time = { created: 1, completed: 2 };
  const info = { id: 'msg_a', role: 'assistant', finish: 'tool-calls', structured, time };
  server.get(id).messages.push({ info, parts: [] });
  server.setStatus(id, { type: 'idle' });
  return structured;
}

it('an answer in the form of a schema is printed as the model gave it', async () => {
  const schema = join(folder, 'schema.json');
  await writeFile(schema, '{"type":"object"}');
  const { ended } = start(['prompt', '--schema', schema, 'when?']);
  const { id } = await prompted(server, server.count(PROMPT) + 1);
  const structured = replyInForm(id);
  const { code, out, err } = await ended;
  expect([code, err]).toEqual([0, '']);
  expect(JSON.parse(out)).toEqual(structured);
});

it('an answer in the form of a schema is printed by wait, which was not given the schema', async () => {
  const { id } = server.addSession();
  const structured = replyInForm(id);
  const { code, out, err } = await start(['wait', id]).ended;
  expect([code, err]).toEqual([0, '']);
  expect(JSON.parse(out)).toEqual(structured);
});

describe('a reply that stdout cannot take', () => {
  it('because the disk is full goes to stderr, with one sentence, and is a failure', async () => {
    const full = openSync('/dev/full', 'w');
    const { ended } = start(['prompt', 'hello'], { stdout: full });
    closeSync(full);
    await replyNext('the answer');
    const { code, err } = await ended;
    expect(code).toBe(1);
    expect(err).toBe(
      'the answer\nopencode-watchdog: the output cannot be written (no space is left on the disk): the result is above, on stderr.\n',
    );
  });

  it('whole, because only a part fits on the disk, is no success', async () => {
    const path = join(folder, 'reply.txt');
    const out = openSync(path, 'w');
    const { ended } = start(['prompt', 'hello'], { stdout: out, fileKiB: 1 });
    closeSync(out);
    const words = `${'long '.repeat(1_000)}end`;
    await replyNext(words);
    const { code, err } = await ended;
    expect(code).toBe(1);
    expect(err).toContain(words);
  });

  it('because its reader went away goes to stderr', async () => {
    const { child, ended } = start(['prompt', 'hello', '--json']);
    child.stdout?.destroy();
    await replyNext('the answer');
    const { code, err } = await ended;
    expect(code).toBe(1);
    expect(err).toContain('"text": "the answer"');
    expect(err).toContain('its reader went away');
  });
});

describe('a batch', () => {
  it('reads its tasks from stdin', async () => {
    const { ended } = start(['batch', '-'], { stdin: '[{"id": "a", "prompt": "one"}]' });
    await replyNext('yes');
    const { code, out } = await ended;
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ id: 'a', ok: true, text: 'yes' });
  });

  it('whose --output is full goes on, and loses no result', async () => {
    const tasks = join(folder, 'tasks.ndjson');
    await writeFile(tasks, '{"prompt":"one"}\n{"prompt":"two"}\n');
    const output = join(folder, 'results.ndjson');
    const { ended } = start(['batch', tasks, '--output', output, '--concurrency', '1'], {
      fileKiB: 1,
    });
    await replyNext('long '.repeat(1_000));
    await replyNext('short');
    const { code, out, err } = await ended;
    expect(code).toBe(1);
    expect(
      out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([
      { id: '1', ok: true },
      { id: '2', ok: true, text: 'short' },
    ]);
    expect(err).toContain('it cannot be written');
    expect(err).toContain('2 of 2 tasks ok');
    expect((await readFile(output, 'utf8')).length).toBeLessThanOrEqual(1_024);
  });
});

it('--context - takes stdin along, and nothing else can take it too', async () => {
  const { ended } = start(['prompt', 'hello', '--context', '-'], { stdin: 'from a pipe' });
  expect(await replyNext('yes')).toContain('from a pipe');
  expect(await ended).toMatchObject({ code: 0, out: 'yes\n' });
  const both = await start(['prompt', '-', '--context', '-'], { stdin: 'x' }).ended;
  expect(both).toMatchObject({ code: 2, err: expect.stringContaining('stdin is read already') });
});

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('a prompt that %s ends is %i, and leaves no session', async (signal, code) => {
  const { child, ended } = start(['prompt', 'hello']);
  const { id } = await prompted(server, server.count(PROMPT) + 1);
  child.kill(signal);
  expect((await ended).code).toBe(code);
  expect(server.get(id).deleted).toBe(true);
});

it('--directory names the directory of a deleted session relative to our own', async () => {
  const { id } = server.addSession({ directory: folder, deleted: true });
  server.setStatus(id, { type: 'busy' });
  const found = await start(['sessions', id, '--directory', '.', '--json']).ended;
  expect(JSON.parse(found.out)).toMatchObject({ id, directory: folder, ghost: true });
  const { code, err } = await start(['abort', id, '--directory', '.']).ended;
  expect([code, err]).toEqual([0, `opencode-watchdog: ${id} was aborted, and is at rest\n`]);
});

it('abort warns of its configuration once', async () => {
  const file = join(folder, 'open.yaml');
  await writeFile(file, '{}');
  await chmod(file, 0o666);
  const { id } = server.addSession();
  // Root refuses such a file, but not in a container.
  const { code, err } = await start(['abort', id, '--config', file], { env: { container: 'lxc' } })
    .ended;
  expect(code).toBe(0);
  expect(err.match(/may be written by/g)).toHaveLength(1);
});
