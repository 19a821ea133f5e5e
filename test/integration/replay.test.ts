import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { runCli } from '../support/command.js';

const recording = (name: string) =>
  fileURLToPath(new URL(`../recordings/${name}.ndjson`, import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'watchdog-replay-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const run = (...args: string[]) =>
  runCli(['replay', ...args], { cwd: folder, env: { PATH: process.env.PATH, HOME: folder } });

const json = (out: string) =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const HEADER = JSON.stringify({
  recording: 'opencode-watchdog',
  format: 1,
  version: '0.1.0',
  startedAt: '2026-01-01T00:00:00.000Z',
  acts: true,
  policy: {},
});

describe('replay FILE', () => {
  test('prints each decision with its moment and the numbers that led to it', async () => {
    const { code, out, err } = await run(recording('stuck-hang'));
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^\+00:\d\d\.\d{3} {2}session\.stuck .*8(\.\d+)? ?s/m);
    expect(out).toMatch(/^\+00:\d\d\.\d{3} {2}→ abort +sessionID=ses_1 .*reason=silence/m);
    expect(out).toMatch(/^\d+ observations over \d\d:\d\d\.\d{3}, \d+ decisions\n$/m);
  });

  test('gives each decision one line, whatever a provider or a title says', async () => {
    const base = { sessionID: 'ses_1', directory: '/project' };
    const message = 'Overloaded\n+00:09.000  session.wedged         all is lost\u001b[2J';
    const forged = file(
      'forged.ndjson',
      [
        HEADER,
        { kind: 'session.status', status: { type: 'busy' }, at: 1, ...base },
        { kind: 'session.error', name: 'APIError', message, at: 2, ...base },
        { kind: 'session.status', status: { type: 'idle' }, at: 3, ...base },
        { kind: 'tick', at: 20_000 },
      ]
        .map((each) => (typeof each === 'string' ? each : JSON.stringify(each)))
        .join('\n'),
    );
    const { out } = await run(forged);
    expect(out).toContain('all is lost');
    expect(out).not.toMatch(/^\+00:09/m);
    expect(out).not.toContain('\u001b');
  });

  test('--json prints one object a line, and nothing else', async () => {
    const { code, out, err } = await run(recording('stuck-429-attempts'), '--json');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const stuck = json(out).find(({ note }) => note === 'session.stuck');
    expect(stuck).toMatchObject({ reason: 'attempts', limit: 3, value: 3, attempt: 3 });
    expect(stuck?.atMs).toBeTypeOf('number');
  });

  test('--config asks what another policy would have decided', async () => {
    const strict = file('strict.yaml', 'retry: { maxAttempts: 1 }\n');
    const { code, out } = await run(recording('stuck-429-attempts'), '--config', strict, '--json');
    expect(code).toBe(0);
    expect(json(out).find(({ note }) => note === 'session.stuck')).toMatchObject({ value: 1 });
  });

  test('--profile asks what this configuration would have decided with that profile', async () => {
    const args = [recording('stuck-429-attempts'), '--profile', 'strict'];
    const { code, out } = await run(...args, '--json');
    expect(code).toBe(0);
    expect(json(out).find(({ note }) => note === 'session.stuck')).toMatchObject({ value: 1 });

    const patient = file('no-retry-limit.yaml', 'retry: { maxAttempts: 99 }\n');
    const ours = await run(...args, '--config', patient, '--json');
    expect(json(ours.out).some(({ reason }) => reason === 'attempts')).toBe(false);
  });

  test('--diff shows what only one of two policies decides, in the order of time', async () => {
    const patient = file('patient.yaml', 'stall: { maxSilence: 10m }\n');
    const { code, out } = await run(recording('stuck-hang'), '--diff', patient);
    expect(code).toBe(0);
    const lines = out.trimEnd().split('\n');
    expect(lines.filter((line) => /^- .*→ abort/.test(line))).toHaveLength(1);
    expect(lines.filter((line) => /^\+ .*(→|stuck)/.test(line))).toEqual([]);
    expect(lines.some((line) => /^ {2}\+.*session\.health/.test(line))).toBe(true);
  });

  test('a stricter policy is shown to abort although nobody can look closely any more', async () => {
    const strict = file('silence.yaml', 'stall: { maxSilence: 5s }\n');
    const { out } = await run(recording('stuck-hang'), '--diff', strict, '--json');
    const stuck = json(out).filter(({ note }) => note === 'session.stuck');
    expect(stuck.map(({ sign, limit, value }) => [sign, limit, value])).toEqual([
      ['+', 5_000, 5_000],
      ['-', 8_000, 8_000],
    ]);
  });

  test('a reload in the middle is said, as the header has only the first limits', async () => {
    const lines = [HEADER, '{"kind":"policy.changed","at":5}', '{"kind":"tick","at":6}'];
    const { code, err } = await run(file('reloaded', lines.join('\n')));
    expect(code).toBe(0);
    expect(err).toMatch(/reloaded, or the daemon paused, at \+00:00\.000/);
  });

  test('a diff of a policy with itself has no signs', async () => {
    const { out } = await run(recording('stuck-hang'), '--diff', file('same.yaml', LIKE_RECORDED));
    expect(out).toMatch(/→ abort/);
    expect(out).not.toMatch(/^[-+]/m);
  });
});

/** The limits of the recordings, as far as they matter here. */
const LIKE_RECORDED = `
retry: { maxAttempts: 99, maxDuration: 2m, maxWait: 2m }
stall: { maxSilence: 8s, maxToolTime: 1m }
pileup: { minSessions: 99 }
probe: { interval: 2s }
`;

describe('replay of what is no recording ends with 2 and names the line', () => {
  test.each([
    ['a file that is not there', join(folder, 'nowhere'), /nowhere cannot be read: ENOENT/],
    ['an empty file', file('empty', ''), /empty is empty/],
    ['a log', file('log', '{"level":"info","event":"daemon.started"}\n'), /log:1: not a line/],
    ['a broken line', file('broken', `${HEADER}\n{"kind":\n`), /broken:2: not JSON/],
    [
      'limits that cannot be read',
      file('limits', `${HEADER.replace('{}', '{"retry":7}')}\n`),
      /its header holds limits that cannot be read/,
    ],
  ])('%s', async (_, path, message) => {
    const { code, out, err } = await run(path);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(message);
    expect(err).not.toMatch(/^ +at /m);
  });

  test('a configuration that is wrong is refused as everywhere', async () => {
    const wrong = file('wrong.yaml', 'retry: { maxAttempt: 1 }\n');
    for (const option of ['--config', '--diff']) {
      const { code, err } = await run(recording('stuck-hang'), option, wrong);
      expect(code).toBe(2);
      expect(err).toMatch(/maxAttempts/);
    }
  });

  test('a profile that does not exist is refused as everywhere', async () => {
    const { code, out, err } = await run(recording('stuck-hang'), '--profile', 'nosuch');
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain('"nosuch"');
  });

  test('no file at all is bad usage', async () => {
    const { code, err } = await run();
    expect(code).toBe(2);
    expect(err).not.toBe('');
  });
});
