import { expect, it } from 'vitest';
import { endAll } from '../../../src/lib/end-all.js';

it('what fails to end, now or later, keeps none of the others from being ended, in their order', async () => {
  const ended: string[] = [];
  const errors: string[] = [];
  await endAll(
    [
      { doing: 'one', end: () => Promise.reject(new Error('no')) },
      {
        doing: 'two',
        end: () => {
          throw new Error('never');
        },
      },
      { doing: 'three', end: () => ended.push('three') },
      { doing: 'four', end: async () => ended.push('four') },
    ],
    (error, doing) => errors.push(`${doing}: ${String(error)}`),
  );
  expect(ended).toEqual(['three', 'four']);
  expect(errors).toEqual(['one: Error: no', 'two: Error: never']);
});
