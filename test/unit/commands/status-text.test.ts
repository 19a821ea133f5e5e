/** The status on terminals of 60, 80 and 160 columns, on a pipe, and watched. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { readStatus } from '../../../src/commands/status-schema.js';
import {
  cutPainted,
  MAX_SESSIONS,
  statusLines,
  statusParts,
} from '../../../src/commands/status-text.js';
import { type Place, pressed, START, screenOf } from '../../../src/commands/status-watch.js';
import { widthOf } from '../../../src/lib/text-width.js';

const NOW = Date.UTC(2026, 10, 29, 3, 40);
const MINUTE = 60_000;

const session = (id: string, fields: object) => ({
  id: `ses_${id}000000000000`,
  since: NOW - 5 * MINUTE,
  directory: '/home/ada/shop',
  ...fields,
});

const status = (sessions: object[], server: object = {}) =>
  readStatus({
    time: new Date(NOW).toISOString(),
    watchdog: {
      version: '0.2.0',
      pid: 12,
      startedAt: new Date(NOW - 60 * MINUTE).toISOString(),
      paused: false,
      dryRun: false,
      memoryBytes: 80e6,
      limits: { maxSilenceMs: 600_000, maxAttempts: 12, maxToolTimeMs: 3_600_000, maxRunTimeMs: 0 },
    },
    server: {
      url: 'http://localhost:4096',
      health: 'healthy',
      restarts: 1,
      recentRestarts: 0,
      breaker: { state: 'closed' },
      stream: { connected: true },
      ...server,
    },
    counts: { busy: 2, waiting: 1 },
    spentToday: { costUsd: 4.2, tokens: 1_210_000 },
    sessions,
    incidents: [],
    openIncidents: 0,
    restarts: [],
  });

const EVENTFUL = [
  session('ask', {
    title: 'Translate the help pages into every language that there is',
    health: 'waiting',
    waitingFor: 'question',
    waitingSince: NOW - 130_000,
    question: 'Which languages?',
  }),
  session('hang', { title: 'Fix the build', health: 'busy', quietSince: NOW - 130_000 }),
  session('tool', {
    title: '修复构建系统中的错误',
    health: 'busy',
    tool: 'bash',
    toolInput: 'npm test',
    toolSince: NOW - 100_000,
    costUsd: 0.42,
    directory: '/home/ada/a-project-with-a-very-long-name',
  }),
  session('retry', { title: 'Write docs', health: 'retrying', attempt: 3, message: 'Overloaded' }),
  session('child', { title: 'Explore', health: 'busy', parentID: 'ses_x', model: 'fake/m1' }),
  session('cut', {
    title: 'Upgrade',
    health: 'idle',
    outcome: 'interrupted',
    endedAt: NOW - 10 * MINUTE,
    endedBy: 'exited',
  }),
  session('manual', {
    title: 'x',
    health: 'idle',
    outcome: 'aborted',
    reason: 'manual',
    endedBy: 'page',
  }),
  session('loop', { title: 'y', health: 'idle', outcome: 'aborted', reason: 'loop' }),
  session('key', { title: 'z', health: 'idle', outcome: 'failed', message: 'bad key (401)' }),
];

const plain = (lines: readonly string[]) => lines.map(stripVTControlCharacters);

describe.each([60, 80, 160])('on a terminal of %i columns', (columns) => {
  const lines = statusLines(status(EVENTFUL), { columns, colours: true, sessions: MAX_SESSIONS });

  it('no line is wider, and what is cut says so', () => {
    for (const line of plain(lines)) expect(widthOf(line), line).toBeLessThanOrEqual(columns);
    expect(plain(lines).some((line) => line.endsWith('…'))).toBe(true);
  });

  it('many sessions fill no more than a screen, and the rest is counted', () => {
    const many = Array.from({ length: 30 }, (_, i) => session(`m${i}`, { health: 'busy' }));
    const shown = statusLines(status(many), { columns, colours: true, sessions: MAX_SESSIONS });
    expect(shown.length).toBeLessThanOrEqual(20);
    expect(plain(shown).join('\n')).toMatch(/^… and 2[15] more$/m);
  });

  it('the project stands before the id', () => {
    const text = plain(lines).join('\n');
    const row = /shop[^\n]*\n?[^\n]*(ses_hang0|…000000)/.exec(text);
    expect(row, text).not.toBeNull();
  });

  it('columns stand below each other, wide characters too', () => {
    if (columns < 70) return;
    const rows = plain(lines);
    const at = rows.find((line) => line.startsWith('HEALTH'))!.indexOf('ID');
    const ids = rows.filter((line) => /…0000|ses_\w+0000/.test(line));
    for (const line of ids) {
      const id = line.search(/…0000|ses_\w+0000/);
      expect(widthOf(line.slice(0, id)), line).toBe(at);
    }
  });
});

it('a pipe gets everything, uncut and without colours', () => {
  const many = Array.from({ length: 40 }, (_, i) =>
    session(String(i), { title: `Session number ${i} ${'x'.repeat(200)}`, health: 'busy' }),
  );
  const lines = statusLines(status(many), { columns: Number.POSITIVE_INFINITY, colours: false });
  expect(lines.filter((line) => line.includes('Session number')).length).toBe(40);
  expect(lines.join('')).not.toContain('\u001b');
  expect(lines.join('\n')).toContain('x'.repeat(200));
});

it('says what is known of a server that refuses the password or is not understood', () => {
  const says = 'it is a beta of OpenCode 2';
  const view = { columns: Number.POSITIVE_INFINITY, colours: false };
  const lines = statusLines(status([], { health: 'unsupported', says }), view);
  expect(lines[1]?.trim()).toBe(says);
});

it('says what each does, measured against its limits, and how the idle ended', () => {
  const text = statusLines(status(EVENTFUL), {
    columns: Number.POSITIVE_INFINITY,
    colours: false,
  }).join('\n');
  for (const words of [
    'waits for a person to answer a question, for 2 min 10 s, Which languages?',
    'quiet for 2 min 10 s of 10 min',
    'bash npm test for 1 min 40 s of 1 h, $0.42',
    'attempt 3 of 12, Overloaded',
    '↳ Explore',
    /cut at \d\d:30 by a restart \(exited\)/,
    'aborted from the status page',
    'aborted (going round in circles)',
    'failed: bad key (401)',
    '; $4.20 today',
  ]) {
    expect(text).toMatch(words);
  }
});

describe('watched', () => {
  const parts = statusParts(
    status(
      Array.from({ length: 22 }, (_, i) =>
        session(String(i), { title: `Session ${i}.`, health: 'busy' }),
      ),
    ),
    { columns: 80, colours: false },
  );
  const size = { rows: 30, columns: 80, clock: '03:40:00' };
  const keys = (place: Place, ...names: string[]) =>
    names.reduce<Place | undefined>(
      (at, name) =>
        at &&
        pressed(
          at,
          name.length === 1
            ? { name: /\w/.test(name) ? name : '', sequence: name, ctrl: false }
            : { name, sequence: '', ctrl: false },
          10,
        ),
      place,
    );

  it('shows all that fit, with a clock', () => {
    const { lines } = screenOf(parts, START, size);
    expect(lines).toHaveLength(30);
    expect(lines.filter((line) => /Session \d+\./.test(line))).toHaveLength(22);
    expect(lines.at(-1)).toBe('03:40:00  q ends, / searches, ↑ ↓ scroll');
  });

  it('scrolls where they do not, and no further than the end', () => {
    const small = { ...size, rows: 12 };
    const first = screenOf(parts, START, small);
    expect(first.lines).toHaveLength(12);
    expect(first.lines.at(-1)).toMatch(/1–8 of \d+ lines/);
    const end = screenOf(parts, keys(first.place, 'end')!, small);
    expect(end.lines.join('\n')).toContain('Session 21.');
    expect(end.lines.join('\n')).toContain('server    healthy');
    const back = screenOf(parts, keys(end.place, 'home', 'down')!, small);
    expect(back.place.top).toBe(1);
  });

  it('a search is typed, kept and left; q is a letter in it, and the end outside', () => {
    const typing = keys(START, '/', 'q', 'x', 'backspace');
    expect(typing).toMatchObject({ query: 'q', typing: true });
    expect(screenOf(parts, typing!, size).lines.at(-1)).toBe('/q▏');
    expect(keys(typing!, 'return')).toMatchObject({ query: 'q', typing: false });
    expect(keys(typing!, 'return', 'escape')).toMatchObject({ query: '' });
    expect(keys(typing!, 'return', 'q')).toBeUndefined();
    expect(pressed(typing!, { name: 'c', ctrl: true, sequence: '\u0003' }, 10)).toBeUndefined();
  });

  it('only what fits the search is shown', () => {
    const found = statusParts(status(EVENTFUL), { columns: 160, colours: false, query: 'fix the' });
    expect(found.body.filter((line) => line.includes('shop'))).toHaveLength(1);
  });
});

it('a line is cut to its columns, colours not counted', () => {
  expect(cutPainted('\u001b[31mstuck\u001b[39m for ever', 8)).toBe('\u001b[31mstuck\u001b[39m f…');
  expect(cutPainted('short', 8)).toBe('short');
});
