/**
 * Between aborts that do not work and a restart, the directory is disposed. Healthy runs of the directory are waited
 * for.
 */
import { describe, expect, test } from 'vitest';
import { MINUTE, type PolicyChange, SECOND, type World, world } from '../driver.js';

const ON: PolicyChange = { abort: { dispose: true } };

/** Makes a session whose aborts do not work. */
function wedge(w: World, id = 'bad', directory = '/p'): World {
  w.prompt(id, { directory }).fails(id, 5, { directory });
  for (let tries = 0; tries < 3; tries += 1) w.abortFailed(id);
  return w;
}
const disposes = (w: World) => w.acts('dispose').map(({ directory }) => directory);
const restarts = (w: World) => w.acts('restart').map(({ reason }) => reason);
const next = (w: World) => w.notes('session.wedged').map((each) => each.next);
const ended = (w: World) =>
  w.notes('session.ended').map(({ sessionID, outcome }) => `${sessionID} ${outcome}`);
const done = (w: World, directory = '/p') =>
  w.tell({ kind: 'dispose.done', directory, tookMs: 900 });
const failed = (w: World, directory = '/p') =>
  w.tell({ kind: 'dispose.failed', directory, error: 'bad still runs' });

describe('a wedged session', () => {
  test('has its directory disposed, and no restart follows where that worked', () => {
    const w = wedge(world({ policy: ON }));
    expect(next(w)).toEqual(['dispose']);
    expect(w.acts('dispose')).toMatchObject([
      { directory: '/p', reason: 'wedged', sessions: ['bad'], known: ['bad'] },
    ]);
    expect(w.notes('directory.disposing')).toMatchObject([
      { directory: '/p', reason: 'wedged', interrupted: ['bad'] },
    ]);
    done(w).advance(MINUTE);
    expect(w.notes('directory.disposed')).toMatchObject([{ directory: '/p', tookMs: 900 }]);
    expect(ended(w)).toEqual(['bad aborted']);
    expect(w.health('bad')).toBe('idle');
    expect(restarts(w)).toEqual([]);
  });

  test('was ended by the watchdog also where the end is told long before the dispose is verified', () => {
    const w = wedge(world({ policy: ON }));
    w.status('bad', 'idle').advance(10 * SECOND);
    expect(ended(w)).toEqual(['bad aborted']);
    done(w).advance(MINUTE);
    expect(ended(w)).toEqual(['bad aborted']);
  });

  test('goes on once where it ends while its directory is disposed', () => {
    const w = wedge(world({ policy: { ...ON, recover: { afterAbort: 'continue' } } }));
    w.error('bad', 'MessageAbortedError').status('bad', 'idle');
    // Told to go on now, the session would be cut by the dispose.
    expect(w.acts('continue')).toEqual([]);
    done(w).advance(MINUTE);
    expect(w.acts('continue')).toHaveLength(1);
  });

  test('has the server restarted where the dispose did not end it', () => {
    const w = failed(wedge(world({ policy: ON })));
    expect(w.notes('directory.dispose_failed')).toMatchObject([{ error: 'bad still runs' }]);
    expect(next(w)).toEqual(['dispose', 'restart']);
    expect(restarts(w)).toEqual(['wedged']);
    expect(disposes(w)).toEqual(['/p']);
  });

  test('has the server restarted at once where abort.dispose is off', () => {
    const w = wedge(world({ policy: { abort: { dispose: false } } }));
    expect(next(w)).toEqual(['restart']);
    expect(disposes(w)).toEqual([]);
    expect(restarts(w)).toEqual(['wedged']);
  });

  test('is helped in observe mode too; where that fails, a person must see to it', () => {
    const w = wedge(world({ policy: ON, acts: false }));
    expect(disposes(w)).toEqual(['/p']);
    failed(w).advance(20 * MINUTE);
    expect(next(w)).toEqual(['dispose', 'nothing']);
    expect(restarts(w)).toEqual([]);
    expect(disposes(w)).toEqual(['/p']);
  });

  test('whose run ended before the dispose was sent was ended by its aborts', () => {
    const w = wedge(world({ policy: ON }));
    w.tell({ kind: 'dispose.withdrawn', directory: '/p', seen: 'idle' });
    expect(ended(w)).toEqual(['bad aborted']);
    expect(w.notes('directory.disposed')).toEqual([]);
  });

  test('has its directory disposed for once the daemon is paused no more', () => {
    const w = wedge(world({ policy: ON }));
    w.tell({ kind: 'dispose.skipped', directory: '/p' }).advance(MINUTE);
    expect(disposes(w)).toEqual(['/p']);
    w.tell({ kind: 'acts.resumed' });
    expect(disposes(w)).toEqual(['/p', '/p']);
  });

  test('of another directory is another dispose', () => {
    const w = wedge(wedge(world({ policy: ON }), 'bad', '/p'), 'worse', '/q');
    expect(disposes(w)).toEqual(['/p', '/q']);
    done(w, '/q');
    expect(ended(w)).toEqual(['worse aborted']);
    expect(w.health('bad')).toBe('wedged');
  });
});

