import { describe, expect, it } from 'vitest';
import type { TelemetryRecord } from '../../../src/telemetry/logger.js';
import { captured, NOW } from './fixtures.js';

const STUCK = {
  sessionID: 'ses_x',
  directory: '/srv/a',
  reason: 'attempts',
  limit: 5,
  value: 5,
  attempt: 5,
  message: 'Rate limit reached',
  nextInMs: 60_000,
} as const;

describe('a log line', () => {
  it('has the contract’s shape and order, with the next attempt as a time', () => {
    const { telemetry, written } = captured();
    telemetry.emit('session.stuck', STUCK);
    expect(written).toEqual([
      '{"level":"warn","time":"2026-01-02T03:04:05.678Z","event":"session.stuck",' +
        '"msg":"Session ses_x (a) is stuck: 5 requests have failed, limit 5 (Rate limit reached).","server":"http://localhost:4096",' +
        '"sessionID":"ses_x","directory":"/srv/a","reason":"attempts","limit":5,"value":5,"attempt":5,' +
        '"message":"Rate limit reached","project":"a","nextAt":"2026-01-02T03:05:05.678Z"}\n',
    ]);
  });

  it('leaves out a next attempt that is no time, and fields that are not known', () => {
    const { telemetry, lines } = captured();
    telemetry.emit('session.stuck', { ...STUCK, nextInMs: Number.POSITIVE_INFINITY });
    telemetry.emit('session.stuck', { ...STUCK, nextInMs: 1e300 });
    for (const line of lines()) expect(line).not.toHaveProperty('nextAt');
    telemetry.emit('server.healthy', {});
    expect(Object.keys(lines()[2])).toEqual(['level', 'time', 'event', 'msg', 'server']);
  });

  it('is left out below the level, but subscribers hear of it', () => {
    const { telemetry, written } = captured({ level: 'warn' });
    const heard: TelemetryRecord[] = [];
    const end = telemetry.subscribe((record) => heard.push(record));
    telemetry.emit('stream.connected', { path: '/event' });
    expect(written).toEqual([]);
    expect(heard).toEqual([
      {
        event: 'stream.connected',
        level: 'info',
        time: NOW,
        msg: 'Listening to /event.',
        fields: { path: '/event' },
      },
    ]);
    end();
    telemetry.emit('stream.connected', { path: '/event' });
    expect(heard).toHaveLength(1);
  });

  it('takes the level of a notice from its severity', () => {
    const { telemetry, lines } = captured();
    telemetry.emit('server.notice', { severity: 'warn', notice: 'the port is taken.' });
    expect(lines()[0]).toMatchObject({ level: 'warn', msg: 'The port is taken.' });
  });

  it('is written although a subscriber fails, who then hears no more', () => {
    const { telemetry, lines } = captured();
    let calls = 0;
    telemetry.subscribe(() => {
      calls++;
      throw new Error('boom');
    });
    telemetry.emit('stream.connected', { path: '/event' });
    telemetry.emit('stream.connected', { path: '/event' });
    expect(calls).toBe(1);
    expect(lines().map(({ event }) => event)).toEqual([
      'stream.connected',
      'error',
      'stream.connected',
    ]);
  });

  it('has whole milliseconds, and the cents of a budget', () => {
    const { telemetry, lines } = captured();
    const spent = { budget: 'session', value: 0.1 + 0.2, limit: 0.5 } as const;
    telemetry.emit('budget.warning', { sessionID: 'ses_x', unit: 'cost', ...spent });
    telemetry.emit('session.stuck', {
      ...STUCK,
      reason: 'budget',
      unit: 'cost',
      value: 0.6,
      limit: 0.5,
    });
    telemetry.emit('session.stuck', {
      ...STUCK,
      reason: 'silence',
      value: 600_000.4,
      limit: 600_000,
    });
    expect(lines()).toMatchObject([
      { event: 'budget.warning', value: 0.3, limit: 0.5 },
      { event: 'session.stuck', value: 0.6, limit: 0.5 },
      { event: 'session.stuck', value: 600_000, limit: 600_000 },
    ]);
  });

  it('masks a secret in a title before it cuts the title for the sentence', () => {
    const password = 'fJ2mQ8vXc4Rz0LwTn6YbKd1HsPgUe3AoWi5Nx7VqMBE';
    const { telemetry, lines } = captured({ secrets: [{ reveal: () => password }] });
    const title = `The server asks us for ${password} at the login`;
    telemetry.emit('session.failed', { sessionID: 'ses_x', title, error: 'no', attempts: 0 });
    expect(lines()[0].msg).toBe(
      'The run of session “The server asks us for [secret] at the login” failed: no.',
    );
    const key = `${'Try it in the staging shop with this new key: '}sk-${'k'.repeat(30)}`;
    telemetry.emit('session.failed', { sessionID: 'ses_x', title: key, error: 'no', attempts: 0 });
    expect(lines()[1].msg).toContain('this new key: [secret]” failed');
  });

  it('has its sentence where a secret is part of a word that the sentence is chosen by', () => {
    const { telemetry, lines } = captured({ secrets: [{ reveal: () => 'start' }] });
    const cut = {
      sessionID: 'ses_x',
      title: 'Do start it',
      by: 'restart',
      health: 'busy',
    } as const;
    telemetry.emit('session.interrupted', cut);
    telemetry.emit('server.notice', { severity: 'warn', notice: 'start is refused.' });
    expect(lines().map(({ msg }) => msg)).toEqual([
      'A re[secret] cut the run of session “Do [secret] it”, which was busy.',
      '[secret] is refused.',
    ]);
  });

  it('has the server’s output to 8 KiB and other strings to 2 KiB', () => {
    const { telemetry, lines } = captured();
    const line = 'x'.repeat(20_000);
    telemetry.emit('server.output', { stream: 'stdout', line });
    telemetry.emit('session.failed', { sessionID: 'ses_x', error: line, attempts: 0 });
    expect(lines()[0].line).toBe(`${'x'.repeat(8_192)}… (20000 characters)`);
    expect(lines()[1].error).toBe(`${'x'.repeat(2_048)}… (20000 characters)`);
  });
});

