/** "What happened last night?": the report of a night that is written down here, in every form and at every width. */
import { describe, expect, it } from 'vitest';
import { widthOf } from '../../../../src/lib/text-width.js';
import { collect } from '../../../../src/status/report/collect.js';
import { markdownReport } from '../../../../src/status/report/markdown.js';
import {
  evidenceOf,
  findIncident,
  incidentLines,
} from '../../../../src/status/report/one-incident.js';
import { textReport } from '../../../../src/status/report/text.js';
import type { EventFields } from '../../../../src/telemetry/catalogue/events.js';
import { parseLogLine } from '../../../../src/telemetry/log-line.js';
import { captured, NOW } from '../../telemetry/fixtures.js';

const START = Date.parse('2026-11-28T22:00:00Z');
const build = {
  sessionID: 'ses_4f9a00000000000000build1',
  title: 'Fix the *build* 修复',
  directory: '/home/ada/shop',
};
const docs = {
  sessionID: 'ses_4f9a00000000000000docs02',
  title: 'Write docs',
  directory: '/home/ada/web',
};
const ask = { sessionID: 'ses_4f9a00000000000000asks03', directory: '/home/ada/web' };

function night(): string[] {
  let minute = 0;
  const line = (event: string, fields: object, level = 'info') =>
    JSON.stringify({
      level,
      time: new Date(START + ++minute * 60_000).toISOString(),
      event,
      msg: `${event} happened.`,
      server: 'http://localhost:4096',
      ...fields,
    });
  const ended = { steps: 3, tools: 2, toolErrors: 0, tookMs: 61_000 };
  return [
    line('daemon.started', { version: '0.2.0', pid: 7, config: { dryRun: false } }),
    line('session.ended', {
      ...docs,
      ...ended,
      outcome: 'completed',
      costUsd: 0.25,
      tokens: 12_000,
    }),
    line('session.stuck', { ...build, reason: 'attempts', limit: 5, value: 5 }, 'warn'),
    line('session.aborting', { ...build, reason: 'attempts', try: 1 }, 'warn'),
    line('session.aborted', { ...build, reason: 'attempts', try: 1, tookMs: 40 }),
    line(
      'session.ended',
      { ...build, ...ended, outcome: 'aborted', costUsd: 1.5, tokens: 900 },
      'warn',
    ),
    line('provider.outage', {
      provider: 'openai',
      model: 'gpt-5',
      sessions: 3,
      message: 'Overloaded',
    }),
    line('provider.back', { provider: 'openai', model: 'gpt-5', outageMs: 200_000 }),
    line('server.unresponsive', { failures: 3, lastError: 'timeout' }, 'error'),
    line('server.restarting', {
      reason: 'unresponsive',
      interrupted: [docs.sessionID],
      restarts: 1,
      detail: '3 probes failed',
    }),
    line('session.interrupted', { ...docs, by: 'restart', health: 'busy' }),
    line('server.restarted', { reason: 'unresponsive', tookMs: 7_000, pid: 9 }),
    line('budget.warning', { ...docs, budget: 'run', unit: 'cost', value: 8, limit: 10 }),
    line('act.requested', { act: 'abort', sessionID: docs.sessionID }),
    line('session.waiting', { ...docs, on: 'permission', requestID: 'per_1' }),
    line('session.answered', {
      ...docs,
      on: 'permission',
      requestID: 'per_1',
      by: 'person',
      forMs: 1,
    }),
    line('session.waiting', { ...ask, on: 'question', requestID: 'que_1' }),
    line('session.stuck', { ...ask, reason: 'waiting', limit: 5, value: 5 }, 'warn'),
  ];
}
const parsed = (lines: readonly string[]) => lines.flatMap((line) => parseLogLine(line) ?? []);
/** As it is reported a minute after the last line. */
const reported = (lines = night(), from = START) => {
  const known = parsed(lines);
  return collect(known, from, (known.at(-1)?.time ?? START) + 60_000);
};

