import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { OpencodeDriver } from '../../src/index.js';
import type { PromptOptions, SessionState } from '../../src/opencode/driver/types.js';
import { CLI } from '../support/daemon.js';
import {
  type Answer,
  type Bench,
  type Failed,
  failure,
  startBench,
} from '../support/driver-bench.js';
import { waitFor } from '../support/wait.js';

let bench: Bench;
let driver: OpencodeDriver;

beforeAll(async () => {
  bench = await startBench();
  driver = new OpencodeDriver({ url: bench.server.url });
});
afterEach(async () => {
  try {
    await bench.expectNothingLeft();
  } finally {
    await bench.clear();
  }
});
afterAll(async () => {
  await driver.close();
  await bench.stop();
});

const fails = (...args: string[]) => bench.json<Failed>(...args);

describe('prompt', () => {
  test('prints the reply and nothing else, and deletes its session', async () => {
    const result = await bench.cli(['prompt', '[[stream 3 5]]']);
    expect(result).toEqual({ code: 0, stdout: 'chunk 0 chunk 1 chunk 2 \n', stderr: '' });
  });

  test('that gets no whole reply in time is aborted, reported with what came, and deleted', async () => {
    const { code, error } = await fails('prompt', '[[stall 3]]', '--timeout', '10s');
    expect(code).toBe(1);
    expect(error).toMatchObject({
      kind: 'timeout',
      received: 'chunk 0 chunk 1 chunk 2 ',
      aborted: true,
      deleted: true,
    });
    expect(error.message).toMatch(/no reply within 10 s.*aborted, and is at rest/);
  });

  test('does not wait for a retry that comes after its time-out', async () => {
    const prompt = '[[429 retry-after=3600]] later';
    const { code, error } = await fails('prompt', prompt);
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind: 'provider_failed', aborted: true, deleted: true });
    // On a slow machine some seconds of the hour have gone by when the driver hears of it.
    expect(error.message).toMatch(/fake\/m1 said "Rate limit reached".*3[56]\d\d s away/);
    expect(bench.provider.count('later')).toBe(1);
  });

  test('tries the next model in a new session when one cannot be reached', async () => {
    const args = ['--model', 'dead/m1', '--fallback', 'fake/m2'];
    const result = await bench.json<Answer>('prompt', '[[ok]]', ...args);
    expect(result).toMatchObject({ code: 0, text: 'All done.', model: 'fake/m2' });
    expect(result.tries).toMatchObject([
      { model: 'dead/m1', error: { kind: 'provider_unreachable' } },
      { model: 'fake/m2' },
    ]);
    const [first, second] = result.tries;
    expect(first?.sessionID).not.toBe(second?.sessionID);
  });

  test('that a person interrupts is aborted and deleted', async () => {
    const { child, ended } = bench.start(process.execPath, [CLI, 'prompt', '[[hang]] c', '--json']);
    await waitFor(() => bench.provider.open('[[hang]] c') === 1, { what: 'the run to hang' });
    child.kill('SIGINT');
    const { code, stdout, stderr } = await ended;
    expect(code).toBe(130);
    expect((JSON.parse(stdout) as Failed).error).toMatchObject({
      kind: 'aborted',
      aborted: true,
      deleted: true,
    });
    expect(stderr).toContain('aborting and deleting');
  });
});

describe('errors are told apart:', () => {
  type Case = [what: string, kind: string, says: RegExp, options: Partial<PromptOptions>];
  const cases: Case[] = [
    ['an unknown model', 'model_unknown', /did you mean fake\/m1\?/, { model: 'fake/m11' }],
    [
      'a provider that is not connected',
      'provider_not_connected',
      /"anthropic" is not connected \(connected: .*fake.*opencode auth login/,
      { model: 'anthropic/claude-sonnet-4-5' },
    ],
    [
      'an unknown variant',
      'variant_unknown',
      /it has .*little, much/,
      { model: 'fake/deep', variant: 'x' },
    ],
    ['an unknown agent', 'agent_unknown', /there are: .*build/, { agent: 'x' }],
    [
      'a directory that is not there',
      'run_failed',
      /no directory \/nonexistent\/x/,
      { directory: '/nonexistent/x' },
    ],
    ['an empty prompt', 'usage', /the prompt is empty/, { prompt: ' ' }],
    [
      'credentials that the provider refuses',
      'provider_failed',
      /fake\/m1 refuses the credentials \(401\): Incorrect API key/,
      { prompt: '[[401]]' },
    ],
  ];

  test.each(cases)('%s', async (_what, kind, says, options) => {
    const error = await failure(driver.prompt({ prompt: '[[ok]]', ...options }));
    expect(error).toMatchObject({ kind, details: { deleted: true } });
    expect(error.message).toMatch(says);
  });
});

describe('no success without an answer:', () => {
  test('words of an earlier step before an empty last one, and the file that was written', async () => {
    const path = join(bench.server.directory, 'made.txt');
    const { code, error } = await fails('prompt', `[[write ${path}]] [[empty]]`);
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind: 'empty_reply', received: 'Let me write it.' });
    expect(error.message).toContain('no answer (finish "stop"); 1 file changed');
    const allowed = await driver.prompt({
      prompt: `[[write ${path}]] [[empty]]`,
      allowEmpty: true,
    });
    expect(allowed).toMatchObject({ text: '', steps: 2, tools: 1, filesChanged: 1 });
    expect(allowed.tokens).toMatchObject({ output: 10 });
  });
});