describe('the format', () => {
  const emitTo = (options: Parameters<typeof captured>[0]) => {
    const { telemetry, written } = captured(options);
    telemetry.emit('session.stuck', STUCK);
    return written.join('');
  };
  // The reader's own time zone.
  const at = new Date(NOW).toTimeString().slice(0, 8);
  const sentence =
    'Session ses_x (a) is stuck: 5 requests have failed, limit 5 (Rate limit reached).';

  it('is NDJSON where nobody reads along, or where it is asked for', () => {
    expect(JSON.parse(emitTo({ format: 'auto' }))).toMatchObject({ event: 'session.stuck' });
    expect(JSON.parse(emitTo({ format: 'json', terminal: true }))).toHaveProperty('msg');
  });

  it('is one short line on a terminal, with a colour for the level', () => {
    const line = emitTo({ format: 'auto', terminal: true });
    expect(line).toContain('\u001B[33mWARN \u001B[39m');
    expect(line).toContain(sentence);
    expect(line.endsWith('\n')).toBe(true);
  });

  it('has no colour elsewhere or where NO_COLOR is set', () => {
    const plain = `${at} WARN  session.stuck            ${sentence}\n`;
    expect(emitTo({ format: 'pretty' })).toBe(plain);
    expect(emitTo({ format: 'auto', terminal: true, env: { NO_COLOR: '1' } })).toBe(plain);
  });

  it('lets no control sequence and no line break of others through to the terminal', () => {
    const { telemetry, written } = captured({ format: 'pretty' });
    telemetry.emit('server.output', {
      stream: 'stdout',
      line: '\u001B[31mred\u001B[0m\u001B]0;title\u0007 \u001B[2Jone\r\ntwo\u009Bx\u0000',
    });
    expect(written.join('').trimEnd()).not.toMatch(/\p{Cc}/u);
    expect(written.join('')).toContain('opencode: red one | two');
  });
});
