import { defineConfig } from 'vitest/config';

/**
 * Three kinds of test, slowest last: `unit` (pure), `integration` (a fake opencode server on
 * loopback), `e2e` (the real opencode binary). Limits are generous because nothing here asserts wall time.
 */
export default defineConfig({
  test: {
    // Two cores carry three files at a time: the e2e ones mostly wait for a real server to do something.
    maxWorkers: 3,
    projects: [
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 240_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
});
