/** The recorder: every observation as it was, nothing that is nobody's business, and never more than two files. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { MAX_LINE_CHARS, toLine } from '../../../src/recording/format.js';
import { Recorder, type RecorderOptions } from '../../../src/recording/recorder.js';
import { readRecording } from '../../../src/recording/replay.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { copyPolicy, DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { folder, HEADER } from './support.js';

const errors: unknown[] = [];
function recorder(options: Partial<RecorderOptions> = {}): { file: string; recorder: Recorder } {
  const file = options.file ?? join(folder(), 'r.ndjson');
  const made = new Recorder({
    file,
    header: { version: '0.1.0', acts: true, policy: {} },
    now: () => HEADER.startedAt,
    clean: (text) => text.replaceAll('hunter2', '[redacted]'),
    onError: (error) => errors.push(error),
    ...options,
  });
  return { file, recorder: made };
}

const info: Observation = {
  kind: 'session.info',
  at: 1_234.567_89,
  sessionID: 'ses_1',
  directory: '/project',
  info: { directory: '/project', title: 'a secret plan', parentID: 'ses_0' },
};
const polled: Observation = {
  kind: 'status.polled',
  at: 2_000,
  startedAt: 1_999.25,
  directory: '/project',
  statuses: new Map([
    ['ses_1', { type: 'retry', attempt: 2, message: 'Rate limit reached', nextInMs: 4_000 }],
    ['ses_2', { type: 'busy' }],
  ]),
};

test('what was taken in is read back, without titles and below a microsecond', async () => {
  const { file, recorder: made } = recorder();
  for (const o of [info, polled]) made.take(o);
  made.close();
  const { header, observations } = await readRecording(file);
  expect(header).toMatchObject({ recording: 'opencode-watchdog', format: 1, acts: true });
  expect(observations).toEqual([
    { ...info, at: 1_234.568, info: { directory: '/project', parentID: 'ses_0' } },
    polled,
  ]);
});

test('texts are cleaned of secrets and cut', () => {
  const message = `hunter2 ${'x'.repeat(10_000)}`;
  const error: Observation = {
    kind: 'session.error',
    at: 0,
    sessionID: 's',
    name: 'APIError',
    message,
  };
  const line = toLine(error, (text) => text.replaceAll('hunter2', '[redacted]'));
  expect(line).not.toContain('hunter2');
  expect(line).toContain('[redacted]');
  expect(line.length).toBeLessThan(700);
});

test('a poll of ten thousand sessions fits a line', () => {
  const statuses = new Map(
    Array.from({ length: 10_000 }, (_, nth) => [
      `ses_${String(nth).padStart(28, '0')}`,
      { type: 'retry', attempt: 1, message: 'x'.repeat(60), nextInMs: 4_000 } as const,
    ]),
  );
  const line = toLine(
    { ...(polled as object), statuses } as unknown as Observation,
    (text) => text,
  );
  expect(line.length).toBeLessThan(MAX_LINE_CHARS);
});

test('what is too long for a line is left out, which is said once, and its time is kept', async () => {
  errors.length = 0;
  const { file, recorder: made } = recorder();
  const message = 'x'.repeat(500);
  const statuses = new Map(
    Array.from({ length: 10_000 }, (_, n) => [`s${n}`, { type: 'retry', attempt: 1, message }]),
  );
  const huge = { ...polled, statuses } as Observation;
  for (const o of [info, huge, huge, polled]) made.take(o);
  made.close();
  const { observations } = await readRecording(file);
  expect(observations.map(({ kind }) => kind)).toEqual([
    'session.info',
    'tick',
    'tick',
    'status.polled',
  ]);
  expect(errors.map(String)).toEqual([
    expect.stringMatching(/an observation \(status\.polled\) of more than 4194304 characters/),
  ]);
});

test('only its owner can read it', () => {
  const { file, recorder: made } = recorder();
  made.close();
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('at its limit it is put aside once, and both files can be replayed', async () => {
  const maxBytes = 2_000;
  const { file, recorder: made } = recorder({ maxBytes });
  for (let nth = 0; nth < 500; nth += 1) made.take({ ...polled, at: 2_000 + nth });
  made.close();
  expect(readdirSync(dirname(file)).sort()).toEqual([basename(file), `${basename(file)}.1`]);
  for (const each of [file, `${file}.1`]) {
    // A line more at most.
    expect(statSync(each).size).toBeLessThan(maxBytes + 500);
    expect((await readRecording(each)).observations.length).toBeGreaterThan(0);
  }
  const last = (await readRecording(file)).observations.at(-1);
  expect(last?.at).toBe(2_499);
});

test('a file that was begun after a reload has the limits that were in force then', async () => {
  const { file, recorder: made } = recorder({ maxBytes: 20_000 });
  const policy = copyPolicy(DEFAULT_POLICY);
  policy.retry.maxAttempts = 2;
  made.take({ kind: 'policy.changed', at: 1, policy });
  for (let nth = 0; nth < 150; nth += 1) made.take({ ...polled, at: 2_000 + nth });
  made.close();
  expect((await readRecording(`${file}.1`)).header.policy).toEqual({});
  const { header, observations } = await readRecording(file);
  expect(observations.some(({ kind }) => kind === 'policy.changed')).toBe(false);
  expect(header.policy).toEqual(policy);
});

test('a recording that is there is put aside, not written into', async () => {
  const { file, recorder: first } = recorder();
  first.take(info);
  first.close();
  const { recorder: second } = recorder({ file });
  second.take(polled);
  second.close();
  expect((await readRecording(`${file}.1`)).observations).toHaveLength(1);
  expect((await readRecording(file)).observations).toEqual([polled]);
});

test('a folder that is not there is an error at start', () => {
  expect(() => recorder({ file: join(folder(), 'no', 'such', 'r.ndjson') })).toThrow(/ENOENT/);
});

test('what fails in the middle is said once, ends the recording, and nothing else', () => {
  errors.length = 0;
  const { file, recorder: made } = recorder({
    clean: () => {
      throw new Error('no space left on device');
    },
  });
  made.take(info);
  made.take(polled);
  made.close();
  expect(errors).toHaveLength(1);
  expect(readFileSync(file, 'utf8').trimEnd().split('\n')).toHaveLength(1);
});

test('a disk that is full from the start is told, and no reason not to start', () => {
  errors.length = 0;
  // Writing to it fails with ENOSPC (full(4)).
  const { recorder: made } = recorder({ file: '/dev/full' });
  expect(errors).toMatchObject([{ code: 'ENOSPC' }]);
  made.take(info);
  made.close();
  expect(errors).toHaveLength(1);
});
