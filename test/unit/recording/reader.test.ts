/** What is no recording is refused with the line that is wrong: never a crash, never a hang, never a guess. */
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_LINE_CHARS, observationSchema } from '../../../src/recording/format.js';
import { RecordingError, readRecording, replay } from '../../../src/recording/replay.js';
import { DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { runs } from '../../support/mutate.js';
import { fileOf, folder, HEADER } from './support.js';

const probe = (at: number) => ({ kind: 'probe.ok', at, startedAt: at });

async function refusal(file: string): Promise<string> {
  const error = await readRecording(file).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(RecordingError);
  return (error as Error).message;
}

test('a file that is not there, or a folder, is named with the reason', async () => {
  expect(await refusal('/nowhere/at-all.ndjson')).toMatch(/at-all\.ndjson cannot be read: ENOENT/);
  const there = folder();
  expect(await refusal(there)).toMatch(/cannot be read: EISDIR/);
});

test('an empty file is said to be empty', async () => {
  expect(await refusal(fileOf())).toMatch(/is empty: expected a recording made by "run --record"/);
  expect(await refusal(fileOf('', '  '))).toMatch(/is empty/);
});

test('a log instead of a recording is refused at its first line', async () => {
  const log = { level: 'info', event: 'daemon.started', msg: 'Started.' };
  expect(await refusal(fileOf(log))).toMatch(/:1: not a line of a recording/);
});

test('a later format is refused, not guessed at', async () => {
  expect(await refusal(fileOf({ ...HEADER, format: 2 }))).toMatch(/:1: .*format/);
});

test('the line that is wrong is named by its number', async () => {
  expect(await refusal(fileOf(HEADER, probe(0), '{"kind":'))).toMatch(/:3: not JSON/);
  expect(await refusal(fileOf(HEADER, '', { kind: 'no.such', at: 1 }))).toMatch(/:3: not a line/);
  expect(await refusal(fileOf(HEADER, { ...probe(0), at: '1' }))).toMatch(/:2: not a line.*at/);
});

test('times that run backwards, or leap by years, are refused: a replay would not come to an end', async () => {
  expect(await refusal(fileOf(HEADER, probe(9_000), probe(0)))).toMatch(/:3: its time/);
  expect(await refusal(fileOf(HEADER, probe(0), probe(1e300)))).toMatch(/:3: its time/);
});

test('a moment of disorder is none: answers note their time before they are taken in', async () => {
  const { observations } = await readRecording(fileOf(HEADER, probe(100), probe(99)));
  expect(observations.map(({ at }) => at)).toEqual([100, 99]);
});

test('a line without an end is given up at the limit, also where the file is endless', async () => {
  const long = join(folder(), 'long');
  writeFileSync(long, `${JSON.stringify(HEADER)}\n${'x'.repeat(MAX_LINE_CHARS + 1)}`);
  expect(await refusal(long)).toMatch(/:2: the line is too long/);
  const endless = join(folder(), 'endless');
  symlinkSync('/dev/zero', endless);
  expect(await refusal(endless)).toMatch(/:1: the line is too long/);
});

test('a file larger than any recording is given up at the limit', async () => {
  const file = fileOf(HEADER, ...Array.from({ length: 5_000 }, (_, n) => probe(n)));
  await expect(readRecording(file, { maxBytes: 100_000 })).rejects.toThrow(
    /recording\.ndjson is larger than any recording \(100000 bytes\)/,
  );
  expect((await readRecording(file)).observations).toHaveLength(5_000);
});

test('a recording that was cut in the middle of its last line is refused there', async () => {
  const file = join(folder(), 'cut');
  writeFileSync(file, `${JSON.stringify(HEADER)}\n${JSON.stringify(probe(0))}\n{"kind":"pro`);
  expect(await refusal(file)).toMatch(/:3: not JSON/);
});

test('a last line without its line end, and Windows line ends, are read', async () => {
  const file = join(folder(), 'plain');
  writeFileSync(file, `${JSON.stringify(HEADER)}\r\n${JSON.stringify(probe(0))}`);
  expect((await readRecording(file)).observations).toHaveLength(1);
});

test('a recording of version 0.1 is read, with the kinds that have another name since', async () => {
  const thawed = [
    { kind: 'thaw.done', at: 1 },
    { kind: 'thaw.failed', at: 2, error: 'refused' },
  ];
  const { observations } = await readRecording(fileOf(HEADER, ...thawed));
  expect(observations).toEqual([
    { kind: 'continue_process.done', at: 1 },
    { kind: 'continue_process.failed', at: 2, error: 'refused' },
  ]);
});

/** Values that are wrong in the ways that files are wrong: the right keys with other things in them. */
const KINDS = observationSchema.options.map((option) => String(option.shape.kind.value));
const junk = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom('', null, -1, 1e308, [], {}, '__proto__', 'ses_1', { type: 'retry' }),
);
const almost = fc.record(
  {
    kind: fc.oneof(fc.constantFrom(...KINDS), fc.string()),
    at: fc.oneof(fc.integer({ min: 0, max: 10_000 }), junk),
    startedAt: fc.oneof(fc.integer({ min: 0, max: 10_000 }), junk),
    sessionID: fc.oneof(fc.constantFrom('ses_1', 'ses_2'), junk),
    status: fc.oneof(
      fc.record({ type: fc.constantFrom('idle', 'busy', 'retry'), attempt: junk, message: junk }),
      junk,
    ),
    statuses: fc.oneof(fc.dictionary(fc.string(), fc.constant({ type: 'busy' })), junk),
    result: junk,
    tool: junk,
    request: junk,
    info: junk,
    ms: junk,
  },
  { requiredKeys: ['kind', 'at'] },
);

test('whatever is in the file, it is read or refused with file and line, and what is read can be replayed', async () => {
  let read = 0;
  const line = fc.oneof(
    { weight: 6, arbitrary: almost.map((each) => JSON.stringify(each)) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
    {
      weight: 1,
      arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(line, { maxLength: 3 }), async (headed, lines) => {
      const file = fileOf(...(headed ? [HEADER] : []), ...lines);
      try {
        const { observations } = await readRecording(file);
        read += 1;
        for (const asRecorded of [true, false]) {
          const decided = [
            ...replay(observations, { policy: DEFAULT_POLICY, acts: true, asRecorded }),
          ];
          expect(decided.length).toBeLessThan(1_000);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(RecordingError);
        expect((error as Error).message).toContain('recording.ndjson');
        expect((error as Error).message.length).toBeLessThan(600);
      }
    }),
    { numRuns: runs(800) },
  );
  // The property would be idle if nothing got through.
  expect(read).toBeGreaterThan(0);
});