describe('the report of a night', () => {
  it('says how runs ended and what they cost, and what was done about what was stuck', () => {
    const found = reported();
    expect(found.runs.map(({ outcome, costUsd }) => [outcome, costUsd])).toEqual([
      ['completed', 0.25],
      ['aborted', 1.5],
    ]);
    expect(
      found.incidents.map(({ kind, outcome, session }) => [kind, outcome, session?.project]),
    ).toEqual([
      ['stuck', undefined, 'web'],
      ['unresponsive', 'restarted', undefined],
      ['outage', 'back', undefined],
      ['stuck', 'aborted', 'shop'],
    ]);
    expect(found.restarts).toMatchObject([
      { reason: 'unresponsive', tookMs: 7_000, cut: [{ title: 'Write docs', project: 'web' }] },
    ]);
    expect(found.outages).toMatchObject([{ provider: 'openai', outageMs: 200_000 }]);
    expect(found.waiting).toMatchObject([
      { session: { id: ask.sessionID }, what: 'a question is unanswered' },
    ]);
    expect(found.asked).toHaveLength(1);
    expect(found.budgets).toMatchObject([{ isSpent: false }]);
  });

  it('says how many sessions a restart cut beside those that the log names', () => {
    const interrupted = [docs.sessionID, '… and 23 more'];
    const restart = { time: new Date(START).toISOString(), event: 'server.restarting' };
    const found = reported([
      JSON.stringify({ level: 'warn', ...restart, reason: 'pileup', interrupted }),
    ]);
    expect(found.restarts).toMatchObject([{ cut: [{ id: docs.sessionID }], moreCut: 23 }]);
    expect(textReport(found, 160)).toMatch(/; cut \S+ and 23 more$/m);
  });

  it('counts only what happened since the time that was asked for, and knows the names from before', () => {
    const late = reported(night(), START + 10 * 60_000);
    expect(late.runs).toEqual([]);
    expect(late.incidents.map(({ kind }) => kind)).toEqual(['stuck', 'unresponsive']);
    expect(late.restarts[0]?.cut[0]?.title).toBe('Write docs');
  });

  it('reads how runs ended from a log that has no session.ended', () => {
    const old = night().filter((line) => !line.includes('session.ended'));
    const health = { ...ask, health: 'idle', previous: 'busy', forMs: 1 };
    const more = JSON.stringify({
      level: 'info',
      time: '2026-11-28T22:40:00Z',
      event: 'session.health',
      msg: '',
      ...health,
    });
    expect(reported([...old, more]).runs.map(({ outcome }) => outcome)).toEqual([
      'aborted',
      'interrupted',
      'completed',
    ]);
  });

  it('names a quarantined session until its person uses it, also after a restart of the daemon', () => {
    const line = (event: string, minute: number, fields: object = {}) =>
      JSON.stringify({
        level: 'info',
        time: new Date(START + minute * 60_000).toISOString(),
        event,
        msg: '',
        ...fields,
      });
    const waiting = (...lines: string[]) =>
      reported(lines).waiting.map(({ session }) => session?.id ?? 'the daemon');
    const both = [build, docs].map((ses) => line('session.quarantined', 1, { ...ses, crashes: 2 }));
    const idle = line('session.health', 2, { ...build, health: 'idle', previous: 'busy' });
    const again = [line('daemon.paused', 3), line('daemon.started', 4, { config: {} })];
    expect(waiting(...both, idle, ...again)).toEqual([build.sessionID, docs.sessionID]);
    const used = line('session.health', 5, { ...build, health: 'busy', previous: 'idle' });
    expect(waiting(...both, idle, ...again, used)).toEqual([docs.sessionID]);
  });

  it('of a dry run it says that nothing was done', () => {
    const dry = night().map((line) => line.replace('"dryRun":false', '"dryRun":true'));
    expect(textReport(reported(dry), 120)).toContain(
      'A dry run: of the acts below, nothing was done.',
    );
  });

  it('tells no act of a dry run as one that was done', () => {
    const { telemetry, written } = captured({ dryRun: true });
    const cut = { reason: 'unresponsive', detail: '', interrupted: [docs.sessionID], restarts: 1 };
    telemetry.emit('server.restarting', cut as EventFields['server.restarting']);
    telemetry.emit('act.skipped', { act: 'restart', because: 'dryRun' });
    expect(JSON.parse(written[0] ?? '')).toMatchObject({ would: true });
    const found = collect(parsed(written), NOW, NOW);
    expect(found).toMatchObject({ restarts: [], dryRun: true });
  });

  it('of a time with a dry run and with real acts, it says that', () => {
    const [first = '', ...rest] = night();
    const dry = first.replace('"dryRun":false', '"dryRun":true');
    const found = reported([dry, ...rest.slice(0, 8), first, ...rest.slice(8)]);
    expect(found.dryRun).toBe('partly');
    expect(textReport(found, 120)).toContain('A dry run for a part of the time:');
  });

  describe('says when nobody watched', () => {
    const at = (hours: number) => START + hours * 3_600_000;
    const line = (hours: number, event: string, fields: object = {}) =>
      JSON.stringify({ level: 'info', time: new Date(at(hours)), event, msg: '', ...fields });
    const minutes = (from: number, until: number) =>
      Array.from({ length: Math.round((until - from) * 60) }, (_, n) =>
        line(from + n / 60, 'health.summary'),
      );
    const hourOf = (time: number) => new Date(time).toTimeString().slice(0, 5);
    const unwatched = (lines: string[], from = 0, until = 10) =>
      collect(parsed(lines), at(from), at(until)).unwatched.map((time) => [
        (Date.parse(time.from) - START) / 3_600_000,
        (Date.parse(time.until) - START) / 3_600_000,
        time.because,
      ]);

    it('because the daemon was stopped, or ended without a word', () => {
      const stopped = [...minutes(0, 2), line(2, 'daemon.stopped'), line(3, 'daemon.started')];
      expect(unwatched([...stopped, ...minutes(3, 10)])).toEqual([[2, 3, 'stopped']]);
      const killed = [...minutes(0, 2), line(2, 'session.stuck', ask), line(3, 'daemon.started')];
      expect(unwatched([...killed, ...minutes(3, 10)])).toEqual([[2, 3, 'ended']]);
      // The new daemon may complain before it says that it has started.
      killed.splice(-1, 0, line(2.99, 'server.notice'));
      expect(unwatched([...killed, ...minutes(3, 10)])).toEqual([[2, 3, 'ended']]);
    });

    it('up to its end, with what is known at the last moment of the watch', () => {
      const waits = line(2, 'session.waiting', { ...ask, on: 'question', requestID: 'que_1' });
      const killed = [...minutes(0, 2), waits];
      expect(unwatched(killed)).toEqual([[2, 10, 'no_line']]);
      expect(unwatched([...killed, line(2.5, 'daemon.stopped')])).toEqual([[2.5, 10, 'stopped']]);
      const text = textReport(collect(parsed(killed), at(0), at(10)), 160);
      const hour = hourOf(at(2));
      expect(text).toMatch(
        new RegExp(
          `tells: 1\n  since .*${hour} \\(no line of the log\\)\n.* person at .*${hour}: 1\n`,
        ),
      );
    });

    it('also if that was before the report’s time', () => {
      const waits = line(2, 'session.waiting', { ...ask, on: 'question', requestID: 'que_1' });
      const lines = [...minutes(0, 2), waits, line(2.5, 'daemon.stopped')];
      const late = collect(parsed([...lines, line(8, 'server.notice')]), at(7), at(10));
      expect(late.watchEndedAt).toBe(new Date(at(2.5)).toISOString());
      expect(textReport(late, 160)).toMatch(new RegExp(` person at .*${hourOf(at(2.5))}: 1\n`));
      // A day before that of the report is named.
      const nextDay = collect(parsed([...lines, line(40, 'server.notice')]), at(40), at(41));
      expect(textReport(nextDay, 160)).toMatch(/ person at Nov 2[89] \d\d:\d\d: 1\n/);
    });

    it('newest first, each time in its own row, which no terminal cuts', () => {
      const slept = [3, 5, 7].map((hour) => line(hour, 'daemon.gap', { gapMs: 3_600_000 }));
      const [a, b, c] = slept as [string, string, string];
      const lines = [
        ...minutes(0, 2),
        a,
        ...minutes(3, 4),
        b,
        ...minutes(5, 6),
        c,
        ...minutes(7, 10),
      ];
      const text = textReport(collect(parsed(lines), at(0), at(10)), 80);
      expect(text).toContain('\nNot watched, as far as the log tells: 3\n');
      const rows = text.split('\n').filter((row) => row.endsWith(' (it did not run: asleep?)'));
      const hours = rows.map((row) => row.match(/\d\d:\d\d/g));
      expect(hours).toEqual([6, 4, 2].map((from) => [hourOf(at(from)), hourOf(at(from + 1))]));
      expect(textReport(collect(parsed(minutes(0, 10)), at(0), at(10)), 80)).not.toContain(
        'watched',
      );
    });

    it('because the machine slept, and before the first line', () => {
      const slept = line(8, 'daemon.gap', { gapMs: 5 * 3_600_000 });
      expect(unwatched([...minutes(1, 3), slept, ...minutes(8, 10)])).toEqual([
        [0, 1, 'no_line'],
        [3, 8, 'asleep'],
      ]);
    });

    it('never of a daemon that has nothing to tell but its summary, however seldom', () => {
      expect(unwatched(minutes(0, 10))).toEqual([]);
      const seldom = Array.from({ length: 20 }, (_, n) => line(n / 2, 'health.summary'));
      expect(unwatched(seldom)).toEqual([]);
      expect(unwatched([...minutes(0, 2), line(2, 'daemon.started'), ...minutes(2, 10)])).toEqual(
        [],
      );
    });
  });

  it('a restart whose daemon ended first is not under way for ever', () => {
    const lines = night();
    const begun = lines.findIndex((line) => line.includes('"server.restarting"'));
    const [started = ''] = lines;
    const restarted = lines[begun + 2] ?? '';
    const found = reported([...lines.slice(0, begun + 1), started, restarted]);
    expect(found.restarts).toMatchObject([{ reason: 'unresponsive', endUnseen: true }]);
    expect(found.restarts[0]).not.toHaveProperty('tookMs');
    expect(textReport(found, 160)).toContain('unresponsive, its end was not seen; cut');
  });

  describe('of which nobody watched the end', () => {
    const HOUR = 3_600_000;
    const line = (minute: number, event: string, fields: object = {}) =>
      JSON.stringify({
        level: 'warn',
        time: new Date(START + minute * 60_000),
        event,
        msg: '',
        ...fields,
      });
    const openEnds = [
      line(0, 'session.stuck', { ...build, reason: 'attempts', limit: 5, value: 5 }),
      line(1, 'provider.outage', { provider: 'openai', model: 'gpt-5', sessions: 3 }),
      line(2, 'server.restarting', { reason: 'pileup', interrupted: [build.sessionID] }),
      line(3, 'health.summary'),
    ];
    const atEnd = (lines: string[], until: number, from = START) => {
      const { incidents, outages, restarts } = collect(parsed(lines), from, until);
      return {
        incidents: incidents.map(({ outcome, endedAt }) => [outcome, endedAt]),
        outages: outages.map(({ endedAt }) => endedAt),
        restarts: restarts.map(({ endUnseen }) => endUnseen),
      };
    };
    const unseen = (minute: number) => {
      const end = new Date(START + minute * 60_000).toISOString();
      const incident = ['unwatched', end];
      return { incidents: [incident, incident], outages: [end], restarts: [true] };
    };
    const stopped = [...openEnds, line(4, 'daemon.stopped')];

    it('nothing stays open for ever: what was open ended with the watch', () => {
      expect(atEnd(openEnds, START + HOUR)).toEqual(unseen(3));
      expect(atEnd(stopped, START + HOUR)).toEqual(unseen(4));
      expect(textReport(collect(parsed(stopped), START, START + HOUR), 160)).not.toMatch(
        /OPEN|not over|not back yet/,
      );
    });

    it('the next daemon’s first words are not of the watch before it', () => {
      const next = [line(59, 'server.notice'), line(60, 'daemon.started')];
      expect(atEnd([...openEnds, ...next], START + HOUR)).toEqual(unseen(3));
    });

    it('nor in a file whose last line is the end of the daemon', () => {
      expect(atEnd(stopped, START + 4 * 60_000)).toEqual(unseen(4));
    });

    it('also what began before the report’s time is in it: it may have lasted into it', () => {
      const { incidents, outages } = unseen(4);
      const late = atEnd(stopped, START + 2 * HOUR, START + HOUR);
      expect(late).toEqual({ incidents, outages, restarts: [] });
    });

    it('but what a daemon that lives watches is open', () => {
      const open = {
        incidents: [
          [undefined, undefined],
          [undefined, undefined],
        ],
        outages: [undefined],
        restarts: [undefined],
      };
      expect(atEnd(openEnds, START + 4 * 60_000)).toEqual(open);
      const slept = line(60, 'daemon.gap', { gapMs: 50 * 60_000 });
      expect(atEnd([...openEnds, slept], START + HOUR)).toEqual(open);
    });
  });

  it('of a time of which nothing is known, it says so', () => {
    expect(textReport(reported([]), 120)).toContain('Nothing is known of that time');
  });
});

