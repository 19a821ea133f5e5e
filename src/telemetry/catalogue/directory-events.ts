/** The catalogue's entries about directories of the server: the step between aborts and a restart. */
import { counted, time } from '../number-text.js';
import type { CatalogueOf, EventName } from './events.js';
import { namedDirectory as named } from './session-name.js';

type DirectoryEvent = Extract<EventName, `directory.${string}`>;

const REASON = 'wedged (aborts do not end a run there), or elsewhere (somebody else did it)';
const DIRECTORY = 'its path';

export const directoryEvents: CatalogueOf<DirectoryEvent> = {
  'directory.deferred': {
    level: 'warn',
    when: 'a dispose waits for the healthy runs of the directory, which it would cut',
    fields: {
      reason: REASON,
      directory: DIRECTORY,
      waitsFor: 'ids of the sessions with these runs',
      waitForHealthyMs: 'the longest that it waits (`restart.waitForHealthy`)',
    },
    message: (f) =>
      `The dispose of ${named(f.directory)} waits for ${counted(f.waitsFor.length, 'healthy run')} there to end, at most ${time(f.waitForHealthyMs)}.`,
    would: (f) =>
      `The dispose of ${named(f.directory)} would wait for ${counted(f.waitsFor.length, 'healthy run')} there to end, at most ${time(f.waitForHealthyMs)}.`,
  },
  'directory.disposing': {
    level: 'warn',
    when: 'aborts do not end a session of the directory: the watchdog has opencode drop its instance, which ends its runs and no other directory’s',
    fields: {
      reason: REASON,
      directory: DIRECTORY,
      interrupted: 'ids of all sessions whose run this ends, the wedged ones included',
    },
    message: (f) =>
      `Disposing ${named(f.directory)}, because aborts do not end a run there; this ends ${counted(f.interrupted.length, 'run')}.`,
    would: (f) =>
      `Would dispose ${named(f.directory)}, because aborts do not end a run there; this would end ${counted(f.interrupted.length, 'run')}.`,
  },
  'directory.disposed': {
    level: 'info',
    when: 'the wedged sessions of the directory were seen idle after the dispose; or opencode says that somebody else’s dispose dropped it',
    fields: {
      reason: REASON,
      directory: DIRECTORY,
      interrupted: 'ids of the sessions whose run it ended',
      tookMs: 'of the watchdog’s: from sending it to the proof',
    },
    message: (f) =>
      f.reason === 'elsewhere'
        ? `${capital(named(f.directory))} was disposed, not by the watchdog: ${counted(f.interrupted.length, 'run')} ended with it.`
        : `${capital(named(f.directory))} is disposed: seen idle after ${time(f.tookMs ?? 0)}, ${counted(f.interrupted.length, 'run')} ended with it.`,
  },
  'directory.dispose_failed': {
    level: 'error',
    when: 'the dispose did not end the wedged sessions, or was not sent because the directory of another run could not be read; a restart of the server is the next step',
    fields: { reason: REASON, directory: DIRECTORY, error: 'what went wrong' },
    message: (f) => `The dispose of ${named(f.directory)} failed: ${f.error}.`,
  },
};

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
