import { expect, test } from 'vitest';
import { MODEL_NAME, splitModelName } from '../../../src/watchdog/model-name.js';

test.each([
  ['fake/m1', 'fake', 'm1'],
  ['openrouter/meta/llama-3', 'openrouter', 'meta/llama-3'],
  ['m1', '', 'm1'],
  ['/m1', '', 'm1'],
])('%s is of the provider "%s"', (name, provider, model) => {
  expect(splitModelName(name)).toEqual({ provider, model });
});

test.each(['fake', '/m1', 'fake/', 'fa ke/m1', ''])('"%s" names no model', (name) => {
  expect(MODEL_NAME.test(name)).toBe(false);
});
