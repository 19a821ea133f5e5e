import { describe, expect, it } from 'vitest';
import {
  CHANGES,
  COMPLAINTS,
  LogRate,
  MAX_SENTENCES,
  SAY_EVERY_MS,
} from '../../../src/telemetry/rate-limit.js';
import { FakeClock } from '../../support/fake-clock.js';
import { captured } from './fixtures.js';

const world = () => {
  const clock = new FakeClock();
  return { clock, ...captured({ clock }) };
};
const named = (lines: Record<string, unknown>[], event: string) =>
  lines.filter((line) => line.event === event);

describe('a complaint that repeats', () => {
  it('is written once a second, and what was left out is counted afterwards', async () => {
    const { clock, telemetry, lines } = world();
    for (let second = 0; second < 10; second += 1) {
      for (let n = 0; n < 200; n += 1) {
        telemetry.emit('error', { err: new Error(`byte ${n} of 4711`), doing: 'taking it in' });
      }
      await clock.advance(1_000);
    }
    expect(named(lines(), 'error')).toHaveLength(10);
    await clock.advance(SAY_EVERY_MS);
    const [said, ...more] = named(lines(), 'log.suppressed');
    expect(said).toMatchObject({ level: 'warn', lines: 1_990, events: { error: 1_990 } });
    expect(said?.msg).toBe('1990 repeated lines left out in 30 s: 1990 × error.');
    expect(more).toEqual([]);
    // Once the flood is over nothing more is said, and no timer is left.
    expect(clock.pending).toBe(0);
  });

  it('is limited by its name too, where each sentence is another', async () => {
    const { clock, telemetry, lines } = world();
    const word = (n: number) =>
      n.toString(26).replace(/\d/g, (digit) => 'qrstuvwxyz'[+digit] ?? '');
    for (let second = 0; second < 60; second += 1) {
      for (let n = 0; n < 100; n += 1) {
        const notice = `${word(second)} ${word(n)} is nonsense`;
        telemetry.emit('server.notice', { severity: 'warn', notice });
      }
      await clock.advance(1_000);
    }
    const { burst, perSecond } = COMPLAINTS.all;
    const written = named(lines(), 'server.notice').length;
    expect(written).toBeLessThanOrEqual(burst + 60 * perSecond);
    expect(written).toBeGreaterThanOrEqual(burst + 59 * perSecond);
  });

  it('is counted at the stop, without waiting', () => {
    const { telemetry, lines } = world();
    for (let n = 0; n < 5; n += 1) telemetry.emit('error', { err: 'the same' });
    telemetry.flush();
    expect(lines().map(({ event }) => event)).toEqual(['error', 'log.suppressed']);
    expect(lines().at(-1)).toMatchObject({ lines: 4, events: { error: 4 } });
  });

  it('is heard by every subscriber all the same', () => {
    const { telemetry } = world();
    let heard = 0;
    telemetry.subscribe(() => {
      heard += 1;
    });
    for (let n = 0; n < 50; n += 1) telemetry.emit('error', { err: 'the same' });
    expect(heard).toBe(50);
  });

  it('costs others nothing: another name and another sentence are written at once', () => {
    const { telemetry, lines } = world();
    for (let n = 0; n < 50; n += 1) telemetry.emit('error', { err: 'one' });
    telemetry.emit('error', { err: 'two' });
    telemetry.emit('server.notice', { severity: 'info', notice: 'three' });
    expect(lines().map(({ event }) => event)).toEqual(['error', 'error', 'server.notice']);
  });

  it('below the level of the log is not counted as left out', () => {
    const clock = new FakeClock();
    const { telemetry, lines } = captured({ clock, level: 'error' });
    for (let n = 0; n < 50; n += 1) telemetry.emit('stream.connected', { path: '/event' });
    telemetry.flush();
    expect(lines()).toEqual([]);
  });
});

describe('the changes of sessions', () => {
  const change = (sessionID: string) =>
    ({ sessionID, health: 'busy', previous: 'idle', forMs: 5 }) as const;

  it('are all written where two thousand sessions begin at once', () => {
    const { telemetry, written } = world();
    for (let n = 0; n < CHANGES.all.burst; n += 1) {
      telemetry.emit('session.health', change(`ses_${n}`));
    }
    expect(written).toHaveLength(CHANGES.all.burst);
  });

  it('of one that flaps without end are left out, and its neighbours’ are not', () => {
    const { telemetry, lines } = world();
    for (let n = 0; n < 1_000; n += 1) telemetry.emit('session.health', change('ses_1'));
    telemetry.emit('session.health', change('ses_2'));
    expect(lines()).toHaveLength(CHANGES.same.burst + 1);
    expect(lines().at(-1)).toMatchObject({ sessionID: 'ses_2' });
  });

  it('are a few lines a second however many ids the server invents, and what is left out is said', async () => {
    const { clock, telemetry, lines } = world();
    for (let second = 0; second < 60; second += 1) {
      for (let n = 0; n < 200; n += 1) {
        const sessionID = `ses_${second}_${n}`;
        telemetry.emit('session.health', change(sessionID));
        telemetry.emit('session.waiting', { sessionID, on: 'question', requestID: `que_${n}` });
        telemetry.emit('session.recovered', { sessionID, attempts: 2, episodeMs: 5 });
      }
      await clock.advance(1_000);
    }
    telemetry.flush();
    const { burst, perSecond } = CHANGES.all;
    const said = named(lines(), 'log.suppressed');
    const written = lines().length - said.length;
    expect(written).toBeLessThanOrEqual(burst + 60 * perSecond);
    const left = said.reduce((sum, line) => sum + Number(line.lines), 0);
    expect(written + left).toBe(60 * 600);
  });

  it('leave the periodic lines alone', () => {
    const { telemetry, lines } = world();
    const { previous: _, ...periodic } = change('ses_1');
    for (let n = 0; n < 100; n += 1) telemetry.emit('session.health', periodic);
    expect(lines()).toHaveLength(100);
  });
});

it('a decision is never left out', () => {
  const { telemetry, lines } = world();
  for (let n = 0; n < 1_000; n += 1) {
    telemetry.emit('session.aborting', { sessionID: 'ses_1', reason: 'attempts', try: 1 });
  }
  expect(lines()).toHaveLength(1_000);
});

it('holds the limit of the name beyond the sentences that it remembers', () => {
  const rate = new LogRate({ clock: new FakeClock(), onSuppressed: () => {} });
  let written = 0;
  for (let n = 0; n < MAX_SENTENCES * 8; n += 1) {
    if (rate.passes('session.health', 'It is busy.', `ses_${n}`)) written += 1;
  }
  expect(written).toBe(CHANGES.all.burst);
});
