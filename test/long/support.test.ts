/** Tests the harness for the real opencode: a good run, a failing run, and nothing left behind. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { type Opencode, startOpencode } from '../support/opencode.js';
import { commandLine, isAlive } from '../support/processes.js';
import { waitFor } from '../support/wait.js';

let provider: FakeProvider;
let server: Opencode;

beforeAll(async () => {
  provider = await startFakeProvider();
  server = await startOpencode({ provider, viaWrapper: true, password: 'secret' });
});
afterAll(async () => {
  await server?.stop();
  await provider?.stop();
});

async function prompt(text: string): Promise<string> {
  const { api, directory } = server;
  const { id } = await api.createSession({ directory, title: text });
  await api.promptAsync(id, directory, text);
  return id;
}

it('finishes a good run', async () => {
  const id = await prompt('[[ok]] a good one');
  await waitFor(
    async () => (await server.api.messages(id, server.directory)).at(-1)?.info.finish === 'stop',
    { what: 'the run to finish' },
  );
  expect(provider.count('a good one')).toBe(1);
});

it('shows a rate-limited run as a retry, until an abort', async () => {
  const { api, directory } = server;
  const id = await prompt('[[429]]');
  const retry = await waitFor(
    async () => {
      const status = (await api.status(directory))[id];
      return status?.type === 'retry' && status;
    },
    { what: 'a retry' },
  );
  expect(retry).toMatchObject({ attempt: 1, message: 'Rate limit reached' });
  await api.abort(id, directory);
  await waitFor(async () => !(await api.status(directory))[id], { what: 'the abort' });
});

it('leaves no process behind, not even a bash child in a session of its own', async () => {
  await prompt('[[bash sleep 3600]]');
  await waitFor(() => server.tree().some((pid) => commandLine(pid) === 'sleep 3600'), {
    what: 'the sleep to run',
  });
  const tree = server.tree();
  expect(tree).toContain(server.pid);
  await server.stop();
  expect(tree.filter(isAlive)).toEqual([]);
  expect(server.home.processes()).toEqual([]);
});
