/** Negative costs and counts, which opencode stored until May 2026, are read as 0 wherever they stand. */
import { describe, expect, it } from 'vitest';
import * as v1 from '../../../src/opencode/v1/schemas.js';
import * as v2 from '../../../src/opencode/v2/schemas.js';

const tokens = { input: -423, output: -1, reasoning: -2, cache: { read: 84_160, write: -3 } };
const spent = { cost: -0.001, tokens };
const asRead = {
  cost: 0,
  tokens: { input: 0, output: 0, reasoning: 0, cache: { read: 84_160, write: 0 } },
};

describe('a negative cost or count of tokens', () => {
  it.each([
    ['a session', v1.session.parse({ id: 'ses_1', ...spent })],
    ['a message', v1.message.parse({ id: 'msg_1', role: 'assistant', ...spent })],
    ['a step', v1.part.parse({ type: 'step-finish', ...spent })],
    ['a session of OpenCode 2', v2.session.parse({ id: 'ses_1', ...spent })],
    ['a message of OpenCode 2', v2.message.parse({ id: 'msg_1', type: 'assistant', ...spent })],
    ['an event of OpenCode 2', v2.eventData.parse(spent)],
  ])('of %s is read as 0', (_, read) => {
    expect(read).toMatchObject(asRead);
  });

  it('takes nothing off a total', () => {
    const total = { costUsd: 0, tokens: 84_160 };
    expect(v1.spentOf(v1.session.parse({ id: 'ses_1', ...spent }))).toEqual(total);
    expect(v2.spentOf(v2.session.parse({ id: 'ses_1', ...spent }))).toEqual(total);
  });
});
