/** A session’s last messages as the inspection needs them. */
import { describe, expect, it } from 'vitest';
import { readMessages, transcriptState } from '../../../../src/opencode/v1/transcript.js';

describe('a transcript', () => {
  const user = {
    info: { id: 'u', role: 'user', model: { providerID: 'p', modelID: 'm' } },
    parts: [],
  };
  const step = (text: string, state: object = { status: 'running', time: { start: 900 } }) => ({
    info: { id: 'a', role: 'assistant', providerID: 'p', modelID: 'm', time: { created: 1 } },
    parts: [
      { id: '1', type: 'text', text },
      { id: '2', type: 'tool', tool: 'task', callID: 'c', state },
      'unparseable',
    ],
  });
  const NOW = 1_795_343_500_000;
  const read = (...messages: unknown[]) =>
    transcriptState(readMessages(messages), 5_000, NOW + 1_000);

  it('shows the running tools with their own start', () => {
    const metadata = { sessionId: 'ses_child' };
    const state = read(
      user,
      step('x', { status: 'running', time: { start: NOW + 900 }, metadata }),
    );
    expect(state.tools).toEqual([
      { callID: 'c', tool: 'task', startedAt: 4_900, childID: 'ses_child' },
    ]);
    expect(state).toMatchObject({ preparing: false, model: 'p/m' });
  });

  it('is preparing while the last message is the user’s', () => {
    expect(read(user).preparing).toBe(true);
    expect(read().preparing).toBe(false);
  });

  it('has a mark that changes with text, tools and messages, and with nothing else', () => {
    const mark = read(user, step('x')).mark;
    expect(read(user, step('x')).mark).toBe(mark);
    expect(read(user, step('xy')).mark).not.toBe(mark);
    expect(read(user, step('x', { status: 'completed' })).mark).not.toBe(mark);
    expect(read(user).mark).not.toBe(mark);
    const output = (text: string) => step('x', { status: 'running', metadata: { output: text } });
    expect(read(output('a')).mark).not.toBe(read(output('ab')).mark);
  });

  it('skips messages that are none', () => {
    expect(readMessages([null, 3, {}, { info: { id: 'a', role: 'user' } }])).toHaveLength(1);
  });
});