describe.each([60, 80, 160])('on a terminal of %i columns', (columns) => {
  it('it fits one screen, and leads with the project', () => {
    const lines = textReport(reported(), columns).split('\n');
    expect(lines.length).toBeLessThan(25);
    for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns);
    const all = lines.join('\n');
    expect(all).toMatch(/Waiting for a person now: 1\n.*web · …asks03: a question is unanswered/);
    expect(all).toMatch(/Runs: 2; 1 completed, 1 aborted; \$1\.75, 12,900 tokens/);
    expect(all).toContain('shop · Fix the *build* 修复');
    expect(all).toMatch(/Restarts: 1\n.*unresponsive, back after 7 s; cut web/);
    expect(all).toMatch(/Outages: 1\n.*openai\/gpt-5, 3 sessions, over after 3 min/);
    // Cut lines say so.
    if (columns === 60) expect(all).toContain('…\n');
  });
});

it('a terminal and a chat obey nothing of a title', () => {
  const evil = night().map((line) =>
    line.replaceAll('Fix the *build*', '\\u001b]0;owned\\u0007@here [x](http://evil) <b>'),
  );
  const text = textReport(reported(evil), 160);
  expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
  const markdown = markdownReport(reported(evil));
  expect(markdown).toContain('\\@here \\[x\\](http\\://evil) \\<b\\>');
});

