import { defineConfig } from 'vitest/config';

/**
 * The long proofs (`npm run test:long`, about half an hour on two quiet cores): every pattern on an old and the current
 * opencode, chaos, the whole demo, a daemon killed twenty times, runaways under all defaults, 500 sessions in a browser,
 * and the random histories and spoiled inputs of the unit tests in ten times the number, others each time. For before a
 * release; docs/testing.md.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    env: { WATCHDOG_FUZZ: '10', WATCHDOG_HISTORIES: '334000' },
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
    include: [
      'test/long/**/*.test.ts',
      // Their counts grow with the two variables above.
      'test/unit/fuzz/**/*.test.ts',
      'test/unit/watchdog/properties.test.ts',
      'test/integration/fuzz-*.test.ts',
    ],
  },
});
