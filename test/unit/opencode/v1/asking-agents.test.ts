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

it('is what opencode’s own agents may ask about, as 1.18.33 lists them', async () => {
  const base = [
    rule('*', 'allow'),
    rule('doom_loop', 'ask'),
    rule('external_directory', 'ask'),
    rule('external_directory', 'allow', '/data/tool-output/*'),
    rule('question', 'deny'),
    rule('plan_enter', 'deny'),
    rule('plan_exit', 'deny'),
    rule('read', 'allow'),
    rule('read', 'ask', '*.env'),
    rule('read', 'allow', '*.env.example'),
  ];
  const plan = [...base, rule('question', 'allow'), rule('plan_exit', 'allow')];
  const only = [
    ...base,
    rule('*', 'deny'),
    rule('read', 'allow'),
    rule('external_directory', 'ask'),
  ];
  const { asking } = await read([
    { name: 'plan', mode: 'primary', native: true, permission: plan },
    { name: 'explore', mode: 'subagent', native: true, permission: only },
    { name: 'title', mode: 'primary', native: true, hidden: true, permission: base },
  ]);
  expect(
    asking.map(({ agent, permission, pattern }) => `${agent} ${permission} ${pattern}`),
  ).toEqual([
    'plan doom_loop *',
    'plan external_directory *',
    'plan read *.env',
    'plan question *',
    'plan plan_exit *',
    'explore external_directory *',
  ]);
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
