/** What `--json` prints has ISO times and whole numbers. */
import { expect, it } from 'vitest';
import { jsonForm } from '../../../src/commands/json-form.js';

it('moments become ISO 8601, durations and sizes whole; all else stays', () => {
  expect(
    jsonForm({
      sessions: [{ id: 'ses_1', since: 1_795_338_897_735, nextAt: 1_795_338_900_000, tokens: 12 }],
      time: { created: 1_795_338_897_735.4 },
      loopLagMs: 1.25,
      memoryBytes: 3.5,
      costUsd: 0.125,
      history: { memory: [[1_795_338_897_735, 42]], states: [[1_795_338_897_735, 'healthy']] },
      strips: { lastSlot: 59_844_629, slotMs: 30_000 },
      none: null,
      startedAt: '2026-11-22T12:00:00.000Z',
    }),
  ).toEqual({
    sessions: [
      {
        id: 'ses_1',
        since: new Date(1_795_338_897_735).toISOString(),
        nextAt: new Date(1_795_338_900_000).toISOString(),
        tokens: 12,
      },
    ],
    time: { created: new Date(1_795_338_897_735).toISOString() },
    loopLagMs: 1,
    memoryBytes: 4,
    costUsd: 0.125,
    history: {
      memory: [[new Date(1_795_338_897_735).toISOString(), 42]],
      states: [[new Date(1_795_338_897_735).toISOString(), 'healthy']],
    },
    strips: { lastSlot: 59_844_629, slotMs: 30_000 },
    none: null,
    startedAt: '2026-11-22T12:00:00.000Z',
  });
});

it('a small number under the name of a moment is no moment, and an error says itself how it is written', () => {
  class Told extends Error {
    toJSON() {
      return { kind: 'timeout', tookMs: 1.6 };
    }
  }
  expect(jsonForm({ start: 4, end: 9, error: new Told() })).toEqual({
    start: 4,
    end: 9,
    error: { kind: 'timeout', tookMs: 2 },
  });
});
