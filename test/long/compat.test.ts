/**
 * The core of the main job on the tests' opencode ($OPENCODE_TEST_BIN, or the one in node_modules) and on one old
 * version, which is installed if needed. `scripts/compat.ts` tries all versions.
 */
import { describe, expect, test } from 'vitest';
// @ts-expect-error: a script without types
import { installOpencode } from '../../scripts/install-opencode.mjs';
import { tryPatterns } from './compat-patterns.js';

/** An old version line that is still in use. `scripts/compat.ts` tries 1.1.65 and 1.14.48. */
const OLD_VERSION = '1.2.27';
const INSTALL_AND_TRY_MS = 480_000;

async function expectPatterns(): Promise<void> {
  const { rows } = await tryPatterns();
  const seen = Object.fromEntries(rows.map((row) => [row.pattern, row.seen]));
  expect(seen).toEqual(Object.fromEntries(rows.map((row) => [row.pattern, row.expected])));
}

describe('all patterns side by side: what is stuck is ended, what is healthy is left alone', () => {
  test(`on ${process.env.OPENCODE_TEST_BIN ? '$OPENCODE_TEST_BIN' : 'the current opencode'}`, async () => {
    await expectPatterns();
  });

  test.skipIf(process.env.OPENCODE_TEST_BIN)(
    `on opencode ${OLD_VERSION}`,
    async (context) => {
      try {
        process.env.OPENCODE_TEST_BIN = await installOpencode(OLD_VERSION);
      } catch (error) {
        context.skip((error as Error).message);
      }
      try {
        await expectPatterns();
      } finally {
        delete process.env.OPENCODE_TEST_BIN;
      }
    },
    INSTALL_AND_TRY_MS,
  );
});
