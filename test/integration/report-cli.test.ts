import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCli } from '../support/command.js';
import { startDaemon } from '../support/daemon.js';
import { type FakeOpencode, startFakeOpencode } from '../support/fake-opencode.js';
import { measureSlowness, stretched } from '../support/slowness.js';

let folder: string;
let server: FakeOpencode;
let log: string;
const env = () => ({ PATH: process.env.PATH, HOME: folder, TZ: 'UTC' });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watchdog-report-'));
  server = await startFakeOpencode();
  const daemon = await startDaemon({
    config: {
      server: { url: server.url, control: 'external' },
      watch: { pollInterval: 200 },
      status: { listen: 'off' },
    },
    env: env(),
  });
  await daemon.saw('stream.connected');
  const { id } = server.addSession({ title: 'Fix the build', directory: '/home/ada/shop' });
  server.setStatus(id, { type: 'busy' });
  server.setStatus(id, { type: 'retry', attempt: 13, message: 'Overloaded', next: Date.now() });
  await daemon.saw('session.aborted', { sessionID: id });
  await daemon.stop();
  log = daemon.lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  await writeFile(join(folder, 'watchdog.log'), `opencode: not JSON\n${log}`);
});
afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const report = (args: string[], input = '') =>
  runCli(['report', ...args], { env: env(), cwd: folder, input });

it('the history of a daemon that is gone answers what happened', async () => {
  const { code, out, err } = await report(['--url', server.url]);
  expect(err).toBe('');
  expect(code).toBe(0);
  expect(out).toMatch(/Runs: 1; 1 aborted/);
  expect(out).toMatch(/shop · Fix the build: stuck \(too many attempts\) → aborted after /);
});

it('a log gives the same, from a file and on stdin', async () => {
  const of = (out: string) => out.split('\n').slice(1).join('\n');
  // A report of more than one day shows dates beside its times. So each covers more than one day, whatever the hour is.
  const since = ['--since', '2d'];
  const history = await report(['--url', server.url, ...since]);
  const file = await report(['watchdog.log', ...since]);
  const stdin = await report(['-', ...since], log);
  expect(file.err + stdin.err).toBe('');
  expect(of(file.out)).toBe(of(history.out));
  expect(of(stdin.out)).toBe(of(history.out));
});

it('json is whole, with ISO times; one incident comes with its evidence', async () => {
  const found = JSON.parse((await report(['watchdog.log', '--format', 'json'])).out);
  expect(found.runs).toMatchObject([{ outcome: 'aborted', session: { project: 'shop' } }]);
  expect(found.runs[0].time).toMatch(/^\d{4}-.*Z$/);
  const { out } = await report(['--url', server.url, '--incident', String(found.incidents[0].id)]);
  expect(out).toMatch(/^Incident #\d+: stuck \(too many attempts\)\n/);
  expect(out).toMatch(/session\.aborting [\s\S]*session\.aborted /);
});

it('says what is wrong with what it is given', async () => {
  const wrong: [string[], number, RegExp][] = [
    [['--since', 'yesterday', '-'], 2, /--since yesterday: expected how long ago/],
    [['--since', '999999999999d', '-'], 2, /--since 999999999999d: expected how long ago/],
    [['--format', 'html', '-'], 2, /--format html: expected text, markdown or json/],
    [['nowhere.log'], 2, /nowhere\.log: expected a log file that can be read/],
    [['.'], 2, /\.: expected a log file that can be read/],
    [['-'], 1, /no line of opencode-watchdog's log/],
    [['watchdog.log', '--incident', '99999'], 2, /there is none; expected one of #\d+/],
    [['--url', 'http://localhost:1'], 1, /no history of http:\/\/localhost:1 in .*journalctl/],
  ];
  for (const [args, code, words] of wrong) {
    const end = await report(args, 'nothing\n');
    expect([args, end.code]).toEqual([args, code]);
    expect(end.err).toMatch(words);
  }
});

it('what was seen of a server before its restart is printed for a bug report, without titles and secrets', async () => {
  const hung = await startFakeOpencode();
  await measureSlowness();
  const daemon = await startDaemon({
    config: {
      server: {
        url: hung.url,
        control: 'command',
        restartCommand: [process.execPath, '-e', 'console.log("restarted")'],
      },
      watch: { pollInterval: 200, heartbeatTimeout: stretched(600) },
      probe: { interval: 100, timeout: stretched(200), maxFailures: 2 },
      status: { listen: 'off' },
    },
    env: env(),
  });
  try {
    await daemon.saw('stream.connected');
    const { id } = hung.addSession({ title: 'A private title', directory: '/home/ada/secret' });
    hung.setStatus(id, { type: 'busy' });
    await daemon.saw('session.health', { sessionID: id, health: 'busy' });
    hung.fault('*', { hang: true });
    hung.endStreams();
    const { folder } = await daemon.saw('server.evidence', { reason: 'unresponsive' });
    hung.clearFaults();
    await daemon.saw('server.restarted');
    const list = JSON.parse((await report(['--url', hung.url, '--format', 'json'])).out);
    // On a slow machine it may be restarted twice.
    const incident = list.incidents.find(
      ({ evidence }: { evidence?: string }) => evidence === folder,
    );
    expect(incident).toMatchObject({ kind: 'unresponsive' });
    const ask = ['--url', hung.url, '--incident', String(incident.id)];
    const whole = JSON.parse((await report([...ask, '--format', 'json'])).out);
    expect(whole.server).toMatchObject({
      reason: 'unresponsive',
      sessions: [{ id, health: 'busy' }],
    });
    expect(JSON.stringify(whole.server)).not.toMatch(/private title|ada/);
    const { out } = await report([...ask, '--format', 'markdown']);
    expect(out).toMatch(/\*\*Incident \\#\d+: unresponsive\*\*/);
    expect(out).toMatch(/\*\*Seen before the restart, .*\*\*\n\n```text\nopencode 1\.18\.33/);
    expect(out).toContain(`${id} busy for `);
  } finally {
    await daemon.stop();
    await hung.stop();
  }
});
