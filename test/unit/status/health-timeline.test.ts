/** The strips: an hour in a hundred and twenty letters, the worst of each half minute, and bounded. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HealthTimeline, MAX_STRIPS, SLOT_MS, SLOTS } from '../../../src/status/health-timeline.js';
import { HEALTHS } from '../../../src/watchdog/decision.js';

const T0 = 1_800_000_000_000;
const minutes = (n: number) => T0 + n * 60_000;
const one = { sessionID: 'ses_1' };

/** Runs of letters: `.116 b2 r2`. */
const short = (text: string) =>
  [...text.matchAll(/(.)\1*/g)].map(([run, letter]) => `${letter}${run.length}`).join(' ');

describe('a strip', () => {
  it('shows the last hour, and fills what passed with the health that it had', () => {
    const strips = new HealthTimeline();
    strips.set(one, 'busy', minutes(0));
    strips.set(one, 'retrying', minutes(10));
    strips.set(one, 'idle', minutes(12));
    expect(short(strips.text('ses_1', minutes(20)))).toBe('.79 b20 r5 i16');
    expect(short(strips.text('ses_1', minutes(71)))).toBe('r2 i118');
    expect(short(strips.text('ses_1', minutes(500)))).toBe('i120');
  });

  it('shows the worst of a half minute, however short it was', () => {
    const strips = new HealthTimeline();
    strips.set(one, 'busy', T0);
    strips.set(one, 'stuck', T0 + 10_000);
    strips.set(one, 'idle', T0 + 10_050);
    strips.set(one, 'busy', T0 + 20_000);
    expect(strips.text('ses_1', T0 + 20_000).at(-1)).toBe('s');
    expect(strips.text('ses_1', T0 + SLOT_MS).at(-1)).toBe('b');
  });

  it('begins with a session’s first activity: what was always idle has none', () => {
    const strips = new HealthTimeline();
    strips.set(one, 'idle', T0);
    expect(strips.size).toBe(0);
    expect(strips.text('ses_1', T0)).toBe('');
  });

  it('is forgotten after an hour of idleness, and not while the session works', () => {
    const strips = new HealthTimeline();
    strips.set(one, 'busy', minutes(0));
    strips.set({ sessionID: 'ses_2' }, 'busy', minutes(0));
    strips.set({ sessionID: 'ses_2' }, 'idle', minutes(1));
    strips.prune(minutes(60));
    expect(strips.size).toBe(2);
    strips.prune(minutes(62));
    expect([...strips.values()].map(({ fields }) => fields.sessionID)).toEqual(['ses_1']);
  });

  it('keeps a bounded number, and lets the idle go before the working', () => {
    const strips = new HealthTimeline();
    strips.set(one, 'busy', T0);
    for (let i = 0; i < MAX_STRIPS * 2; i += 1) {
      strips.set({ sessionID: `s${i}` }, 'busy', T0 + i);
      strips.set({ sessionID: `s${i}` }, 'idle', T0 + i);
    }
    expect(strips.size).toBe(MAX_STRIPS);
    expect(strips.get('ses_1')).toBeDefined();
  });

  it('is always of one length, whatever happens and whenever it is looked at', () => {
    const step = fc.record({
      health: fc.constantFrom(...HEALTHS),
      // Clocks may also step back.
      ms: fc.integer({ min: -120_000, max: 3_600_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        const strips = new HealthTimeline();
        let time = T0;
        strips.set(one, 'busy', time);
        for (const { health, ms } of steps) {
          time += ms;
          strips.set(one, health, time);
          expect(strips.text('ses_1', time)).toMatch(new RegExp(`^[.ibwdrlxsW]{${SLOTS}}$`));
        }
      }),
      { numRuns: 100 },
    );
  });
});
