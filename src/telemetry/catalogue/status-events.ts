/** The catalogue's entries about people and programs that look at the daemon, control it, or are notified by it. */

import type { LeavableAct } from '../../watchdog/decision.js';
import { aside, counted, time } from '../number-text.js';
import type { ActBy, CatalogueOf, EventName } from './events.js';
import { named, namedDirectory } from './session-name.js';

export type StatusEvent = Extract<
  EventName,
  `status.${string}` | `notify.${string}` | `act.${string}` | `daemon.paused` | `daemon.resumed`
>;

const BY = 'who asked: page, command (of opencode-watchdog) or http (another program)';
const BY_WORDS: Readonly<Record<ActBy, string>> = {
  page: 'The status page',
  command: 'A command',
  http: 'A request over HTTP',
};

/** The acts that may be left undone, as a sentence has them. */
const WORDS: Readonly<Record<LeavableAct['act'], string>> = {
  abort: 'abort',
  dispose: 'dispose',
  restart: 'restart',
  start: 'start',
  continue_process: 'continue',
  reject: 'answer no for',
  continue: 'continue',
  give_up: 'give up',
};

/** What an act is for. */
function whom(f: { sessionID?: string; directory?: string }): string {
  if (f.sessionID !== undefined) return `session ${named(f)}`;
  return f.directory === undefined ? 'the server' : namedDirectory(f.directory);
}

export const statusEvents: CatalogueOf<StatusEvent> = {
  'status.listening': {
    level: 'info',
    when: 'the status endpoint answers',
    fields: { address: 'where, as in `status.listen`' },
    message: (f) => `The status endpoint listens on ${f.address}.`,
  },
  'status.failed': {
    level: 'warn',
    when: 'the status endpoint cannot listen, for example because its port is taken; the daemon watches on',
    fields: {
      address: 'where it was to listen',
      error: 'what stands in its way',
      retryInMs: 'when it is tried again; a dry run leaves the address to others, and does not',
    },
    message: (f) =>
      `The status endpoint cannot listen on ${f.address}: ${f.error}. The watchdog works on without it${f.retryInMs === undefined ? '' : ` and tries again in ${time(f.retryInMs)}`}.`,
  },
  'act.skipped': {
    level: 'warn',
    when: 'an act that was decided and not done, because of `dryRun` or a pause',
    fields: {
      act: Object.keys(WORDS).join(', '),
      sessionID: 'the session it was for',
      directory: 'its directory',
      reason: 'why it was decided',
      because: 'dryRun or paused',
    },
    message: (f) =>
      f.because === 'paused'
        ? `Paused, not done: ${WORDS[f.act]} ${whom(f)}${aside(f.reason)}.`
        : `Dry run: would ${WORDS[f.act]} ${whom(f)}${aside(f.reason)}; nothing is done.`,
  },
  'act.requested': {
    level: 'warn',
    when: 'a person asks the daemon to act, over the status endpoint',
    fields: {
      act: 'abort or restart',
      by: BY,
      sessionID: 'the session it is for',
      directory: 'its directory',
      title: 'its title',
    },
    message: (f) =>
      `${BY_WORDS[f.by]} asks for this: ${f.act} ${f.sessionID === undefined ? 'the server' : `session ${named(f)}`}.`,
  },
  'act.done': {
    level: 'info',
    when: 'the end of an abort that a person asked for',
    fields: {
      act: 'abort',
      by: BY,
      sessionID: 'the session it was for',
      directory: 'its directory',
      title: 'its title',
      outcome: 'done, idle (there was no run), unknown (no such session) or failed',
      tookMs: 'from the request to the proof',
      error: 'what went wrong',
    },
    message: (f) =>
      `${f.act} of session ${named(f)}, asked for by ${actor(f.by)}: ${f.outcome}${f.tookMs === undefined ? '' : ` after ${time(f.tookMs)}`}${aside(f.error)}.`,
  },
  'daemon.paused': {
    level: 'warn',
    when: 'a person told the daemon to act no more until it is resumed; it watches and decides on',
    fields: { by: BY },
    message: (f) =>
      `Paused by ${actor(f.by)}: decisions are logged, and nothing is done until a person resumes.`,
  },
  'daemon.resumed': {
    level: 'info',
    when: 'a person told the daemon to act again',
    fields: { by: BY, pausedMs: 'how long it was paused' },
    message: (f) =>
      `Resumed by ${actor(f.by)} after ${time(f.pausedMs)}: what still stands is acted on again.`,
  },
  'notify.sent': {
    level: 'debug',
    when: 'a webhook took a notice',
    fields: {
      host: 'of the webhook',
      events: 'how many events it told of',
      tries: 'how many it took',
    },
    message: (f) => `Told ${f.host} of ${counted(f.events, 'event')}.`,
  },
  'notify.failed': {
    level: 'warn',
    when: 'a webhook or `notify.command` did not take a notice, and it is given up',
    fields: {
      host: 'of the webhook; of the command, its program',
      events: 'how many events it would have told of',
      tries: 'how often it was tried',
      error: 'how the last try failed',
    },
    message: (f) =>
      `${f.host} was not told of ${counted(f.events, 'event')} after ${counted(f.tries, 'try').replace(/trys$/, 'tries')}: ${f.error}.`,
  },
};

/** Who asked, for the middle of a sentence. */
function actor(by: ActBy): string {
  const words = BY_WORDS[by];
  return words.charAt(0).toLowerCase() + words.slice(1);
}
