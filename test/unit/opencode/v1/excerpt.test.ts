/** The end of a transcript as a person reads it. */
import { expect, it } from 'vitest';
import {
  MAX_EXCERPT_CHARS,
  MAX_EXCERPT_MESSAGES,
  MAX_INPUT_CHARS,
} from '../../../../src/opencode/excerpt.js';
import { excerptOf } from '../../../../src/opencode/v1/excerpt.js';
import { readMessages } from '../../../../src/opencode/v1/transcript.js';

const user = (text: string) => ({
  info: { id: 'msg_1', role: 'user', time: { created: 1_795_338_897_735 } },
  parts: [{ type: 'text', text }],
});
const assistant = (parts: object[], info: object = {}) => ({
  info: { id: 'msg_2', role: 'assistant', time: { created: 1_795_338_898_000 }, ...info },
  parts,
});
const tool = (name: string, input: object, status = 'running') => ({
  type: 'tool',
  callID: 'call_1',
  tool: name,
  state: { status, input, time: { start: 1 } },
});
const read = (...messages: object[]) => excerptOf(readMessages(messages));

it('says what the model said last, and what its tool is called with', () => {
  const excerpt = read(
    user('Fix it'),
    assistant([
      { type: 'text', text: 'I run the tests.' },
      tool('bash', { command: 'npm\n  test' }),
    ]),
  );
  expect(excerpt).toMatchObject({
    lastWords: 'I run the tests.',
    tool: { tool: 'bash', input: 'npm test' },
    messages: [
      { role: 'user', text: 'Fix it', tools: [], at: 1_795_338_897_735 },
      { role: 'assistant', text: 'I run the tests.', tools: ['bash npm test (running)'] },
    ],
  });
  expect(excerpt.question).toBeUndefined();
});

it('says what a person is asked', () => {
  const questions = [{ question: 'Which database?', options: [] }, { question: 'And which port?' }];
  expect(read(user('x'), assistant([tool('question', { questions })])).question).toBe(
    'Which database? And which port?',
  );
});

it('a tool that has ended is not under way, and an error is named', () => {
  const excerpt = read(
    user('x'),
    assistant([tool('bash', { command: 'ls' }, 'completed')], {
      error: { name: 'APIError', data: { message: 'bad key', statusCode: 401 } },
    }),
  );
  expect(excerpt.tool).toBeUndefined();
  expect(excerpt.messages[1]?.error).toBe('APIError: bad key');
});

it('is bounded in messages, text and arguments', () => {
  const long = assistant([
    { type: 'text', text: `${'a'.repeat(9_000)}THE END` },
    tool('write', { content: 'x'.repeat(9_000) }),
  ]);
  const excerpt = read(...Array.from({ length: 30 }, () => long));
  expect(excerpt.messages).toHaveLength(MAX_EXCERPT_MESSAGES);
  const [first] = excerpt.messages;
  expect(first?.text.length).toBeLessThanOrEqual(MAX_EXCERPT_CHARS + 1);
  expect(first?.text).toMatch(/^….*THE END$/);
  expect(excerpt.tool?.input.length).toBeLessThanOrEqual(MAX_INPUT_CHARS);
});

it('shows no half of a secret where it leaves out the beginning', () => {
  const words = `password=${'k'.repeat(40)} ${'x'.repeat(MAX_INPUT_CHARS - 20)}`;
  const { lastWords } = read(user('x'), assistant([{ type: 'text', text: words }]));
  expect(lastWords).toBe(`…password=[secret] ${'x'.repeat(MAX_INPUT_CHARS - 20)}`);
});
