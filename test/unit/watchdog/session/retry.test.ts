/** Retry episodes: when they begin and end, which limits apply, what is held back. */
import { describe, expect, test } from 'vitest';
import { MINUTE, SECOND, UNSAID, world } from '../driver.js';

describe('a retry episode', () => {
  test('survives the busy blip before each attempt', () => {
    const w = world().prompt().fails('s', 1);
    w.advance(2 * SECOND).status('s', 'busy');
    expect(w.health()).toBe('retrying');
    w.status('s', 'retry', { attempt: 2 });
    expect(w.watchdog.sessions(w.at)[0]).toMatchObject({ health: 'retrying', attempt: 2 });
  });

  test('is ended by a finished step, and said to be recovered', () => {
    const w = world()
      .prompt()
      .fails('s', 1)
      .advance(2 * SECOND)
      .fails('s', 2);
    w.advance(4 * SECOND)
      .status('s', 'busy')
      .text()
      .stepFinished();
    expect(w.notes('session.recovered')).toMatchObject([{ attempts: 2, episodeMs: 6 * SECOND }]);
    expect(w.health()).toBe('busy');
    w.advance(2 * MINUTE);
    expect(w.aborts()).toEqual([]);
  });

  test('is not ended by text: mid-stream failures show a little before each retry', () => {
    const w = world().prompt();
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      w.text()
        .status('s', 'retry', { attempt })
        .advance(2 * SECOND)
        .status('s', 'busy');
    }
    w.text().status('s', 'retry', { attempt: 5 });
    expect(w.stuck()).toEqual(['attempts']);
    expect(w.notes('session.recovered')).toEqual([]);
  });

  test('is over when the attempt counter starts anew: the finished step was missed', () => {
    const w = world()
      .prompt()
      .fails('s', 4)
      .advance(55 * SECOND);
    w.fails('s', 1).advance(10 * SECOND);
    expect(w.notes('session.recovered')).toMatchObject([{ attempts: 4 }]);
    expect(w.stuck()).toEqual([]);
    w.advance(51 * SECOND);
    expect(w.stuck()).toEqual(['duration']);
  });

  test('may have ended unheard where the stream was cut: a busy poll leaves it open no longer', () => {
    const w = world()
      .prompt()
      .fails('s', 3)
      .advance(SECOND)
      .lost()
      .advance(10 * SECOND);
    w.poll({ s: { type: 'busy' } })
      .connected()
      .advance(5 * MINUTE);
    expect(w.stuck()).toEqual([]);
    w.fails('s', 4).advance(SECOND).fails('s', 5);
    expect(w.stuck()).toEqual(['attempts']);
  });

  test('goes on over a cut where polls show it', () => {
    const w = world().prompt().fails('s', 3).lost();
    for (let i = 0; i < 11; i += 1) {
      w.advance(5 * SECOND).poll({ s: { type: 'retry', attempt: 3, message: 'x' } });
    }
    expect(w.stuck()).toEqual([]);
    expect(w.advance(5 * SECOND).stuck()).toEqual(['duration']);
  });

  test('is not judged by an attempt in flight that nobody can hear', () => {
    const w = world()
      .prompt()
      .fails('s', 1)
      .advance(50 * SECOND)
      .status('s', 'busy')
      .lost();
    expect(w.advance(5 * MINUTE).stuck()).toEqual([]);
  });

  test('is ended by idle without a word about recovery: nobody knows what ended it', () => {
    const w = world().prompt().fails('s', 1).status('s', 'idle');
    expect(w.notes('session.recovered')).toEqual([]);
    expect(w.notes('session.failed')).toEqual([]);
    expect(w.health()).toBe('idle');
  });
});

describe('the limit by attempts', () => {
  test('aborts when opencode counts maxAttempts, and not before', () => {
    const w = world().prompt();
    for (let attempt = 1; attempt <= 4; attempt += 1) w.fails('s', attempt).advance(SECOND);
    expect(w.acts()).toEqual([]);
    w.fails('s', 5);
    expect(w.aborts()).toMatchObject([{ reason: 'attempts', try: 1, expect: 'retry' }]);
    expect(w.notes('session.stuck')).toMatchObject([{ limit: 5, value: 5, attempt: 5 }]);
  });

  test('of 1 aborts at the first retry', () => {
    const w = world({ policy: { retry: { maxAttempts: 1 } } })
      .prompt()
      .fails('s', 1);
    expect(w.aborts()).toHaveLength(1);
  });
});

describe('a session that is stuck', () => {
  const abortOf = (nextInMs: number | undefined) => {
    const next = nextInMs === undefined ? {} : { nextInMs };
    return world()
      .prompt()
      .status('s', 'retry', { attempt: 5, ...next })
      .aborts();
  };

  test('is sure to wait where the next attempt was just said to be some time away', () => {
    expect(abortOf(1_000)).toMatchObject([{ waits: true }]);
    expect(abortOf(999)).toMatchObject([{ waits: false }]);
  });

  test('is not sure to wait by what was said some time ago', () => {
    const w = world().prompt().status('s', 'retry', { attempt: 1, nextInMs: UNSAID });
    expect(w.advance(MINUTE).aborts()).toMatchObject([{ reason: 'duration', waits: false }]);
  });
});

