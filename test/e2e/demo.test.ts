/** `npm run demo` works on the real opencode and leaves nothing behind. test/long/demo.test.ts plays the whole demo. */
import { afterEach, beforeEach, test } from 'vitest';
import { closeFolder, interrupted, openFolder, reached, startDemo } from '../support/demo.js';

beforeEach(openFolder);
afterEach(closeFolder);

test('interrupted with a tool running, it leaves no process and no folder behind', async () => {
  startDemo();
  await reached('All are under way');
  await interrupted();
});
