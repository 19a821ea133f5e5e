/** The driver's pure parts: patience, verdict, the text as it comes, the transcript, errors. */
import { describe, expect, it } from 'vitest';
import { asDriverError, DriverError, firstLine } from '../../../../src/opencode/driver/error.js';
import { giveUpOn, type Retry } from '../../../../src/opencode/driver/give-up-policy.js';
import { sessionWish } from '../../../../src/opencode/driver/prompt-words.js';
import { newestRun, outcomeOf } from '../../../../src/opencode/driver/run-outcome.js';
import { StreamedText } from '../../../../src/opencode/driver/streamed-text.js';
import { type Message, renderTranscript } from '../../../../src/opencode/driver/transcript.js';
import type { TextKind } from '../../../../src/opencode/driver-api.js';
import { OpencodeError } from '../../../../src/opencode/http/errors.js';
import { readMessage } from '../../../../src/opencode/v1/messages.js';

it('a title that is made from a prompt holds no half of a secret', () => {
  const title = `Log in to the staging shop with GITHUB_TOKEN=${'k'.repeat(40)} first`;
  expect(sessionWish({ title }).title).toBe(
    'Log in to the staging shop with GITHUB_TOKEN=[secret] first',
  );
});

describe('patience', () => {
  const patience = { leftMs: 60_000, maxAttempts: 5 };
  const retry = (more: Partial<Retry> = {}): Retry => ({
    type: 'retry',
    attempt: 1,
    message: 'Rate limit reached',
    nextInMs: 2_000,
    ...more,
  });

  it('lasts while the next attempt may still bring the reply', () => {
    expect(giveUpOn(retry(), patience)).toBeUndefined();
    expect(giveUpOn(retry({ attempt: 4 }), patience)).toBeUndefined();
  });

  it('ends at the attempts that are allowed', () => {
    expect(giveUpOn(retry({ attempt: 5 }), patience)).toMatchObject({ kind: 'provider_failed' });
    expect(giveUpOn(retry(), { ...patience, maxAttempts: 1 })).toBeDefined();
  });

  it('ends when the next attempt comes after the time-out', () => {
    expect(giveUpOn(retry({ nextInMs: 60_001 }), patience)?.words).toContain('61 s away');
    expect(giveUpOn(retry({ nextInMs: 60_000 }), patience)).toBeUndefined();
  });

  it('ends at once when a person must act', () => {
    expect(giveUpOn(retry({ needsPerson: true }), patience)?.words).toContain('a person must act');
  });

  it('ends at the second connection that fails in a row, and not at the first', () => {
    const message =
      'Cannot connect to API: Unable to connect. Is the computer able to access the url?';
    expect(giveUpOn(retry({ message }), patience)).toBeUndefined();
    expect(giveUpOn(retry({ message, attempt: 2 }), patience)).toMatchObject({
      kind: 'provider_unreachable',
    });
  });
});

const message = (more: Partial<Message> = {}): Message => ({
  id: 'msg_2',
  role: 'assistant',
  text: '',
  reasoning: '',
  tools: [],
  files: [],
  ...more,
});

describe('the verdict on a run at rest', () => {
  it('is the reply of its last step that says something', () => {
    const steps = [
      message({ id: 'a', completed: 1, finish: 'tool-calls', text: 'let me look' }),
      message({ id: 'b', completed: 2, finish: 'stop', text: 'done' }),
    ];
    expect(outcomeOf(steps)).toMatchObject({ kind: 'reply', message: { id: 'b' } });
  });

  it('is no reply where the last step says nothing, whatever an earlier one said', () => {
    const said = message({ id: 'a', completed: 1, finish: 'tool-calls', text: 'let me look' });
    for (const text of ['', ' \n']) {
      const silent = [said, message({ id: 'c', completed: 2, finish: 'stop', text })];
      expect(outcomeOf(silent)).toMatchObject({ kind: 'empty', message: { id: 'c' } });
    }
    const thought = message({ completed: 2, finish: 'stop', reasoning: 'hmm' });
    expect(outcomeOf([thought])).toMatchObject({ kind: 'empty' });
  });

  it('tells an answer that was cut, and one in a given form', () => {
    const cut = message({ completed: 2, finish: 'length', text: 'half of' });
    expect(outcomeOf([cut])).toMatchObject({ kind: 'truncated' });
    const form = message({ completed: 2, finish: 'tool-calls', structured: { a: 1 } });
    expect(outcomeOf([form])).toMatchObject({ kind: 'reply' });
  });

  it('passes over the summary of a compaction, and what opencode says after it', () => {
    const all = [
      message({ id: 'u1', role: 'user' }),
      message({ id: 's', completed: 1, finish: 'stop', text: 'so far', summary: true }),
      message({ id: 'u2', role: 'user', synthetic: true }),
      message({ id: 'a', completed: 2, finish: 'stop', text: 'done' }),
      message({ id: 's2', completed: 3, finish: 'stop', text: 'so far', summary: true }),
    ];
    const run = newestRun(all, undefined);
    expect(outcomeOf(run)).toMatchObject({ kind: 'reply', message: { id: 'a' } });
  });

  it('tells a failure, a no, an abort, a cut and nothing apart', () => {
    const error = { name: 'APIError', message: 'no', statusCode: 400 };
    expect(outcomeOf([message({ completed: 1, error })])).toEqual({ kind: 'failed', error });
    expect(outcomeOf([message({ completed: 1, finish: 'tool-calls' })])).toEqual({
      kind: 'stopped',
    });
    expect(outcomeOf([message({ completed: 1 })])).toEqual({ kind: 'aborted' });
    expect(outcomeOf([message()])).toEqual({ kind: 'cut' });
    expect(outcomeOf([message({ role: 'user' })])).toEqual({ kind: 'nothing' });
    expect(outcomeOf([])).toEqual({ kind: 'nothing' });
  });

  it('looks only at what came after the prompt', () => {
    const all = [
      message({ id: 'u1', role: 'user' }),
      message({ id: 'a1', finish: 'stop', completed: 1 }),
      message({ id: 'u2', role: 'user' }),
      message({ id: 'a2' }),
    ];
    expect(newestRun(all, 'a1').map(({ id }) => id)).toEqual(['u2', 'a2']);
    expect(newestRun(all, undefined).map(({ id }) => id)).toEqual(['a2']);
    // The prompt was not written yet: the old reply is not the new one.
    expect(newestRun(all.slice(0, 2), 'a1')).toEqual([]);
  });
});

