/** The log as a person at a terminal reads it, and the same events whole for a program. */
import { describe, expect, it } from 'vitest';
import { EVENT_NAMES } from '../../../src/telemetry/catalogue/catalogue.js';
import type { Telemetry } from '../../../src/telemetry/logger.js';
import { createReadableFormat } from '../../../src/telemetry/readable.js';
import { captured } from './fixtures.js';

const ses = {
  sessionID: 'ses_4f9a0000000000000build1',
  title: 'Fix the build',
  directory: '/home/ada/shop',
};

function anAbort({ emit }: Telemetry) {
  emit('session.health', { ...ses, health: 'busy', previous: 'idle', forMs: 0 });
  emit('session.health', { ...ses, health: 'busy', forMs: 60_000 });
  emit('session.stuck', { ...ses, reason: 'attempts', limit: 5, value: 5 });
  emit('session.aborting', { ...ses, reason: 'attempts', try: 1 });
  emit('session.health', { ...ses, health: 'stuck', previous: 'busy', forMs: 1 });
  emit('session.health', { ...ses, health: 'idle', previous: 'stuck', forMs: 1 });
  emit('session.aborted', { ...ses, reason: 'attempts', try: 1, tookMs: 240 });
}
function aRestart({ emit }: Telemetry) {
  emit('server.restarting', { reason: 'manual', interrupted: [], restarts: 1, detail: '' });
  emit('server.healthy', { version: '1.18.33' });
  emit('server.restarted', { reason: 'manual', tookMs: 40 });
}

describe('on a terminal', () => {
  it('an abort is its reason and its end, by name and project', () => {
    const { telemetry, written } = captured({
      terminal: true,
      format: 'auto',
      level: 'info',
      env: { NO_COLOR: '1' },
    });
    anAbort(telemetry);
    expect(written.map((line) => line.replace(/^\S+ +\S+ +\S+ +/, '').trimEnd())).toEqual([
      'Session “Fix the build” (shop) is busy, was idle.',
      'Session “Fix the build” (shop) is stuck: 5 requests have failed, limit 5.',
      'Session “Fix the build” (shop) is aborted (too many attempts): seen idle after 240 ms.',
    ]);
  });

  it('a restart does not say twice that the server is healthy', () => {
    const { telemetry, written } = captured({ format: 'pretty', level: 'info' });
    aRestart(telemetry);
    expect(written.map((line) => line.split(/ +/)[2])).toEqual([
      'server.restarting',
      'server.restarted',
    ]);
    telemetry.emit('server.healthy', { version: '1.18.33' });
    expect(written).toHaveLength(3);
  });

  it('shows every line once the level was changed to debug, by a reload', () => {
    const { telemetry, written } = captured({ format: 'pretty', level: 'info' });
    telemetry.emit('session.aborting', { ...ses, reason: 'attempts', try: 1 });
    expect(written).toEqual([]);
    telemetry.setLevel('debug');
    telemetry.emit('session.aborting', { ...ses, reason: 'attempts', try: 1 });
    expect(written).toHaveLength(1);
  });

  it('the sentences of all events begin in one column', () => {
    const format = createReadableFormat(false);
    const time = '2026-11-29T00:00:00.000Z';
    const columns = EVENT_NAMES.map((event) =>
      format(`${JSON.stringify({ level: 'warn', time, event, msg: '¶' })}\n`).indexOf('¶'),
    );
    expect(new Set(columns).size).toBe(1);
    expect(columns).toHaveLength(EVENT_NAMES.length);
  });

  it('a first start says that no server was there, and where', () => {
    const { telemetry, lines } = captured();
    telemetry.emit('server.starting', { pid: 4242 });
    expect(lines()[0].msg).toMatch(/^No server at .+: starting one, pid 4242\.$/);
    telemetry.emit('server.starting', {});
    expect(lines()[1].msg).toMatch(/^No server at .+: waiting for its start\.$/);
  });

  it('whoever asks for more than info gets every event', () => {
    const { telemetry, written } = captured({ format: 'pretty', level: 'debug' });
    anAbort(telemetry);
    expect(written).toHaveLength(7);
  });
});

it('JSON is whole, with the id whole and the project beside it', () => {
  const { telemetry, lines } = captured({ level: 'info' });
  anAbort(telemetry);
  aRestart(telemetry);
  expect(lines()).toHaveLength(10);
  expect(lines()[2]).toMatchObject({ ...ses, project: 'shop' });
});

it('a session without a title is named by the end of its id', () => {
  const { telemetry, lines } = captured();
  telemetry.emit('session.stuck', {
    sessionID: ses.sessionID,
    reason: 'hopeless',
    limit: 0,
    value: 0,
  });
  expect(lines()[0].msg).toBe('Session …build1 is stuck: no retry can mend this error.');
});
