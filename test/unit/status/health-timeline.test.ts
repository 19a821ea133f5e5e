/** The timelines: an hour in a hundred and twenty letters, the worst of each half minute, and bounded. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  HealthTimeline,
  MAX_TIMELINES,
  SLOT_MS,
  SLOTS,
} from '../../../src/status/health-timeline.js';
import { HEALTHS } from '../../../src/watchdog/decision.js';

const T0 = 1_800_000_000_000;
const minutes = (n: number) => T0 + n * 60_000;
const one = { sessionID: 'ses_1' };

/** Runs of letters: `.116 b2 r2`. */
const short = (text: string) =>
  [...text.matchAll(/(.)\1*/g)].map(([run, letter]) => `${letter}${run.length}`).join(' ');

describe('a timeline', () => {
  it('shows the last hour, and fills what passed with the health that it had', () => {
    const timelines = new HealthTimeline();
    timelines.set(one, 'busy', minutes(0));
    timelines.set(one, 'retrying', minutes(10));
    timelines.set(one, 'idle', minutes(12));
    expect(short(timelines.text('ses_1', minutes(20)))).toBe('.79 b20 r5 i16');
    expect(short(timelines.text('ses_1', minutes(71)))).toBe('r2 i118');
    expect(short(timelines.text('ses_1', minutes(500)))).toBe('i120');
  });

  it('shows the worst of a half minute, however short it was', () => {
    const timelines = new HealthTimeline();
    timelines.set(one, 'busy', T0);
    timelines.set(one, 'stuck', T0 + 10_000);
    timelines.set(one, 'idle', T0 + 10_050);
    timelines.set(one, 'busy', T0 + 20_000);
    expect(timelines.text('ses_1', T0 + 20_000).at(-1)).toBe('s');
    expect(timelines.text('ses_1', T0 + SLOT_MS).at(-1)).toBe('b');
  });

  it('begins with a session’s first activity: what was always idle has none', () => {
    const timelines = new HealthTimeline();
    timelines.set(one, 'idle', T0);
    expect([...timelines.values()]).toHaveLength(0);
    expect(timelines.text('ses_1', T0)).toBe('');
  });

  it('is forgotten after an hour of idleness, and not while the session works', () => {
    const timelines = new HealthTimeline();
    timelines.set(one, 'busy', minutes(0));
    timelines.set({ sessionID: 'ses_2' }, 'busy', minutes(0));
    timelines.set({ sessionID: 'ses_2' }, 'idle', minutes(1));
    timelines.prune(minutes(60));
    expect([...timelines.values()]).toHaveLength(2);
    timelines.prune(minutes(62));
    expect([...timelines.values()].map(({ fields }) => fields.sessionID)).toEqual(['ses_1']);
  });

  it('keeps a bounded number, and lets the idle go before the working', () => {
    const timelines = new HealthTimeline();
    timelines.set(one, 'busy', T0);
    for (let i = 0; i < MAX_TIMELINES * 2; i += 1) {
      timelines.set({ sessionID: `s${i}` }, 'busy', T0 + i);
      timelines.set({ sessionID: `s${i}` }, 'idle', T0 + i);
    }
    expect([...timelines.values()]).toHaveLength(MAX_TIMELINES);
    expect(timelines.get('ses_1')).toBeDefined();
  });

  it('is always of one length, whatever happens and whenever it is looked at', () => {
    const step = fc.record({
      health: fc.constantFrom(...HEALTHS),
      // Clocks may also step back.
      ms: fc.integer({ min: -120_000, max: 3_600_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        const timelines = new HealthTimeline();
        let time = T0;
        timelines.set(one, 'busy', time);
        for (const { health, ms } of steps) {
          time += ms;
          timelines.set(one, health, time);
          expect(timelines.text('ses_1', time)).toMatch(new RegExp(`^[.ibwdrlxsW]{${SLOTS}}$`));
        }
      }),
      { numRuns: 100 },
    );
  });
});
