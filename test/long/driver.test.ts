import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { OpencodeDriver } from '../../src/index.js';
import { CLI } from '../support/daemon.js';
import {
  type Answer,
  type Bench,
  type Failed,
  failure,
  startBench,
} from '../support/driver-bench.js';
import { prepareHome, startOpencode } from '../support/opencode.js';
import { freePort } from '../support/ports.js';
import { isAlive } from '../support/processes.js';
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
    const notes = await bench.file('notes.txt', 'the blue file');
    const first = await bench.json<Answer>('prompt', '[[ok]] make a plan', '--file', notes);
    expect(first).toMatchObject({ code: 0, text: 'All done.', model: 'fake/m1', deleted: true });
    expect(bench.provider.about('make a plan').at(-1)?.prompts).toContain('the blue file');

    const plan = await bench.file('plan.md', '1. be careful\n2. be quick\n');
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

  test('fails by its event alone where its model is gone, and wait says why', async () => {
    const { api, directory } = bench.server;
    const session = await driver.createSession();
    await api.promptAsync(session.id, directory, '[[ok]]', { providerID: 'fake', modelID: 'm11' });
    const error = await failure(driver.wait(session));
    expect(error.kind).toBe('model_unknown');
    expect(error.message).toContain('did you mean fake/m1?');
    await driver.delete(session);
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
