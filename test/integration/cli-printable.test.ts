import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCli } from '../support/command.js';
import { startDaemon, type TestDaemon } from '../support/daemon.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';
import { routes } from '../support/fake-opencode-routes.js';

routes['GET /config'] ??= () => ({ model: `fake/${EVIL}` });

/** A window title, a colour, a C1 code, a direction override, a bell. */
const EVIL = 'Fix\u001b]0;owned\u0007\u001b[31m\u009b5n\u202etxt\u0007';
const OBEYED = /(?!\n)[\p{Cc}\p{Bidi_Control}]/u;

let folder: string;
let server: FakeOpencode;
let daemon: TestDaemon;
let id: string;
const env = () => ({ PATH: process.env.PATH, HOME: folder, TZ: 'UTC' });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watchdog-printable-'));
  server = await startFakeOpencode({ version: `1.18.33${EVIL}` });
  server.providers = {
    all: [{ id: 'fake', name: 'fake', models: { [EVIL]: { id: EVIL, name: EVIL } } }],
    connected: ['fake'],
    default: { fake: EVIL },
  };
  const session = server.addSession({ title: EVIL, directory: '/home/ada/shop' });
  id = session.id;
  session.messages.push({
    info: { id: 'msg_a', role: 'assistant', providerID: 'fake', modelID: EVIL, finish: 'stop' },
    parts: [{ type: 'text', text: `one ${EVIL}\ntwo`, time: { start: 1, end: 2 } }],
  });
  server.setStatus(id, { type: 'retry', attempt: 2, message: EVIL, next: Date.now() + 120_000 });
  daemon = await startDaemon({
    config: {
      server: { url: server.url, control: 'observe' },
      status: { listen: `unix:${join(folder, 'status.sock')}` },
    },
    env: { ...env(), OPENCODE_WATCHDOG_LOG_FORMAT: 'json' },
  });
  await daemon.saw('status.listening');
  await daemon.saw('session.health', { sessionID: id, health: 'retrying' });
});
afterAll(async () => {
  await daemon?.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const run = (...args: string[]) =>
  runCli([...args, '--url', server.url], {
    env: { ...env(), OPENCODE_WATCHDOG_STATUS_LISTEN: `unix:${join(folder, 'status.sock')}` },
    cwd: folder,
  });

it.each([
  ['status'],
  ['sessions'],
  ['sessions', 'ID'],
  ['models', '--all'],
  ['check'],
  ['messages', 'ID'],
  ['messages', 'ID', '--format', 'markdown'],
])('%s %s', async (...words: (string | undefined)[]) => {
  const args = words.flatMap((word) => (word === undefined ? [] : [word === 'ID' ? id : word]));
  const { out, err } = await run(...args);
  expect(out, err).not.toBe('');
  expect(out + err).not.toMatch(OBEYED);
  expect(out + err).toContain(args[0] === 'check' ? '1.18.33' : 'Fix');
});

it('messages keep their line breaks', async () => {
  expect((await run('messages', id)).out).toMatch(/one .*\ntwo/);
});

it('JSON means the same, written so that no terminal obeys it', async () => {
  const { out } = await run('messages', id, '--json');
  expect(out).not.toMatch(OBEYED);
  expect(JSON.parse(out)).toMatchObject([{ text: `one ${EVIL}\ntwo` }]);
});

it('the log', () => {
  expect(daemon.output().replaceAll('\n', '')).not.toMatch(OBEYED);
});