it('markdown says the same in lists', () => {
  const text = markdownReport(reported());
  expect(text).toMatch(/^\*\*Nov 2[89] /);
  expect(text).toContain('\n\n**Restarts: 1**\n\n- ');
  expect(text).toContain('shop · Fix the \\*build\\* 修复');
});

it('a subagent’s cost is counted once, with that of its parent', () => {
  const ended = (minute: number, sessionID: string, fields: object, ms = 0) =>
    JSON.stringify({
      level: 'info',
      time: new Date(START + minute * 60_000 + ms).toISOString(),
      event: 'session.ended',
      msg: '',
      sessionID,
      outcome: 'completed',
      ...fields,
    });
  const below = ended(5, 'ses_below', { parentID: 'ses_child', costUsd: 1, tokens: 100 });
  const ofChild = { parentID: 'ses_parent', costUsd: 4, tokens: 400, tookMs: 120_000 };
  const child = ended(6, 'ses_child', ofChild);
  const parent = ended(7, 'ses_parent', { costUsd: 5, tokens: 500, tookMs: 300_000 });
  const title = (...lines: string[]) =>
    textReport(reported(lines), 160)
      .split('\n')
      .find((row) => row.startsWith('Runs'));
  expect(title(below, child, parent)).toBe('Runs: 3; 3 completed; $5.00, 500 tokens');
  expect(title(below, child)).toBe('Runs: 2; 2 completed; $4.00, 400 tokens');
  // A restart cuts both: the line of the parent may come first.
  const cut = ended(7, 'ses_child', ofChild, 1);
  expect(title(parent, cut)).toBe('Runs: 2; 2 completed; $5.00, 500 tokens');
  // The person went on with the subagent's session after its parent's run.
  const later = ended(30, 'ses_child', { costUsd: 2, tokens: 200, tookMs: 60_000 });
  expect(title(below, child, parent, later)).toBe('Runs: 4; 4 completed; $7.00, 700 tokens');
  // The machine slept for an hour after the subagent's end, which the parent's `tookMs` leaves out.
  const gap = { level: 'warn', event: 'daemon.gap', msg: '', gapMs: 3_600_000 };
  const slept = JSON.stringify({ ...gap, time: new Date(START + 67 * 60_000) });
  const longer = ended(68, 'ses_parent', { costUsd: 5, tokens: 500, tookMs: 360_000 });
  expect(title(child, slept, longer)).toBe('Runs: 2; 2 completed; $5.00, 500 tokens');
  // Both began in the same moment, as far as it can be known.
  const same = ended(6, 'ses_child', { ...ofChild, tookMs: 240_003 });
  expect(title(same, parent)).toBe('Runs: 2; 2 completed; $5.00, 500 tokens');
});

