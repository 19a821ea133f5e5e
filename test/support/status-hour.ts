/** What happens to sessions and to a server, as the status page sees it: a whole hour, and the single events. */
import type { StuckReason } from '../../src/watchdog/decision.js';
import type { StatusWorld } from './status-world.js';

export function stuck(
  w: StatusWorld,
  sessionID: string,
  title: string,
  reason: StuckReason = 'attempts',
) {
  w.telemetry.emit('session.stuck', {
    sessionID,
    title,
    reason,
    limit: 12,
    value: 12,
    attempt: 12,
    message: 'Rate limit reached',
  });
  w.health(sessionID, 'stuck', { title, reason });
  w.telemetry.emit('session.aborting', { sessionID, title, reason, try: 1 });
}

export function aborted(
  w: StatusWorld,
  sessionID: string,
  title: string,
  reason: StuckReason = 'attempts',
) {
  w.health(sessionID, 'idle', { title });
  w.telemetry.emit('session.aborted', { sessionID, title, reason, try: 1, tookMs: 38 });
  w.telemetry.emit('session.ended', {
    sessionID,
    title,
    outcome: 'aborted',
    reason,
    steps: 1,
    tools: 0,
    toolErrors: 0,
    costUsd: 0,
    tokens: 0,
    tookMs: 5_000,
  });
}

/** Emits an hour of a server's life, with times in the past, up to now. */
export async function anHour(w: StatusWorld): Promise<void> {
  const names = [
    ['ses_7Qm2', 'Migrate the shop to the new API', '/home/ada/shop'],
    ['ses_4kXp', 'Find the flaky checkout test', '/home/ada/shop'],
    ['ses_9fTe', 'Write release notes for 2.4', '/home/ada/site'],
    ['ses_2hRa', 'Upgrade to Node 24', '/home/ada/tools/build'],
    ['ses_6vLs', 'Explain the scheduler', '/home/ada/engine'],
    ['ses_1wBn', 'Translate the help pages', '/home/ada/site'],
    ['ses_8cGd', 'Profile the importer', '/home/ada/engine'],
  ] as const;
  const about = (at: number) => {
    const [sessionID, title, directory] = names[at]!;
    return { sessionID, title, directory };
  };
  const step = (minutesAgo: number) => {
    w.clock.back = minutesAgo * 60_000;
  };
  const set = (at: number, ...rest: [Parameters<StatusWorld['health']>[1], object?]) => {
    const { sessionID, ...known } = about(at);
    w.health(sessionID, rest[0], { ...known, ...rest[1] });
  };
  w.source.spentToday.costUsd = 4.2;
  step(60);
  w.telemetry.emit('server.healthy', { version: '1.18.33', pid: 3107 });
  for (let minute = 60; minute >= 0; minute -= 1) {
    step(minute);
    const grown = minute > 22 ? 380 + (60 - minute) * 19 : 340 + (22 - minute) * 9;
    w.source.bytes = (grown + ((minute * 37) % 23)) * 1024 ** 2;
    if (minute !== 22) {
      w.telemetry.emit('health.summary', {
        idle: 4,
        busy: 2 + ((minute * 7 + 3) % 4),
        waiting: 0,
        delegating: 0,
        retrying: minute < 46 && minute > 40 ? 1 : 0,
        looping: 0,
        stalled: 0,
        stuck: 0,
        wedged: 0,
        eventsPerSec: 40,
        serverMemoryBytes: w.source.bytes,
        watchdogMemoryBytes: 8e7,
        costTodayUsd: 2.1 + (60 - minute) * 0.035,
        tokensToday: 0,
        restarts: 1,
      });
    }
    if (minute === 57) for (const at of [0, 1, 3, 4]) set(at, 'busy');
    if (minute === 49) set(4, 'delegating');
    if (minute === 44) set(1, 'retrying', { attempt: 1 });
    if (minute === 41) {
      stuck(w, about(1).sessionID, about(1).title);
      step(minute - 0.02);
      aborted(w, about(1).sessionID, about(1).title);
    }
    if (minute === 38) set(4, 'busy');
    if (minute === 35) set(5, 'busy');
    if (minute === 30) set(5, 'waiting', { waitingFor: 'question' });
    if (minute === 26) set(5, 'busy');
    if (minute === 23) {
      set(6, 'busy');
      w.telemetry.emit('server.unresponsive', {
        failures: 3,
        lastError: 'no answer within 3 s',
        silentMs: 41_000,
      });
      w.telemetry.emit('server.restarting', {
        reason: 'unresponsive',
        pid: 3107,
        interrupted: [about(0).sessionID, about(4).sessionID],
        restarts: 1,
        detail: '3 probes failed: no answer within 3 s',
      });
      step(minute - 0.08);
      for (const at of [0, 3, 4, 5, 6]) set(at, 'idle');
      w.telemetry.emit('server.restarted', {
        reason: 'unresponsive',
        tookMs: 4_830,
        oldPid: 3107,
        pid: 4242,
      });
      w.telemetry.emit('server.healthy', { version: '1.18.33', pid: 4242, tookMs: 4_830 });
    }
    if (minute === 21) for (const at of [0, 3, 4]) set(at, 'busy');
    if (minute === 17) set(2, 'busy');
    if (minute === 12) set(3, 'delegating');
    if (minute === 9) set(2, 'waiting', { waitingFor: 'permission' });
    if (minute === 6) set(0, 'retrying', { attempt: 1 });
    if (minute === 5) set(6, 'busy');
    if (minute === 4) {
      w.telemetry.emit('session.stuck', {
        ...about(6),
        reason: 'silence',
        limit: 600_000,
        value: 602_000,
      });
      set(6, 'stuck');
      step(minute - 0.35);
      w.telemetry.emit('session.recovered', {
        ...about(6),
        reason: 'silence',
        attempts: 0,
        episodeMs: 21_000,
      });
      set(6, 'idle');
    }
  }
  step(2);
  set(0, 'retrying', {
    attempt: 3,
    message: 'Rate limit reached for requests',
    nextInMs: 18_000,
    model: 'anthropic/claude-sonnet-4-5',
  });
  set(4, 'busy', {
    tool: 'bash',
    toolForMs: 100_000,
    model: 'openai/gpt-5',
    costUsd: 0.42,
    steps: 7,
    filesChanged: 3,
  });
  set(3, 'delegating', { model: 'openai/gpt-5', costUsd: 1.1, steps: 12 });
  set(2, 'waiting', { waitingFor: 'permission', waitingForMs: 540_000 });
  w.health('ses_3kidA', 'busy', {
    title: 'Read the changelog of Node 24',
    directory: '/home/ada/tools/build',
    parentID: 'ses_2hRa',
    model: 'openai/gpt-5',
    silentMs: 130_000,
  });
  w.source.excerpts.set('ses_6vLs', {
    lastWords: 'Now the tests of the scheduler, to be sure that nothing else has changed.',
    tool: { tool: 'bash', input: 'npm test -- scheduler' },
    messages: [],
  });
  const failed = { steps: 0, tools: 0, toolErrors: 0, costUsd: 0, tokens: 0, tookMs: 700 };
  w.telemetry.emit('session.ended', {
    ...about(5),
    outcome: 'failed',
    error: 'Incorrect API key provided (401)',
    ...failed,
  });
  set(5, 'idle');
  w.clock.back = 0;
  w.source.facts = { ...w.source.facts, forMs: 22.9 * 60_000, restarts: 1, recentRestarts: 1 };
  w.source.idleSessions = 12;
}
