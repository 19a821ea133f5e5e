import { defineConfig } from 'vitest/config';

/**
 * Three kinds of test, slowest last: `unit` (pure), `integration` (a fake opencode server on
 * loopback), `e2e` (the real opencode binary). Limits are generous because nothing here asserts wall time.
 */
export default defineConfig({
  test: {
    // Two cores: e2e files each boot real servers, so two at a time is what the machine carries.
    maxWorkers: 2,
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