describe('healthy neighbours', () => {
  test('of the directory are waited for, and named', () => {
    const w = wedge(world({ policy: ON }).prompt('good'));
    expect(disposes(w)).toEqual([]);
    expect(w.notes('directory.deferred')).toMatchObject([
      { directory: '/p', waitsFor: ['good'], waitForHealthyMs: 10 * MINUTE },
    ]);
    w.advance(MINUTE).text('good').status('good', 'idle');
    expect(disposes(w)).toEqual(['/p']);
    expect(restarts(w)).toEqual([]);
  });

  test('of other directories are none', () => {
    const w = wedge(world({ policy: ON }).prompt('good', { directory: '/q' }));
    expect(disposes(w)).toEqual(['/p']);
    expect(w.acts('dispose')[0]?.known).toEqual(['bad']);
    done(w).advance(MINUTE);
    expect(w.health('good')).toBe('busy');
  });

  test('are not cut for fewer stuck ones when the time is up: a person must see to it', () => {
    const w = wedge(world({ policy: ON }).prompt('good'));
    for (let i = 0; i < 22; i += 1) w.advance(30 * SECOND).text('good');
    expect(disposes(w)).toEqual([]);
    expect(restarts(w)).toEqual([]);
    expect(next(w)).toEqual(['dispose', 'nothing']);
    w.status('good', 'idle');
    expect(disposes(w)).toEqual(['/p']);
  });

  test('are waited for once, where each attempt of the stuck one shows a little text', () => {
    const w = wedge(world({ policy: ON }).prompt('good'));
    for (let attempt = 6; attempt < 30; attempt += 1) {
      w.advance(28 * SECOND).text('good');
      w.status('bad', 'busy').advance(SECOND).text('bad');
      w.status('bad', 'retry', { attempt });
    }
    expect(w.notes('directory.deferred')).toHaveLength(1);
    expect(next(w)).toEqual(['dispose', 'nothing']);
  });

  test('get the whole time again for a session that wedges after another was left to a person', () => {
    const w = wedge(world({ policy: ON }).prompt('good'));
    const goesOn = (minutes: number) => {
      for (let i = 0; i < 2 * minutes; i += 1) w.advance(30 * SECOND).text('good');
    };
    goesOn(30);
    expect(next(w)).toEqual(['dispose', 'nothing']);
    wedge(w, 'worse');
    goesOn(9);
    expect(disposes(w)).toEqual([]);
    expect(w.notes('directory.deferred')).toHaveLength(2);
    goesOn(1);
    expect(disposes(w)).toEqual(['/p']);
  });

  test('get their own time in each directory, where a session of another one is left to a person', () => {
    const policy = { ...ON, pileup: { minSessions: 99 } };
    const w = failed(wedge(world({ policy }).prompt('good'), 'other', '/q'), '/q');
    const goesOn = (minutes: number) => {
      for (let i = 0; i < 2 * minutes; i += 1) w.advance(30 * SECOND).text('good');
    };
    goesOn(5);
    wedge(wedge(w), 'worse').forget();
    goesOn(9);
    expect(w.notes('session.wedged')).toMatchObject([{ sessionID: 'other', next: 'nothing' }]);
    expect(disposes(w)).toEqual([]);
    goesOn(1);
    expect(disposes(w)).toEqual(['/p']);
  });

  test('that a dispose cut are told as interrupted, and continued where that is asked for', () => {
    const recover = { afterRestart: 'continue' as const };
    const restart = { waitForHealthy: 0 };
    const w = world({ policy: { ...ON, recover, restart } }).prompt('good');
    wedge(wedge(w), 'worse');
    expect(w.acts('dispose')[0]?.known.toSorted()).toEqual(['bad', 'good', 'worse']);
    w.error('good', 'MessageAbortedError').status('good', 'idle');
    done(w).advance(5 * SECOND);
    expect(w.notes('session.interrupted')).toMatchObject([{ sessionID: 'good', by: 'dispose' }]);
    expect(ended(w).toSorted()).toEqual(['bad aborted', 'good interrupted', 'worse aborted']);
    expect(w.acts('continue').map(({ sessionID }) => sessionID)).toEqual(['good']);
  });

  test('that a dispose cut are continued whatever their last message shows: it ended with an abort', () => {
    const recover = { afterRestart: 'continue' as const };
    const w = world({ policy: { ...ON, recover, restart: { waitForHealthy: 0 } } });
    w.prompt('good').poll({ good: { type: 'busy' }, unheard: { type: 'busy' } });
    done(wedge(wedge(wedge(w), 'worse'), 'worst')).advance(5 * SECOND);
    const told = w.acts('continue');
    expect(told.map(({ sessionID }) => sessionID).toSorted()).toEqual(['good', 'unheard']);
    for (const act of told) {
      expect(act).not.toHaveProperty('onlyIfOpen');
      expect(act).not.toHaveProperty('cutMessageID');
    }
  });

  test('that a dispose cut as a pause began are continued when it ends, like the wedged one', () => {
    const recover = { afterRestart: 'continue', afterAbort: 'continue' } as const;
    const w = world({ policy: { ...ON, recover, restart: { waitForHealthy: 0 } } }).prompt('good');
    wedge(wedge(w), 'worse').tell({ kind: 'acts.paused' });
    done(w);
    const ids = ['bad', 'good', 'worse'];
    for (const sessionID of ids) w.tell({ kind: 'continue.skipped', sessionID });
    w.forget()
      .advance(MINUTE)
      .tell({ kind: 'acts.resumed' })
      .advance(5 * SECOND);
    const told = w.acts('continue').map(({ sessionID, count }) => `${sessionID} ${count}`);
    expect(told.toSorted()).toEqual(ids.map((id) => `${id} 1`));
  });

  test('that began in the very moment hold it back', () => {
    const w = wedge(world({ policy: ON }));
    w.tell({ kind: 'dispose.withdrawn', directory: '/p', seen: 'others' }).prompt('new');
    w.advance(MINUTE).text('new');
    expect(disposes(w)).toEqual(['/p']);
    w.status('new', 'idle');
    expect(disposes(w)).toEqual(['/p', '/p']);
  });
});

