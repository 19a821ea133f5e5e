import { defineConfig } from 'vitest/config';

/**
 * Three kinds of test, slowest last: `unit` (pure), `integration` (a fake opencode server on loopback), `e2e` (the real
 * opencode binary). A fourth kind, the long proofs, has a configuration of its own: vitest.long.config.ts.
 *
 * A test waits for what it wants to see, with a limit that grows with the machine's slowness (test/support/slowness.ts).
 * The limits here are the last net, for a test that hangs without waiting for anything.
 */
export default defineConfig({
  test: {
    // As many files at a time as the cores carry: with four real servers on two cores, limits that are about the server's
    // slowness were met (a driver's last look, for instance), and the stretched waits made the whole no quicker. Three
    // bring nothing either.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          // Loading the source anew for each file took half of the time.
          isolate: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 900_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