it('counts each incident, however many there are', () => {
  const line = (second: number, event: string, fields: object) =>
    JSON.stringify({
      level: 'warn',
      time: new Date(START + second * 1_000),
      event,
      msg: '',
      ...build,
      ...fields,
    });
  const lines = Array.from({ length: 250 }, (_, n) => [
    line(2 * n, 'session.stuck', { reason: 'attempts', limit: 5, value: 5 }),
    line(2 * n + 1, 'session.recovered', { reason: 'attempts', attempts: 5, episodeMs: 9 }),
  ]).flat();
  const found = reported(lines);
  expect(textReport(found, 120)).toContain('\nIncidents: 250\n');
  expect(findIncident(found, String(START / 1_000))).toHaveLength(1);
});

describe('an outage', () => {
  const MINUTE = 60_000;
  const at = (minute: number, event: string, fields: object = {}) =>
    JSON.stringify({
      level: 'warn',
      time: new Date(START + minute * MINUTE).toISOString(),
      event,
      msg: `${event} happened.`,
      ...fields,
    });
  const model = { provider: 'openai', model: 'gpt-5' };
  const began = at(0, 'provider.outage', { ...model, sessions: 3, message: 'Overloaded' });
  const back = (minute: number) =>
    at(minute, 'provider.back', { ...model, outageMs: minute * MINUTE });
  const started = (minute: number) =>
    at(minute, 'daemon.started', { version: '0.2.0', pid: 7, config: {} });
  const outages = (...lines: string[]) => {
    const report = reported(lines, START + 10 * MINUTE);
    const [count, row] = textReport(report, 160).split('Outages: ')[1]?.split('\n') ?? [];
    return { count, row, incidents: report.incidents.map(({ kind }) => kind) };
  };

  it('that began before the report and is not over is in it', () => {
    expect(outages(began)).toEqual({
      count: '1',
      row: expect.stringContaining('openai/gpt-5, 3 sessions, not over (Overloaded)'),
      incidents: ['outage'],
    });
  });

  it('that ended within the report is in it', () => {
    const { count, row } = outages(began, back(20));
    expect(count).toBe('1');
    expect(row).toContain('over after 20 min');
  });

  it('that ended before the report is not', () => {
    expect(outages(began, back(5))).toMatchObject({ count: '0', incidents: [] });
    expect(outages(began, started(5))).toMatchObject({ count: '0', incidents: [] });
  });

  it('whose daemon ended first is not said to go on after its last line', () => {
    expect(outages(began, started(15)).row).toContain('its end was not seen');
    const { incidents, outages: found } = reported([began, at(4, 'server.healthy'), started(15)]);
    expect(incidents).toMatchObject([{ outcome: 'unwatched', endedAt: found[0]?.endedAt }]);
    expect(found[0]?.endedAt).toBe(new Date(START + 4 * MINUTE).toISOString());
  });

  it('is an incident of its own that is found by its id, and listed once', () => {
    const report = reported([began]);
    const [incident] = findIncident(report, String(report.incidents[0]?.id));
    expect(incident).toMatchObject({ kind: 'outage', reason: 'openai/gpt-5' });
    expect(textReport(report, 160)).toContain('Incidents: 0');
  });
});

