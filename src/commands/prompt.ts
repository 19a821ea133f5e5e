/** `prompt`: one safe automation run; the reply goes to stdout, and no session is left behind. */
import { type DrivingOptions, drive, durationOf } from './driver-commands.js';
import {
  directoryOf,
  type PromptFlags,
  permissionRule,
  promptText,
  sendOptions,
} from './prompt-options.js';
import { reportReply } from './reply.js';
import { sessionID } from './session-acts.js';
import { complain, EXIT } from './shared.js';

export interface PromptCommandOptions extends DrivingOptions, PromptFlags {
  title?: string;
  directory?: string;
  permission?: string[];
  fallback?: string[];
  keep?: boolean;
  deadline?: string;
  parent?: string;
  fromSession?: string;
}

export async function prompt(args: string[], options: PromptCommandOptions): Promise<number> {
  const { title, directory, permission, fallback, keep, deadline, parent, fromSession } = options;
  const words = await sendOptions(options);
  const deadlineMs = deadline === undefined ? undefined : durationOf('--deadline', deadline);
  const text = await promptText(args.join(' '));
  return drive(options, async ({ driver, signal }) => {
    const form = { json: options.json, isStructured: words.schema !== undefined };
    const { sessionID: id } = await reportReply(form, (callbacks) =>
      driver.prompt({
        prompt: text,
        ...words,
        ...(title !== undefined && { title }),
        ...(directory !== undefined && { directory: directoryOf(directory) }),
        ...(permission && { permission: permission.map(permissionRule) }),
        ...(fallback && { fallback }),
        ...(keep && { keep }),
        ...(parent !== undefined && { parentID: sessionID(parent) }),
        ...(fromSession !== undefined && { fromSession: sessionID(fromSession) }),
        ...(deadlineMs !== undefined && { deadlineMs }),
        ...callbacks,
        signal,
      }),
    );
    if (keep) complain(`the session ${id} is kept: ${driver.url}`);
    return EXIT.done;
  });
}
