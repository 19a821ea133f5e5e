/** The catalogue's entries about the server, its event stream and its restarts. */
import type { RestartReason } from '../../watchdog/decision.js';
import { aside, bytes, capitalised, counted, phrase, time } from '../number-text.js';
import type { CatalogueOf, EventName } from './events.js';

type ServerEvent = Extract<EventName, `server.${string}` | `stream.${string}`>;

const REASON = 'pileup, wedged, unresponsive, exited, memory, processes, schedule or manual';

export const serverEvents: CatalogueOf<ServerEvent> = {
  'server.starting': {
    level: 'info',
    when: 'no server was there when the daemon started: one was started, or whoever starts it is waited for',
    fields: { pid: 'process id of what was started, where the watchdog starts it itself' },
    message: (f, { server }) =>
      `No server at ${server}: ${f.pid === undefined ? 'waiting for its start' : `starting one${pid(f.pid)}`}.`,
  },
  'server.healthy': {
    level: 'info',
    when: 'first good answer',
    fields: {
      version: 'opencode’s version',
      previousVersion: 'the version before, where it was another: an upgrade took effect',
      api: '1 or 2: which opencode’s API it speaks',
      pid: 'process id',
      tookMs: 'from the start to this answer',
    },
    message: (f) =>
      `The server${f.version === undefined ? '' : `, opencode ${f.version}${f.previousVersion === undefined ? '' : ` (it was ${f.previousVersion})`},`} is healthy${f.tookMs === undefined ? '' : ` after ${time(f.tookMs)}`}${pid(f.pid)}.`,
  },
  'server.unresponsive': {
    level: 'error',
    when: '`probe.maxFailures` probes failed in a row and the event stream is silent too',
    fields: {
      failures: 'consecutive failures',
      lastError: 'how the last one failed',
      silentMs: 'silence on the event stream',
    },
    message: (f) =>
      `The server does not respond: ${counted(f.failures, 'probe')} failed, the last with: ${f.lastError}.`,
  },
  'server.unauthorized': {
    level: 'error',
    when: 'the server refuses the credentials; it is alive, so it is not restarted',
    fields: { status: 'HTTP status', means: 'what is known of the server, where anything is' },
    message: (f) =>
      `The server refuses the credentials (status ${f.status}): ${f.means ?? 'check server.username and the password'}.`,
  },
  'server.unsupported': {
    level: 'error',
    when: 'the server answers, and not as an opencode that this version understands; said again when the answer changes. It is alive, so it is not restarted',
    fields: {
      version: 'its version, where it tells one',
      answered: 'what it answered',
      means: 'what that means',
    },
    message: (f) =>
      `The server is not understood${aside(f.version === undefined ? undefined : `version ${f.version}`)}: ${f.answered}. That means: ${f.means}.`,
  },
  'server.exited': {
    level: 'error',
    when: 'the process is gone',
    fields: { pid: 'process id', code: 'exit code', signal: 'the signal that ended it' },
    message: (f) =>
      `The server process${f.pid === undefined ? '' : ` ${f.pid}`} is gone${aside(
        phrase(f.code !== null && `exit code ${f.code}`, f.signal !== null && `signal ${f.signal}`),
      )}.`,
  },
  'server.suspended': {
    level: 'warn',
    when: 'the server process is stopped by a signal (SIGSTOP, Ctrl-Z); it is let run on (SIGCONT)',
    fields: { pid: 'process id' },
    message: (f) => `The server process ${f.pid} is stopped by a signal and answers nothing.`,
  },
  'server.continued': {
    level: 'info',
    when: 'a suspended server answers again',
    fields: { pid: 'process id', tookMs: 'since it was seen to be stopped' },
    message: (f) => `The server process ${f.pid} runs and answers again after ${time(f.tookMs)}.`,
  },
  'server.continue_failed': {
    level: 'error',
    when: 'a suspended server could not be let run; failing probes lead to a restart',
    fields: { pid: 'process id', try: 'from 1', error: 'what went wrong' },
    message: (f) => `The stopped server process ${f.pid} could not be let run: ${f.error}.`,
  },
  'server.draining': {
    level: 'info',
    when: 'a recycle restart is wanted and waits for the sessions at work',
    fields: {
      reason: 'memory, processes or schedule',
      sessions: 'sessions at work now',
      drainTimeoutMs: 'the longest that it waits; 0: as long as they take',
    },
    message: (f) =>
      `A restart (${f.reason}) waits for ${counted(f.sessions, 'session')} at work, ${bound(f.drainTimeoutMs)}.`,
    would: (f) =>
      `A restart (${f.reason}) would wait for ${counted(f.sessions, 'session')} at work, ${bound(f.drainTimeoutMs)}.`,
  },
  'server.recycle_withdrawn': {
    level: 'info',
    when: 'the memory or the number of processes is within its limit again, before the recycle restart was made',
    fields: { reason: 'memory or processes' },
    message: (f) =>
      `The restart (${f.reason}) is not wanted any more: the server is within its limit again.`,
  },
  'server.restart_deferred': {
    level: 'warn',
    when: 'a restart for wedged or piled-up sessions waits for the healthy runs that it would cut',
    fields: {
      reason: 'pileup or wedged',
      waitsFor: 'ids of the sessions with these runs',
      waitForHealthyMs: 'the longest that it waits (`restart.waitForHealthy`)',
    },
    message: (f) =>
      `A restart (${f.reason}) waits for ${counted(f.waitsFor.length, 'healthy run')} to end, at most ${time(f.waitForHealthyMs)}.`,
    would: (f) =>
      `A restart (${f.reason}) would wait for ${counted(f.waitsFor.length, 'healthy run')} to end, at most ${time(f.waitForHealthyMs)}.`,
  },
  'server.restarting': {
    level: 'warn',
    when: 'the watchdog decides to restart',
    fields: {
      reason: REASON,
      pid: 'process that is ended',
      interrupted: 'ids of the sessions whose run this cuts',
      restarts: 'restarts in `restart.window`, with this one',
      detail: 'the numbers behind the reason, as a phrase',
    },
    message: (f) =>
      `Restarting the server because ${BECAUSE[f.reason]}${aside(f.detail)}; this cuts ${counted(f.interrupted.length, 'session')}, restart ${f.restarts} in the window.`,
    would: (f) =>
      `Would restart the server because ${BECAUSE[f.reason]}${aside(f.detail)}; this would cut ${counted(f.interrupted.length, 'session')}.`,
  },
  'server.restarted': {
    level: 'info',
    when: 'healthy again after a restart',
    fields: {
      reason: REASON,
      tookMs: 'from the decision to health',
      oldPid: 'process before',
      pid: 'process now',
    },
    message: (f) => `The server is back after ${time(f.tookMs)} (${f.reason})${pid(f.pid)}.`,
  },
  'server.restart_failed': {
    level: 'error',
    when: 'a restart did not lead to health',
    fields: {
      reason: `start, ${REASON}`,
      error: 'what went wrong, with the last lines of output of what was started',
      serverAlive: 'true if nothing was done: the server that ran before still runs',
      version:
        'what is installed, where that is another opencode than the one that ran: an upgrade that does not start',
      previousVersion: 'the one that ran',
    },
    message: (f) =>
      `${f.reason === 'start' ? 'Starting the server' : `The restart of the server (${f.reason})`} failed${f.version === undefined ? '' : ` with opencode ${f.version} (it was ${f.previousVersion})`}: ${f.error}.`,
  },
  'server.breaker_open': {
    level: 'error',
    when: '`restart.maxRestarts` restarts in `restart.window`',
    fields: {
      reason: REASON,
      restarts: 'restarts in the window',
      cooldownMs: 'how long no restart is made',
    },
    message: (f) =>
      `Too many restarts (${f.restarts}): no more for ${time(f.cooldownMs)}. The next would have been because ${BECAUSE[f.reason]}.`,
    would: (f) =>
      `There would be too many restarts (${f.restarts}): no more would be made for ${time(f.cooldownMs)}.`,
  },
  'server.breaker_closed': {
    level: 'info',
    when: 'the server stayed well, restarts are allowed again',
    fields: { restarts: 'restarts in the window' },
    message: (f) => `Restarts are allowed again (${f.restarts} in the window).`,
  },
  'server.memory_growing': {
    level: 'warn',
    when: 'the memory of the server’s process tree has grown for 15 minutes and more, by a fifth at least and by 200 MiB an hour; at most once an hour',
    fields: {
      bytesPerHour: 'how fast, over the last half hour',
      children: 'the largest processes below the server, with their memory',
    },
    message: (f) =>
      `The server’s memory grows by ${bytes(f.bytesPerHour)} an hour${aside(f.children.length === 0 ? undefined : `below it: ${f.children.join(', ')}`)}.`,
  },
  'server.evidence': {
    level: 'info',
    when: 'before a restart (unresponsive, memory or processes): what was seen of the server is kept, once for an incident',
    fields: {
      reason: 'of the restart',
      folder: 'where it is; `report --incident` prints it',
      tookMs: 'from the begin of the gathering',
    },
    message: (f) => `What was seen of the server before the restart is in ${f.folder}.`,
  },
  'server.output': {
    level: 'info',
    when: 'a line of a spawned server’s own output',
    fields: { stream: 'stdout or stderr', line: 'the line, cut at 8 KiB' },
    message: (f) => `opencode: ${f.line}`,
  },
  'server.notice': {
    level: { of: (f) => f.severity, words: 'as `severity`' },
    when: 'something about the server’s process that a person should know',
    fields: {
      severity: 'debug, info, warn or error; also the level',
      notice: 'what it is, in a sentence',
      detail: 'the facts behind it',
    },
    message: (f) => capitalised(f.notice),
  },
  'stream.connected': {
    level: 'info',
    when: 'the event stream is connected',
    fields: { path: 'the route' },
    message: (f) => `Listening to ${f.path}.`,
  },
  'stream.lost': {
    level: 'warn',
    when: 'the event stream ended, failed or fell silent; it is connected again',
    fields: { path: 'the route', reason: 'how it was lost', silentMs: 'time since its last frame' },
    message: (f) =>
      `Lost ${f.path}: ${f.reason} (last frame ${time(f.silentMs)} ago). Connecting again.`,
  },
  'stream.unavailable': {
    level: 'warn',
    when: 'the server answers and its event stream does not (a proxy that buffers it, for instance): sessions are judged by polls and by inspections of their transcripts until it is connected',
    fields: {
      path: 'the route',
      reason: 'what came of the last try',
      silentMs: 'since when it is missing',
    },
    message: (f) =>
      `No event stream for ${time(f.silentMs)} (${f.path}: ${f.reason}). Retries are judged by polls, silence by two equal inspections of a transcript; an answer under way shows nothing before its end, and has stall.maxToolTime.`,
  },
};

const BECAUSE: Readonly<Record<RestartReason, string>> = {
  pileup: 'sessions pile up in retries',
  wedged: 'a session cannot be aborted',
  unresponsive: 'it does not respond',
  exited: 'its process is gone',
  memory: 'it uses too much memory',
  processes: 'it has too many processes',
  schedule: 'the schedule says so',
  manual: 'a person asked for it',
};

function pid(value: number | undefined): string {
  return value === undefined ? '' : `, pid ${value}`;
}

/** How long a recycle waits at most. */
const bound = (drainTimeoutMs: number): string =>
  drainTimeoutMs === 0 ? 'as long as that takes' : `at most ${time(drainTimeoutMs)}`;