describe('the limit by duration', () => {
  test('aborts a session that waits for its next attempt, at the very moment', () => {
    const w = world().prompt().status('s', 'retry', { attempt: 1, nextInMs: UNSAID });
    w.advance(MINUTE - 1);
    expect(w.acts()).toEqual([]);
    w.advance(1);
    expect(w.aborts()).toMatchObject([{ reason: 'duration', expect: 'retry' }]);
    expect(w.notes('session.stuck')).toMatchObject([{ value: MINUTE, episodeMs: MINUTE }]);
  });

  test('spares an attempt in flight while it makes progress', () => {
    const w = world()
      .prompt()
      .fails('s', 1)
      .advance(58 * SECOND)
      .status('s', 'busy')
      .text();
    for (let i = 0; i < 30; i += 1) w.advance(10 * SECOND).text();
    expect(w.acts()).toEqual([]);
    expect(w.health()).toBe('busy');
  });

  test('spares an attempt that has shown nothing yet for verifyTimeout and no longer', () => {
    const w = world()
      .prompt()
      .fails('s', 1)
      .advance(58 * SECOND)
      .status('s', 'busy');
    w.advance(5 * SECOND - 1);
    expect(w.acts()).toEqual([]);
    w.advance(1);
    expect(w.aborts()).toMatchObject([{ reason: 'duration', expect: 'active' }]);
  });

  test('counts again as soon as the attempt that made progress fails', () => {
    const w = world()
      .prompt()
      .fails('s', 1)
      .advance(58 * SECOND)
      .status('s', 'busy')
      .text();
    w.advance(20 * SECOND).status('s', 'retry', { attempt: 2 });
    expect(w.stuck()).toEqual(['duration']);
  });
});

describe('the limit by the wait', () => {
  test('aborts at attempt 1 when the next attempt is an hour away', () => {
    const w = world()
      .prompt()
      .fails('s', 1, { nextInMs: 60 * MINUTE });
    expect(w.aborts()).toMatchObject([{ reason: 'wait' }]);
    expect(w.notes('session.stuck')).toMatchObject([
      { limit: 5 * MINUTE, value: 60 * MINUTE, nextInMs: 60 * MINUTE },
    ]);
  });

  test('leaves a wait of exactly maxWait alone, and 0 switches it off', () => {
    const w = world()
      .prompt()
      .fails('s', 1, { nextInMs: 5 * MINUTE });
    expect(w.acts()).toEqual([]);
    const off = world({ policy: { retry: { maxWait: 0 } } }).prompt();
    expect(off.fails('s', 1, { nextInMs: 60 * MINUTE }).acts()).toEqual([]);
  });
});

describe('a wait that was announced', () => {
  test('does not become longer where a clock is set back', () => {
    const w = world({ policy: { retry: { maxDuration: 0 } } }).prompt();
    w.fails('s', 4, { nextInMs: 30 * SECOND }).advance(5 * SECOND);
    const status = { type: 'retry', attempt: 4, message: 'Rate limit reached' } as const;
    w.poll({ s: { ...status, nextInMs: 385 * SECOND } });
    expect(w.stuck()).toEqual([]);
    expect(w.watchdog.details(w.at)).toMatchObject([{ nextInMs: 25 * SECOND }]);
    // The next attempt has a wait of its own.
    expect(
      w
        .advance(25 * SECOND)
        .fails('s', 4, { nextInMs: 385 * SECOND })
        .stuck(),
    ).toEqual(['wait']);
  });
});

describe('a wait that is over', () => {
  const status = { type: 'retry', attempt: 1, message: 'Rate limit reached' } as const;
  const waited = () =>
    world({ policy: { retry: { maxDuration: 0 } } })
      .prompt()
      .lost()
      .poll({ s: { ...status, nextInMs: 4 * MINUTE } })
      .advance(4 * MINUTE);

  test('does not shorten the next one, nor count for it, where polls show the same attempt of another step', () => {
    const w = waited().poll({ s: { ...status, nextInMs: 4 * MINUTE } });
    expect(w.watchdog.details(w.at)).toMatchObject([{ nextInMs: 4 * MINUTE }]);
    expect(w.stuck()).toEqual([]);
  });

  test('is not taken for another one where its end was only misread', () => {
    const w = waited().poll({ s: { ...status, nextInMs: SECOND } });
    expect(w.watchdog.details(w.at)).toMatchObject([{ nextInMs: 0 }]);
  });
});

