/** Which prompts and messages of a shared session are ours: the rules, without a server. */
import { describe, expect, it } from 'vitest';
import {
  MAX_FOREIGN,
  type OwnPrompt,
  PromptOwnership,
} from '../../../../src/opencode/driver/prompt-ownership.js';
import type { Message } from '../../../../src/opencode/driver/transcript.js';

const OURS = { mark: 'mark-of-ours', text: 'our words' };
const ERROR = { name: 'APIError', message: 'the provider refused' };

const ownership = (more: OwnPrompt = {}) => new PromptOwnership({ prompt: OURS, ...more });
const message = (more: Pick<Message, 'id' | 'role'> & Partial<Message>): Message => ({
  text: '',
  reasoning: '',
  tools: [],
  files: [],
  ...more,
});
const ourPrompt = message({ id: 'p1', role: 'user', text: OURS.text, mark: OURS.mark });
const theirPrompt = message({ id: 'p2', role: 'user', text: 'a person' });
const theirAnswer = message({ id: 'a2', role: 'assistant', parentID: 'p2' });

describe('messages that are heard', () => {
  it('are ours while nobody else has prompted', () => {
    const known = ownership();
    known.hearPrompt('p1', OURS.mark);
    expect(known.hearAnswer('a1', 'p1')).toEqual({ owner: 'ours', endsWait: false });
    expect(known.isForeign('a1')).toBe(false);
    expect(known.mayGoOn).toBe(false);
  });

  it('stay foreign when the wait behind another run is over', () => {
    const known = ownership({ isQueued: true });
    expect(known.isForeign('a0')).toBe(true);
    known.hearPrompt('p1', OURS.mark);
    expect(known.hearAnswer('a1', 'p1')).toEqual({ owner: 'ours', endsWait: true });
    expect(known.isBehind).toBe(false);
    expect(known.isForeign('a0')).toBe(true);
    expect(known.isForeign('a1')).toBe(false);
  });

  it('end the wait only once', () => {
    const known = ownership({ isQueued: true });
    known.hearPrompt('p1', OURS.mark);
    known.hearAnswer('a1', 'p1');
    expect(known.hearAnswer('a2', 'p1').endsWait).toBe(false);
  });

  it('ask once for the transcript when an answer names a prompt that nobody has shown', () => {
    const known = ownership();
    known.hearPrompt('p1', OURS.mark);
    expect(known.hearAnswer('a2', 'p2').owner).toBe('unplaced');
    expect(known.hearAnswer('a3', 'p2').owner).toBe('ours');
    expect(known.mayGoOn).toBe(true);
  });

  it('are forgotten beyond the limit, the oldest first', () => {
    const known = ownership();
    for (let each = 0; each <= MAX_FOREIGN; each += 1) known.hearPrompt(`p${each}`, 'another mark');
    expect(known.isForeign('p0')).toBe(false);
    expect(known.isForeign('p1')).toBe(true);
  });
});

describe('the outcome that the transcript shows', () => {
  it('shows that the prompt which an answer names is our own after a compaction', () => {
    const known = ownership();
    known.hearPrompt('p1', OURS.mark);
    known.hearAnswer('a2', 'p2');
    const compaction = message({ id: 'p2', role: 'user', synthetic: true });
    known.outcomeOf([ourPrompt, compaction], undefined);
    expect(known.mayGoOn).toBe(false);
    expect(known.hearAnswer('a3', 'p2').owner).toBe('ours');
  });

  it('is a failure when ours was passed over after an error', () => {
    const messages = [ourPrompt, theirPrompt, theirAnswer];
    expect(ownership().outcomeOf(messages, ERROR).outcome).toEqual({
      kind: 'failed',
      error: ERROR,
    });
    expect(ownership().outcomeOf(messages, undefined).outcome).toEqual({ kind: 'superseded' });
  });

  it('does not take the error of the run before ours for ours', () => {
    const messages = [ourPrompt, theirPrompt, theirAnswer];
    const known = ownership({ isQueued: true });
    expect(known.outcomeOf(messages, ERROR).outcome).toEqual({ kind: 'superseded' });
  });

  it('does not make ours wait again where it comes from before our answer', () => {
    const known = ownership({ since: 'a0' });
    const before = [message({ id: 'a0', role: 'assistant' }), theirPrompt, theirAnswer, ourPrompt];
    known.outcomeOf(before, undefined);
    expect(known.isBehind).toBe(true);
    known.hearPrompt('p1', OURS.mark);
    known.hearAnswer('a1', 'p1');
    known.outcomeOf(before, undefined);
    expect(known.isBehind).toBe(false);
    expect(known.isForeign('a1')).toBe(false);
  });

  it('leaves out a command that a person ran after ours was answered', () => {
    const answer = { id: 'a1', role: 'assistant', parentID: 'p1', finish: 'stop', text: 'done' };
    const command = {
      ...message({ id: 'c2', role: 'assistant', parentID: 'c1', completed: 2 }),
      tools: [{ tool: 'bash', status: 'completed' }],
    };
    const synthetic = message({ id: 'c1', role: 'user', synthetic: true });
    const messages = [ourPrompt, message(answer), synthetic, command];
    expect(ownership().outcomeOf(messages, undefined).outcome).toMatchObject({ kind: 'reply' });
  });

  it('ends the wait when an answer to ours was not heard', () => {
    const known = ownership({ isQueued: true });
    const answer = message({ id: 'a1', role: 'assistant', parentID: 'p1' });
    expect(known.outcomeOf([ourPrompt], undefined).endsWait).toBe(false);
    expect(known.outcomeOf([ourPrompt, answer], undefined).endsWait).toBe(true);
    expect(known.isBehind).toBe(false);
  });
});