describe('one incident', () => {
  it('is found by the end of its id, and shown with the lines about its session', () => {
    const found = reported();
    const stuck = found.incidents.at(-1);
    const [incident, ...others] = findIncident(found, `#${String(stuck?.id).slice(-5)}`);
    expect(others).toEqual([]);
    if (incident === undefined) throw new Error('not found');
    const evidence = evidenceOf(incident, parsed(night()));
    expect(evidence.lines.map(({ event }) => event)).toEqual([
      'session.stuck',
      'session.aborting',
      'session.aborted',
      'session.ended',
    ]);
    expect(incidentLines(evidence).head).toEqual([
      `Incident #${incident.id}: stuck (too many attempts)`,
      `Session: shop · Fix the *build* 修复, ${build.sessionID}, in /home/ada/shop`,
      expect.stringMatching(/aborted after 2 min$/),
      'session.stuck happened.',
    ]);
  });
});

describe('a line of the log', () => {
  const json =
    '{"level":"info","time":"2026-11-28T22:00:00.000Z","event":"daemon.stopped","msg":"Stopped."}';
  it.each([
    ['as it was written', json],
    ['with its priority', `<6>${json}`],
    [
      'behind the time and host of the journal',
      `Nov 28 22:00:00 host opencode-watchdog[7]: ${json}`,
    ],
    ['behind the name of a service', `watchdog-1  | ${json}`],
    ['in an object of the journal', JSON.stringify({ MESSAGE: json, PRIORITY: '6' })],
  ])('is read %s', (_, line) => {
    expect(parseLogLine(line)).toMatchObject({ event: 'daemon.stopped', time: START });
  });

  it.each([
    ['torn', json.slice(0, -5)],
    ['of another program', '{"message":"hello"}'],
    ['about no session', json.replace('daemon.stopped', 'session.stuck')],
    ['of no time', json.replace('2026', 'year')],
    ['empty', ''],
  ])('is none where it is %s', (_, line) => {
    expect(parseLogLine(line)).toBeUndefined();
  });
});
