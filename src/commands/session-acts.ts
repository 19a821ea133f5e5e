/** `abort`, `delete`, `messages`: one session, now. */
import { isId } from '../lib/id.js';
import {
  type Message,
  renderTranscript,
  type TranscriptForm,
} from '../opencode/driver/transcript.js';
import { abortByDaemon } from './daemon-acts.js';
import { countOf, type DrivingOptions, drive, driveLoaded, READS } from './driver-commands.js';
import { directoryOf } from './prompt-options.js';
import { commonOf, complain, EXIT, ExitError, loadToAct, print, printJson } from './shared.js';

export interface SessionActOptions extends DrivingOptions {
  directory?: string;
}

/** Only commander calls the commands, and it makes sure that the argument is there. @throws ExitError with code 2 */
export function sessionOf([id = '']: string[], { directory }: SessionActOptions) {
  return {
    id: sessionID(id),
    ...(directory !== undefined && { directory: directoryOf(directory) }),
  };
}

/** @throws ExitError with code 2 */
export function sessionID(id: string): string {
  if (isId(id)) return id;
  throw new ExitError(
    EXIT.usage,
    `the session ${JSON.stringify(id.slice(0, 80))}: expected an id such as ses_6f0a1b2c, as "opencode-watchdog sessions" lists them`,
  );
}

export async function abort(args: string[], options: SessionActOptions): Promise<number> {
  const session = sessionOf(args, options);
  const loaded = await loadToAct(commonOf(options));
  const byDaemon = await abortByDaemon(loaded, session.id);
  if (byDaemon !== undefined) {
    const { ok, says, outcome } = byDaemon;
    if (!ok) {
      if (options.json) printJson({ ok, error: says });
      throw new ExitError(EXIT.failed, says);
    }
    if (options.json) printJson({ ok, sessionID: session.id, aborted: outcome === 'done' });
    else complain(says);
    return EXIT.done;
  }
  return driveLoaded(options, loaded, async ({ driver }) => {
    const aborted = await driver.abort(session);
    if (options.json) printJson({ ok: true, sessionID: session.id, aborted });
    else complain(`${session.id} ${aborted ? 'was aborted, and is at rest' : 'was at rest'}`);
    return EXIT.done;
  });
}

export async function remove(args: string[], options: SessionActOptions): Promise<number> {
  const session = sessionOf(args, options);
  return drive(options, async ({ driver }) => {
    await driver.delete(session);
    if (options.json) printJson({ ok: true, sessionID: session.id, deleted: true });
    else complain(`${session.id} is deleted`);
    return EXIT.done;
  });
}

export interface MessagesOptions extends SessionActOptions {
  format?: string;
  limit?: string;
}

/** Units are in the names (docs/json.md). */
const withUnits = ({ cost, ...message }: Message) => ({
  ...message,
  ...(cost !== undefined && { costUsd: cost }),
});

const FORMS: readonly string[] = ['text', 'markdown'] satisfies TranscriptForm[];

export async function messages(args: string[], options: MessagesOptions): Promise<number> {
  const { format = 'text', json = false } = options;
  const limit = options.limit === undefined ? undefined : countOf('--limit', options.limit);
  if (!json && format !== 'json' && !FORMS.includes(format)) {
    throw new ExitError(EXIT.usage, `--format "${format}": expected text, markdown or json`);
  }
  return drive(
    options,
    async ({ driver, signal }) => {
      const found = await driver.messages(sessionOf(args, options), {
        signal,
        ...(limit !== undefined && { limit }),
      });
      if (json || format === 'json') printJson(found.map(withUnits));
      else if (found.length > 0) print(renderTranscript(found, format as TranscriptForm));
      else complain('the session has no messages');
      return EXIT.done;
    },
    READS,
  );
}
