import { expect, test } from 'vitest';
import { type ControlFacts, chooseControl } from '../../../../src/process/control/auto.js';
import type { Finding } from '../../../../src/process/identity/identity.js';

const process = {
  pid: 7,
  ppid: 1,
  startTime: '1',
  name: 'opencode',
  state: 'S',
  rssBytes: 0,
  command: ['opencode', 'serve'],
};
const proven: Finding = { kind: 'proven', server: process, wrappers: [], role: 'server' };
const refused = (why: 'stranger' | 'pid1' | 'inside' | 'other-user'): Finding => ({
  kind: 'refused',
  why,
  message: `because ${why}`,
});
const facts = (more: Partial<ControlFacts>): ControlFacts => ({
  local: true,
  answers: false,
  found: { kind: 'nobody' },
  ours: false,
  ...more,
});

test.each<[string, Partial<ControlFacts>, string, string]>([
  ['nothing answers here', {}, 'spawn', 'nothing answers'],
  ['an opencode runs', { answers: true, found: proven }, 'adopt', 'pid 7'],
  [
    'OpenCode’s own service runs',
    {
      answers: true,
      found: { ...proven, server: { ...process, command: ['opencode', 'serve', '--service'] } },
    },
    'service',
    'background service',
  ],
  ['an opencode runs and does not answer yet', { found: proven }, 'adopt', 'pid 7'],
  ['our own server runs', { answers: true, found: proven, ours: true }, 'spawn', 'earlier run'],
  ['our own server still boots', { ours: true }, 'spawn', 'earlier run'],
  [
    'a server runs that we restarted for its owner',
    { answers: true, found: proven, adopted: true },
    'adopt',
    'pid 7',
  ],
  ['a server still boots that we restarted for its owner', { adopted: true }, 'adopt', 'restarted'],
  [
    'an opencode with a terminal face runs',
    { answers: true, found: { ...proven, role: 'tui' } },
    'observe',
    'person',
  ],
  ['the server is elsewhere', { local: false, answers: true }, 'observe', 'another host'],
  ['it answers from where nothing can be seen', { answers: true }, 'observe', '"docker"'],
  ['it answers and is PID 1', { answers: true, found: refused('pid1') }, 'observe', 'because pid1'],
  ['it is PID 1 and does not answer', { found: refused('pid1') }, 'observe', 'because pid1'],
  [
    'it is another user’s',
    { answers: true, found: refused('other-user') },
    'observe',
    'because other-user',
  ],
  ['a stranger holds the port', { found: refused('stranger') }, 'spawn', 'because stranger'],
])('auto, where %s', (_, more, mode, reason) => {
  const choice = chooseControl('auto', facts(more));
  expect(choice.mode).toBe(mode);
  expect(choice.reason).toContain(reason);
});

test('a configured control is taken, whatever is seen', () => {
  expect(chooseControl('external', facts({ local: false })).mode).toBe('external');
});
