/** What a finished step is made of, from the parts that opencode 1.18 tells of it (facts, section 10). */
import { describe, expect, it } from 'vitest';
import { foldNumbers } from '../../../../src/opencode/finished-step.js';
import { part } from '../../../../src/opencode/v1/schemas.js';
import { StepReader } from '../../../../src/opencode/v1/step-reader.js';

const T0 = 1_795_343_849_000;
let message = 0;

interface Call {
  tool?: string;
  input?: unknown;
  output?: string;
  error?: string;
  diff?: string;
  ms?: number;
}

/** The step of one message with these tool calls and this text. */
function stepOf(calls: readonly Call[], text?: string) {
  const reader = new StepReader();
  message += 1;
  const messageID = `msg_${message}`;
  for (const [n, { tool = 'grep', input = {}, output, error, diff, ms = 10 }] of calls.entries()) {
    const result =
      error === undefined ? { status: 'completed', output } : { status: 'error', error };
    const state = { ...result, input, metadata: { diff }, time: { start: T0, end: T0 + ms } };
    reader.part(part.parse({ type: 'tool', messageID, callID: `${messageID}_${n}`, tool, state }));
  }
  if (text !== undefined) {
    reader.part(part.parse({ id: 'p', type: 'text', messageID, text, time: { start: T0 } }));
  }
  return reader.part(
    part.parse({
      type: 'step-finish',
      messageID,
      reason: 'tool-calls',
      cost: 0.25,
      tokens: { input: 10, output: 5, reasoning: 1, cache: { read: 100, write: 2 } },
    }),
  );
}

describe('the fingerprint of a step', () => {
  const grep = { input: { pattern: 'x', path: 'src' }, output: 'a.ts:1' };

  it('is the same for the same tools, input and result, whatever the order of keys', () => {
    const again = { input: { path: 'src', pattern: 'x' }, output: 'a.ts:1' };
    expect(stepOf([again])?.fingerprint).toBe(stepOf([grep])?.fingerprint);
  });

  it.each([
    ['another input', { ...grep, input: { pattern: 'y', path: 'src' } }],
    ['another result', { ...grep, output: 'a.ts:2' }],
    ['another tool', { ...grep, tool: 'read' }],
  ])('differs with %s', (_, other) => {
    expect(stepOf([other])?.fingerprint).not.toBe(stepOf([grep])?.fingerprint);
  });

  it('is one for all calls of a step, in any order', () => {
    const read = { tool: 'read', input: { file: 'a' }, output: 'text' };
    expect(stepOf([read, grep])?.fingerprint).toBe(stepOf([grep, read])?.fingerprint);
    expect(stepOf([read, grep])?.fingerprint).not.toBe(stepOf([grep])?.fingerprint);
  });

  it('folds the numbers of an error and keeps its paths', () => {
    const failed = (error: string) => stepOf([{ error }])?.fingerprint;
    expect(failed('Timeout after 1203 ms, request 7f3a9c21b0')).toBe(
      failed('Timeout after 988 ms, request 11aa22bb33'),
    );
    expect(failed('no such file /src/a1.ts')).not.toBe(failed('no such file /src/a2.ts'));
    expect(foldNumbers('at 12:03:04 in /tmp/x9/y')).toBe('at # in /tmp/x9/y');
    expect(failed('no session ses_ddb2d94acffe5pV5VWEYbM2NiO')).toBe(
      failed('no session ses_ddb2d4b83ffenA1Ve5CSO8srUA'),
    );
    expect(failed('id 550e8400-e29b-41d4-a716-446655440000')).toBe(
      failed('id 7c9e6679-7425-40de-944b-e07fc1f90ae7'),
    );
    expect(foldNumbers('no_such_function in a_longidentifierhere')).toBe(
      'no_such_function in a_longidentifierhere',
    );
  });

  it('is the same for a subagent with the same result, whose session is another one each time', () => {
    const task = (id: string, result = 'All done.') =>
      stepOf([{ tool: 'task', output: `<task id="${id}" state="completed">\n${result}\n</task>` }])
        ?.fingerprint;
    const first = task('ses_ddb2d94acffe5pV5VWEYbM2NiO');
    expect(task('ses_ddb2d4b83ffenA1Ve5CSO8srUA')).toBe(first);
    expect(task('ses_ddb2d4b83ffenA1Ve5CSO8srUA', 'Found one.')).not.toBe(first);
  });

  it('of an edit is what it made of the file: the same edit further down is another one', () => {
    const edit = (diff: string) =>
      stepOf([{ tool: 'edit', output: 'Edit applied successfully.', diff }])?.fingerprint;
    expect(edit('@@ -1,1 +1,1 @@\n-one\n+two')).toBe(edit('@@ -1,1 +1,1 @@\n-one\n+two'));
    expect(edit('@@ -1,1 +1,1 @@\n-one\n+two')).not.toBe(edit('@@ -2,1 +2,1 @@\n-one\n+two'));
  });

  it('of a step without tools is its text', () => {
    expect(stepOf([], 'I go on.')?.fingerprint).toBe(stepOf([], 'I go on. ')?.fingerprint);
    expect(stepOf([], 'I go on.')?.fingerprint).not.toBe(stepOf([], 'Done.')?.fingerprint);
  });
});

describe('a finished step', () => {
  it('counts its tools, errors, file changes, cost and tokens', () => {
    const step = stepOf([
      { tool: 'edit', output: 'ok', ms: 20 },
      { tool: 'write', error: 'no such folder', ms: 7_000 },
      { tool: 'task', output: 'done', ms: 90_000 },
    ]);
    expect(step).toMatchObject({
      empty: false,
      tools: 3,
      toolErrors: 1,
      fileChanges: 1,
      tool: 'edit',
      toolMs: 7_000,
      finish: 'tool-calls',
      costUsd: 0.25,
      tokens: 118,
    });
  });

  it('is empty without text, reasoning and tools', () => {
    expect(stepOf([])).toMatchObject({ empty: true });
    expect(stepOf([], '   ')).toMatchObject({ empty: true });
    expect(stepOf([], 'hello')).toMatchObject({ empty: false, hasText: true });
  });

  it('is told once, by its parts, also where the message shows its end before them', () => {
    const reader = new StepReader();
    const info = { id: 'msg_e', role: 'assistant', finish: 'tool-calls', time: { completed: T0 } };
    expect(reader.message(info)).toBeUndefined();
    const state = { status: 'completed', output: 'x', input: {}, time: { start: T0, end: T0 } };
    const messageID = 'msg_e';
    reader.part(part.parse({ type: 'tool', messageID, callID: 'c', tool: 'read', state }));
    const finish = part.parse({ type: 'step-finish', messageID, reason: 'tool-calls', cost: 1 });
    expect(reader.part(finish)).toMatchObject({ empty: false, tools: 1, costUsd: 1 });
    expect(reader.message(info)).toBeUndefined();
  });

  it('is told to be a compaction’s summary', () => {
    const reader = new StepReader();
    reader.message({ id: 'msg_s', role: 'assistant', summary: true });
    const finish = { type: 'step-finish', messageID: 'msg_s', reason: 'stop' };
    expect(reader.part(part.parse(finish))).toMatchObject({ summary: true });
    expect(reader.part(part.parse({ ...finish, messageID: 'msg_t' }))).not.toHaveProperty(
      'summary',
    );
  });
});