describe('the text as it comes', () => {
  const start = () => {
    const told: string[] = [];
    const text = new StreamedText((piece) => told.push(piece));
    text.answer('m');
    const whole = (id: string, value: string, of: TextKind = 'text') =>
      text.whole(id, 'm', of, value);
    const delta = (partID: string, value: string) => text.added(partID, 'm', value);
    return { text, told, whole, delta };
  };

  it('is told piece by piece, once, with a gap between parts, and without the reasoning', () => {
    const { text, told, whole, delta } = start();
    whole('r', '', 'reasoning');
    delta('r', 'hmm');
    whole('p', '');
    delta('p', 'Hel');
    delta('p', 'lo');
    whole('p', 'Hello');
    whole('q', '');
    delta('q', 'again');
    text.finish('again');
    expect(told).toEqual(['Hel', 'lo', '\n\nagain']);
    expect(text.text).toBe('Hello\n\nagain');
  });

  it('leaves the prompt itself out', () => {
    const { text } = start();
    text.whole('u', 'user', 'text', 'the prompt');
    expect(text.text).toBe('');
  });

  it('that was missed in a gap is told at the end of its part, once', () => {
    const { text, told, whole, delta } = start();
    whole('p', '');
    delta('p', 'one ');
    text.gap();
    delta('p', 'three');
    whole('p', 'one two three');
    expect(told).toEqual(['one ', 'two three']);
  });

  it('that was never told is told when the reply is known', () => {
    const { text, whole, delta } = start();
    whole('p', '');
    delta('p', 'one ');
    text.gap();
    text.finish('one two');
    expect(text.text).toBe('one two');
    const silent = start();
    silent.text.finish('all of it');
    expect(silent.told).toEqual(['all of it']);
  });
});

describe('a message', () => {
  const read = (parts: unknown[], info: Record<string, unknown> = {}) =>
    readMessage({ info: { id: 'm', role: 'assistant', ...info }, parts })!;

  it('has the text of the attempt that worked, not of those that were cut', () => {
    const cut = { type: 'text', text: 'chunk 0' };
    const ended = { type: 'text', text: 'chunk 0 and 1', time: { start: 1, end: 2 } };
    expect(read([cut, ended]).text).toBe('chunk 0 and 1');
    expect(read([cut]).text).toBe('chunk 0');
  });

  it('takes the reason of its end from the step where an old server has none', () => {
    expect(read([{ type: 'step-finish', reason: 'stop' }]).finish).toBe('stop');
  });

  it('survives parts of unknown shapes', () => {
    expect(read([null, 3, { type: 'new', text: 7 }, { type: 'text', text: 'yes' }]).text).toBe(
      'yes',
    );
    expect(readMessage({ parts: [] })).toBeUndefined();
  });

  it('is shown as text and as Markdown', () => {
    const shown = read(
      [
        { type: 'text', text: 'Look:' },
        { type: 'tool', tool: 'bash', state: { status: 'error', title: 'ls' } },
      ],
      {
        providerID: 'fake',
        modelID: 'm1',
        error: { name: 'APIError', data: { message: 'no\nstack' } },
      },
    );
    expect(renderTranscript([shown], 'text')).toBe(
      'assistant (fake/m1):\nLook:\nbash: error (ls)\nerror: APIError no',
    );
    expect(renderTranscript([shown], 'markdown')).toBe(
      '## assistant (fake/m1)\n\nLook:\n\n- bash: error (ls)\n- error: APIError no',
    );
  });
});

describe('errors', () => {
  it('keep their kind and gain what is known later', () => {
    const error = new DriverError('timeout', 'no reply.', { sessionID: 's', cause: 'x' });
    const more = error.with({ deleted: true }, 'It was deleted.');
    expect(more.message).toBe('no reply. It was deleted.');
    expect(more.cause).toBe('x');
    expect(JSON.parse(JSON.stringify({ error: more }))).toEqual({
      error: {
        cause: { message: 'x' },
        kind: 'timeout',
        message: 'no reply. It was deleted.',
        sessionID: 's',
        deleted: true,
      },
    });
  });

  it('of the transport say how to start a server that is not there', () => {
    const failed = { kind: 'refused', request: 'GET x', outcome: 'failed' } as const;
    const refused = new OpencodeError({ ...failed, cause: { code: 'ECONNREFUSED' } });
    const error = asDriverError(refused);
    expect(error.kind).toBe('unreachable');
    expect(error.message).toContain('check --start');
    expect(asDriverError(error)).toBe(error);
    const unknown = new OpencodeError({ ...failed, cause: { code: 'ENOTFOUND' } });
    expect(asDriverError(unknown).message).toContain('the host cannot be reached');
  });

  it('show the first line of what opencode said, not its stack', () => {
    const said = 'ProviderModelNotFoundError: Model not found: a/b.\n    at <anonymous> (/$bunfs)';
    expect(firstLine(said)).toBe('Model not found: a/b.');
  });
});
