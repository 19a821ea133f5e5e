/** The safe driver on a real opencode: every operation, every error, and nothing left behind. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { OpencodeDriver } from '../../src/index.js';
import { DriverError } from '../../src/opencode/driver/error.js';
import type { PromptOptions, PromptResult, SessionState } from '../../src/opencode/driver/types.js';
import { CLI } from '../support/daemon.js';
import { prepareHome, startOpencode } from '../support/opencode.js';
import { freePort } from '../support/ports.js';
import { isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';
import { type Bench, startBench } from './driver-support.js';

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

interface Failed {
  ok: false;
  error: {
    kind: string;
    message: string;
    received?: string;
    aborted?: boolean;
    deleted?: boolean;
    sessionID?: string;
    tries?: { model?: string; sessionID?: string }[];
  };
}
type Answer = PromptResult & { notices: string[] };

const fails = (...args: string[]) => bench.json<Failed>(...args);
const file = async (name: string, content: string) => {
  const path = join(bench.home.path, name);
  await writeFile(path, content);
  return path;
};
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => {
      expect(error).toBeInstanceOf(DriverError);
      return error as DriverError;
    },
  );

describe('prompt', () => {
  test('prints the reply and nothing else, and deletes its session', async () => {
    const result = await bench.cli(['prompt', '[[stream 3 5]]']);
    expect(result).toEqual({ code: 0, stdout: 'chunk 0 chunk 1 chunk 2 \n', stderr: '' });
  });

  test('streams to a terminal as the text comes', async () => {
    const command = `${process.execPath} ${CLI} prompt '[[stream 30 100]]'`;
    const { child, ended } = bench.start('script', ['-qec', command, '/dev/null']);
    let seen = '';
    child.stdout?.on('data', (text: string) => {
      seen += text;
    });
    await waitFor(() => seen.includes('chunk 3') && bench.provider.open() === 1, {
      what: 'text while the provider still writes',
    });
    const { code, stdout } = await ended;
    expect(code).toBe(0);
    expect(stdout.match(/chunk 29/g)).toHaveLength(1);
  });

  test('sends stdin, context and files, and plan then implement in sessions of their own', async () => {
    const notes = await file('notes.txt', 'the blue file');
    const first = await bench.json<Answer>('prompt', '[[ok]] make a plan', '--file', notes);
    expect(first).toMatchObject({ code: 0, text: 'All done.', model: 'fake/m1', deleted: true });
    expect(bench.provider.about('make a plan').at(-1)?.prompts).toContain('the blue file');

    const plan = await file('plan.md', '1. be careful\n2. be quick\n');
    const second = await bench.cli(['prompt', '-', '--context', plan, '--json'], {
      stdin: '[[ok]] implement it',
    });
    const asked = bench.provider.about('implement it').at(-1)?.prompts;
    expect(asked).toContain('2. be quick');
    expect(asked).not.toContain('make a plan');
    const { sessionID } = JSON.parse(second.stdout) as Answer;
    expect(sessionID).not.toBe(first.sessionID);
  });

  test('maps a thinking budget to a variant that reaches the provider, or says that it is ignored', async () => {
    const args = ['prompt', '[[reason 3 5]] think', '--thinking', '5000'];
    const deep = await bench.json<Answer>(...args, '--model', 'fake/deep');
    expect(deep.notices).toEqual([expect.stringContaining('mapped to the variant "little"')]);
    expect(deep).toMatchObject({ text: 'All done.', reasoning: 'chunk 0 chunk 1 chunk 2 ' });
    expect(bench.spy.bodies.at(-1)).toMatchObject({ thinking: { budgetTokens: 1000 } });

    const plain = await bench.json<Answer>(...args);
    expect(plain.notices).toEqual([expect.stringContaining('is ignored')]);
    expect(plain.code).toBe(0);
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
    expect(error.message).toMatch(/fake\/m1 said "Rate limit reached".*3600 s away/);
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

  test('whose model asks a person is told that nobody is there, and goes on', async () => {
    const ask = await bench.json<Answer>(
      ...['prompt', '[[bash echo hi]]', '--permission', 'bash=ask'],
    );
    expect(ask).toMatchObject({ code: 0, text: 'All done.', tools: 1 });
    expect(ask.notices).toEqual([expect.stringContaining('asked for a permission (bash)')]);
    const question = await bench.json<Answer>('prompt', '[[question]]');
    expect(question).toMatchObject({ code: 0, text: 'All done.' });
    expect(question.notices).toEqual([expect.stringContaining('a question (Which way?)')]);
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

  test('keeps its session with --keep, for messages and delete', async () => {
    const kept = await bench.json<Answer>('prompt', '[[ok]] keep me', '--keep', '--title', 'kept');
    expect(kept.deleted).toBe(false);
    const id = kept.sessionID;
    const text = await bench.cli(['messages', id]);
    expect(text.stdout).toBe('user:\n[[ok]] keep me\n\nassistant (fake/m1):\nAll done.\n');
    const markdown = await bench.cli(['messages', id, '--format', 'markdown']);
    expect(markdown.stdout).toMatch(/^## user\n\n\[\[ok\]\] keep me\n\n## assistant \(fake\/m1\)/);
    expect((await bench.cli(['sessions'])).stdout).toMatch(
      new RegExp(`^${id} +ready .* kept$`, 'm'),
    );
    expect((await bench.json('delete', id)).code).toBe(0);
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

  test('a bad model spec and a server that is down, before anything is made', async () => {
    const bad = await fails('prompt', '[[ok]]', '--model', 'm1');
    expect(bad).toMatchObject({ code: 2, error: { kind: 'bad_model_spec' } });
    expect(bad.error.message).toContain('"provider/model"');
    const down = await fails('prompt', '[[ok]]', '--url', 'http://127.0.0.1:9');
    expect(down).toMatchObject({ code: 3, error: { kind: 'unreachable' } });
    expect(down.error.message).toMatch(/ECONNREFUSED.*check --start/);
  });

  test('a file that is not there, a time-out that is none', async () => {
    for (const args of [
      ['--file', 'x.txt'],
      ['--timeout', 'soon'],
    ]) {
      const { code, stderr } = await bench.cli(['prompt', 'hi', ...args]);
      expect(code).toBe(2);
      expect(stderr).toContain(`${args[0]} "${args[1]}"`);
    }
  });

  test('a password that the server refuses is exit code 4, and is not printed', async () => {
    const home = await prepareHome(bench.provider);
    const server = await startOpencode({ provider: bench.provider, home, password: 'right-one' });
    try {
      const { code, stdout, stderr } = await bench.cli(['prompt', '[[ok]]', '--url', server.url], {
        env: { OPENCODE_SERVER_PASSWORD: 'wrong-one' },
      });
      expect(code).toBe(4);
      expect(stderr).toContain('OPENCODE_SERVER_PASSWORD');
      expect(stdout + stderr).not.toContain('wrong-one');
    } finally {
      await server.stop();
      await home.remove();
    }
  });
});

describe('no success without an answer:', () => {
  const cases: [what: string, prompt: string, kind: string, received: string][] = [
    ['nothing', '[[empty]]', 'empty_reply', ''],
    ['a blank', '[[empty space]]', 'empty_reply', ''],
    ['reasoning alone', '[[empty thought]]', 'empty_reply', ''],
    ['a cut at the limit', '[[length 3]]', 'truncated', 'chunk 0 chunk 1 chunk 2 '],
  ];
  test.each(cases)('%s', async (_what, prompt, kind, received) => {
    const { code, error } = await fails('prompt', `${prompt} ${kind}`);
    expect(code).toBe(1);
    expect(error).toMatchObject({ kind, received: expect.stringContaining(received.trim()) });
    expect(error).toMatchObject({ deleted: true });
    const allowed = await bench.json<Answer>(
      ...['prompt', prompt, '--allow-empty', '--allow-truncated'],
    );
    expect(allowed).toMatchObject({ code: 0, text: expect.stringContaining(received.trim()) });
  });

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
  test('takes a prompt and a follow-up that knows the first', async () => {
    const created = await bench.cli(['create', '--title', 'talk']);
    const id = created.stdout.trim();
    await bench.json('send', id, '[[ok]] remember the heron');
    const reply = await bench.json<Answer>('send', id, '[[ok]] what was it?');
    expect(reply).toMatchObject({ code: 0, text: 'All done.', sessionID: id });
    expect(bench.provider.about('what was it?').at(-1)?.prompts).toContain('the heron');
    await driver.delete({ id });
  });

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

  test('that is at work takes a second prompt only with queue, and answers each', async () => {
    const session = await driver.createSession();
    const first = driver.send(session, '[[stream 80 200]] first');
    await waitFor(() => bench.provider.open('first') === 1, { what: 'the first run' });
    const refused = await fails('send', session.id, '[[ok]] second');
    expect(refused).toMatchObject({ code: 1, error: { kind: 'session_busy' } });
    expect(bench.provider.count('second')).toBe(0);
    const second = bench.json<Answer>('send', session.id, '[[ok]] second', '--queue');
    expect((await first).text).toContain('chunk 79');
    expect(await second).toMatchObject({ code: 0, text: 'All done.' });
    await driver.delete(session);
  });

  test('in retry is refused, and aborted', async () => {
    const session = await driver.createSession();
    await driver.sendAsync(session, '[[503]] down');
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
    // Another process, and another directory than its own: neither takes it again.
    const again = await fails('send', session.id, '[[ok]] more', '--directory', '/tmp');
    expect(again).toMatchObject({ code: 1, error: { kind: 'session_in_retry' } });
    expect(bench.provider.count('more')).toBe(0);
    await driver.delete(session);
  });

  test('fails by its event alone where its model is gone, and wait says why', async () => {
    const { api, directory } = bench.server;
    const session = await driver.createSession();
    await api.promptAsync(session.id, directory, '[[ok]]', { providerID: 'fake', modelID: 'm11' });
    const error = await failure(driver.wait(session));
    expect(error.kind).toBe('model_unknown');
    expect(error.message).toContain('did you mean fake/m1?');
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
    // What a naive program does: its run goes on, unseen.
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

test('models lists what can be asked, with limits and variants', async () => {
  const { stdout } = await bench.cli(['models']);
  expect(stdout).toMatch(/^fake\/m1 .* default$/m);
  expect(stdout).toMatch(/^fake\/deep .*little, much/m);
  const all = await driver.models({ all: true });
  expect(all.models[0]?.connected).toBe(true);
  expect(all.models.at(-1)?.connected).toBe(false);
  expect(all.configured).toBe('fake/m1');
});

describe('check', () => {
  const script = (body: string) => `
    import { OpencodeDriver, DriverError } from ${JSON.stringify(CLI.replace(/cli\.js$/, 'index.js'))};
    const driver = new OpencodeDriver({ url: process.argv[1] });
    try { ${body} }
    catch (error) { console.log(JSON.stringify({ isOurs: error instanceof DriverError, error })); }
    finally { await driver.close(); }`;
  const run = async (body: string, url: string, env: Record<string, string> = {}) => {
    const args = ['--input-type=module', '-e', script(body), url];
    const { stdout, stderr } = await bench.start(process.execPath, args, { env }).ended;
    return JSON.parse(stdout || JSON.stringify({ stderr })) as Record<string, unknown>;
  };

  test('of the library tells binary, server and providers', async () => {
    const seen = await run('console.log(JSON.stringify(await driver.check()))', bench.server.url);
    expect(seen).toMatchObject({
      ok: true,
      url: bench.server.url,
      binary: { found: true, version: expect.stringMatching(/\d/) },
      server: { up: true, version: expect.stringMatching(/\d/) },
      providers: { connected: expect.arrayContaining(['dead', 'fake']), defaultModel: 'fake/m1' },
    });
  });

  test('of the library starts a server that is down, prompts it, and leaves it running', async () => {
    const before = new Set(bench.home.processes());
    const seen = await run(
      `const { started, ok } = await driver.check({ start: true });
       const { text } = await driver.prompt({ prompt: '[[ok]]' });
       console.log(JSON.stringify({ started, ok, text }));`,
      `http://127.0.0.1:${await freePort()}`,
    );
    expect(seen).toEqual({ started: true, ok: true, text: 'All done.' });
    const born = bench.home.processes().filter((pid) => !before.has(pid) && isAlive(pid));
    expect(born).not.toEqual([]);
    for (const pid of born) process.kill(pid, 'SIGKILL');
    await waitFor(() => !born.some(isAlive), { what: 'the started server to be gone' });
  });

  test('says how to install a binary that is not there', async () => {
    const env = { PATH: '/nonexistent' };
    const url = 'http://127.0.0.1:9';
    expect(await run('console.log(JSON.stringify(await driver.check()))', url, env)).toMatchObject({
      ok: false,
      binary: { found: false, error: expect.stringContaining('npm i -g opencode-ai') },
      server: { up: false, error: expect.stringContaining('check --start') },
    });
    expect(await run('await driver.check({ start: true })', url, env)).toMatchObject({
      isOurs: true,
      error: { kind: 'binary_not_found' },
    });
  });
});