describe('what the stream tells of it', () => {
  test('our own dispose is said once, and ends no run that began after it', () => {
    const w = done(wedge(world({ policy: ON })));
    w.advance(SECOND).prompt('new');
    w.advance(SECOND).tell({ kind: 'directory.disposed', directory: '/p' });
    expect(w.health('new')).toBe('busy');
    expect(w.notes('directory.disposed')).toHaveLength(1);
  });

  test("somebody else's dispose is said as that, with whom it cut", () => {
    const w = world({ policy: ON }).prompt('good').advance(MINUTE);
    w.tell({ kind: 'directory.disposed', directory: '/p' });
    expect(w.notes('directory.disposed')).toMatchObject([
      { reason: 'elsewhere', interrupted: ['good'] },
    ]);
    expect(ended(w)).toEqual(['good interrupted']);
  });
});

test('what comes of a dispose after the server has been restarted is no news', () => {
  const w = wedge(world({ policy: ON }));
  w.exits().restartDone();
  w.prompt('bad').forget();
  done(w);
  expect(w.health('bad')).toBe('busy');
  expect(w.notes('directory.disposed')).toEqual([]);
});

/** The polls of OpenCode 2 are for all directories at once, so they do not tell where a run is. */
describe('a run that a poll of the whole server found', () => {
  const found = (w: World, id: string) =>
    w.tell({
      kind: 'status.polled',
      startedAt: w.at,
      statuses: new Map([[id, { type: 'busy' }]]),
    });

  test('has its directory disposed when it is wedged', () => {
    const told = { info: { directory: '/p' } };
    const w = found(world({ policy: ON }), 'bad').inspected('bad', told);
    w.advance(10 * MINUTE).inspected('bad', told);
    expect(w.aborts('bad')).toMatchObject([{ directory: '/p' }]);
    for (let tries = 0; tries < 3; tries += 1) w.abortFailed('bad');
    expect(disposes(w)).toEqual(['/p']);
  });

  test('holds the dispose of its directory', () => {
    const w = found(world({ policy: ON }), 'well').info('well', { directory: '/p' });
    wedge(w);
    expect(disposes(w)).toEqual([]);
    expect(w.notes('directory.deferred')).toMatchObject([{ waitsFor: ['well'] }]);
  });
});