describe('a hopeless retry', () => {
  test('is aborted at once where opencode asks for a person', () => {
    const w = world().prompt().fails('s', 1, { needsPerson: true });
    expect(w.aborts()).toMatchObject([{ reason: 'hopeless' }]);
  });

  test.each([
    'You exceeded your current quota, please check your plan and billing details.',
    'Insufficient credits',
    'Your credit balance is too low to access the API',
    'Usage limit has been exhausted',
  ])('is known by its words: %s', (message) => {
    expect(world().prompt().fails('s', 1, { message }).stuck()).toEqual(['hopeless']);
  });

  test.each([
    'Rate limit reached',
    'Too Many Requests',
    'Resource has been exhausted (e.g. check quota).',
    'Connection reset by server',
    'Provider is overloaded',
  ])('is not seen where waiting may help: %s', (message) => {
    expect(world().prompt().fails('s', 1, { message }).stuck()).toEqual([]);
  });
});

describe('a poll', () => {
  test('that was sent before an event does not overrule it', () => {
    const w = world().prompt().fails('s', 1);
    w.poll({}, { startedAt: w.at - 1 });
    expect(w.health()).toBe('retrying');
    w.advance(10).status('s', 'idle');
    w.poll({ s: { type: 'busy' } }, { startedAt: w.at - 5 });
    expect(w.health()).toBe('idle');
  });

  test('in which a session is missing ends its run', () => {
    const w = world().prompt().advance(SECOND).poll({});
    expect(w.health()).toBe('idle');
  });

  test('of another directory says nothing about it', () => {
    const w = world().prompt().advance(SECOND).poll({}, { directory: '/q' });
    expect(w.health()).toBe('busy');
  });

  test('that repeats the same attempt does not begin its wait anew', () => {
    const w = world({ policy: { retry: { maxAttempts: 100 } } })
      .prompt()
      .status('s', 'retry', { attempt: 8, nextInMs: 256 * SECOND });
    for (let i = 1; i < 12; i += 1) {
      w.advance(5 * SECOND);
      w.poll({ s: { type: 'retry', attempt: 8, message: 'x', nextInMs: 256_000 - i * 5_000 } });
    }
    expect(w.acts()).toEqual([]);
    expect(w.advance(5 * SECOND).stuck()).toEqual(['duration']);
  });
});

describe('idle', () => {
  test('for the wrong directory is not believed', () => {
    const w = world().prompt().fails('s', 1).status('s', 'idle', { directory: '/' });
    expect(w.health()).toBe('retrying');
  });

  test('said again and again counts once', () => {
    const w = world().prompt().error('s').status('s', 'idle').status('s', 'idle');
    w.status('s', 'idle');
    expect(w.notes('session.failed')).toHaveLength(1);
    expect(w.notes('session.health').filter((each) => each.health === 'idle')).toHaveLength(1);
  });

  test('is final: the events that trail it do not make the session busy', () => {
    const w = world().prompt().toolRuns().status('s', 'idle');
    w.tell({ kind: 'session.prompted', sessionID: 's', messageID: 'u1' });
    w.asks('s', 'm1').toolEnds().error('s', 'MessageAbortedError').text().stepFinished();
    w.info('s', { title: 'later' }).answered().toolRuns();
    expect(w.health()).toBe('idle');
    expect(w.notes('session.failed')).toEqual([]);
    expect(w.advance(60 * MINUTE).watchdog.deadline).toBeUndefined();
  });
});

describe('the end of a run', () => {
  test('is failed, not recovered, when opencode gives up', () => {
    const w = world().prompt();
    for (let attempt = 1; attempt <= 4; attempt += 1) w.fails('s', attempt);
    w.status('s', 'busy').error('s', 'APIError', { statusCode: 429 }).status('s', 'idle');
    expect(w.notes('session.failed')).toMatchObject([
      { error: 'APIError: Rate limit reached', statusCode: 429, attempts: 4 },
    ]);
    expect(w.notes('session.recovered')).toEqual([]);
  });

  test('by a person is neither failed nor recovered', () => {
    const w = world().prompt().fails('s', 1).error('s', 'MessageAbortedError').status('s', 'idle');
    expect(w.notes('session.failed')).toEqual([]);
    expect(w.notes('session.recovered')).toEqual([]);
  });

  test('before it was busy is failed by its error alone, once for each prompt', () => {
    const w = world();
    const prompted = (messageID: string) =>
      w.tell({ kind: 'session.prompted', sessionID: 's', messageID });
    prompted('u1').error('s', 'UnknownError').error('s', 'UnknownError');
    prompted('u1').error('s', 'UnknownError');
    expect(w.notes('session.failed')).toHaveLength(1);
    prompted('u2').error('s', 'UnknownError');
    expect(w.notes('session.failed')).toHaveLength(2);
  });

  test('after an error that it survived is no failure', () => {
    const w = world().prompt().error('s').text().stepFinished().status('s', 'idle');
    expect(w.notes('session.failed')).toEqual([]);
  });
});
