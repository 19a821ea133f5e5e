/** Which messages waiting never heals: as opencode shows them where it has no `action` to tell it by. */
import { expect, test } from 'vitest';
import { isHopeless } from '../../../../src/watchdog/session/rules.js';
import type { Episode } from '../../../../src/watchdog/session/state.js';

const of = (message: string, needsPerson = false): Episode => ({
  startedAt: 0,
  attempts: 1,
  message,
  nextAt: undefined,
  needsPerson,
  holds: 0,
  progressed: false,
});

test.each([
  // 1.2.27, for opencode's own `FreeUsageLimitError`.
  'Free usage exceeded, add credits https://opencode.ai/zen',
  'You exceeded your current quota, please check your plan and billing details.',
  'Insufficient balance. Add credits to continue.',
  'Usage exhausted',
])('%s is hopeless', (message) => {
  expect(isHopeless(of(message))).toBe(true);
});

test.each([
  'Rate limit reached',
  'Usage limit reached',
  'Too many requests, please try again later',
  'Service Unavailable',
  'The server is overloaded',
  'Connection reset by server',
])('%s may heal', (message) => {
  expect(isHopeless(of(message))).toBe(false);
});

test('whatever opencode asks a person for is hopeless without one', () => {
  expect(isHopeless(of('Rate limit reached', true))).toBe(true);
});
