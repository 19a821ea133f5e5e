/** What of opencode's agents may stop to ask a person. */
import { expect, it } from 'vitest';
import { readAskingAgents } from '../../../../src/opencode/v1/asking-agents.js';

const rule = (permission: string, action: string, pattern = '*') => ({
  permission,
  action,
  pattern,
});
const read = (agents: unknown) => readAskingAgents({ raw: () => Promise.resolve(agents) });

it('is what its rules say to ask about, as far as no later rule takes it back', async () => {
  const build = {
    name: 'build',
    permission: [
      rule('*', 'allow'),
      rule('doom_loop', 'ask'),
      rule('bash', 'ask', 'rm *'),
      rule('edit', 'ask'),
      rule('edit', 'allow'),
    ],
  };
  expect(await read([build])).toEqual({
    agents: 1,
    asking: [
      { agent: 'build', permission: 'doom_loop', pattern: '*' },
      { agent: 'build', permission: 'bash', pattern: 'rm *' },
    ],
  });
});

it('is the question tool where it is allowed', async () => {
  const plan = { name: 'plan', permission: [rule('question', 'deny'), rule('question', 'allow')] };
  expect((await read([plan])).asking).toEqual([
    { agent: 'plan', permission: 'question', pattern: '*' },
  ]);
});

it('is nothing of agents that nobody chooses, or of a shape that is not known', async () => {
  const title = { name: 'title', hidden: true, permission: [rule('*', 'ask')] };
  expect(await read([title, { name: 'old', permission: { edit: 'ask' } }, 7])).toEqual({
    agents: 1,
    asking: [],
  });
});