describe('a session of its own', () => {
  test('takes a prompt without waiting; its status shows it, and wait follows it to its end', async () => {
    const session = await driver.createSession({ title: 'later' });
    const sent = await bench.json('send', session.id, '[[stream 20 100]]', '--async');
    expect(sent).toMatchObject({ code: 0, accepted: true, sessionID: session.id });
    expect(await driver.status(session)).toMatchObject({ status: { type: 'busy' } });
    const { code, stdout } = await bench.cli(['wait', session.id]);
    expect(code).toBe(0);
    expect(stdout).toContain('chunk 19');
    expect(await driver.status(session)).toMatchObject({ status: { type: 'ready' } });
    await driver.delete(session);
  });

  test('in retry is refused, and aborted', async () => {
    const session = await driver.createSession();
    await driver.sendAsync(session, '[[503 retry-after=60]] down');
    const state = await waitFor(
      async () => {
        const { status } = await driver.status(session);
        return status?.type === 'retry' && status;
      },
      { what: 'the retry' },
    );
    expect(state).toMatchObject({ attempt: expect.any(Number), nextInMs: expect.any(Number) });
    const error = await failure(driver.send(session, '[[ok]] more'));
    expect(error.kind).toBe('session_in_retry');
    expect(error.message).toMatch(/is in retry \(attempt \d+: .*\): it was aborted/);
    expect(bench.provider.count('more')).toBe(0);
    expect(await driver.status(session)).toMatchObject({ status: { type: 'ready' } });
    // A call from another process, with another directory than the session's, is refused too.
    const again = await fails('send', session.id, '[[ok]] more', '--directory', '/tmp');
    expect(again).toMatchObject({ code: 1, error: { kind: 'session_in_retry' } });
    expect(bench.provider.count('more')).toBe(0);
    await driver.delete(session);
  });

  test('is aborted and deleted by command while it runs, and leaves no ghost', async () => {
    const { api, directory } = bench.server;
    const other = await bench.home.project('other');
    const [stuck, running, gone] = await Promise.all(
      [directory, other, other].map((each) => driver.createSession({ directory: each })),
    );
    for (const session of [stuck, running, gone]) await driver.sendAsync(session!, '[[hang]] act');
    await waitFor(() => bench.provider.open('act') === 3, { what: 'three runs' });
    // A naive program deletes it while it runs: the run continues, unseen.
    await api.remove(gone!.id, other);

    const active = (await driver.sessions()).filter(({ status }) => status?.type === 'busy');
    expect(active.map(({ id }) => id).sort()).toEqual(
      [stuck, running, gone].map((s) => s!.id).sort(),
    );
    const ghost: Partial<SessionState> = { id: gone!.id, directory: other, ghost: true };
    expect(active).toContainEqual(expect.objectContaining(ghost));

    expect(await bench.json('abort', stuck!.id)).toMatchObject({ code: 0, aborted: true });
    expect(await bench.json('abort', stuck!.id)).toMatchObject({ code: 0, aborted: false });
    expect((await bench.json('delete', running!.id)).code).toBe(0);
    expect((await bench.json('delete', gone!.id, '--directory', other)).code).toBe(0);
    await driver.delete(stuck!);
    await bench.expectNothingLeft([directory, other]);
    expect(await fails('abort', stuck!.id)).toMatchObject({
      code: 1,
      error: { kind: 'session_not_found' },
    });
  });
});
