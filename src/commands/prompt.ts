/** `prompt`: one safe automation run; the reply goes to stdout, and no session is left behind. */
import { printable } from '../lib/printable.js';
import { MAX_NOTICES } from '../opencode/monitor/notice.js';
import { type DrivingOptions, drive, durationOf } from './driver-commands.js';
import {
  directoryOf,
  type PromptFlags,
  permissionRule,
  promptText,
  sendOptions,
} from './prompt-options.js';
import { sessionID } from './session-acts.js';
import { complain, deliverJson, deliverReply, deliverStructured, EXIT } from './shared.js';

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
  const {
    title,
    directory,
    permission,
    fallback,
    keep,
    deadline,
    parent,
    fromSession,
    json = false,
  } = options;
  const words = await sendOptions(options);
  const deadlineMs = deadline === undefined ? undefined : durationOf('--deadline', deadline);
  const text = await promptText(args.join(' '));
  return drive(options, async ({ driver, signal }) => {
    const live = liveText(!json && words.schema === undefined);
    const notices: string[] = [];
    try {
      const { text: reply, ...result } = await driver.prompt({
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
        ...(live.onText && { onText: live.onText }),
        onNotice: (message) => {
          if (notices.length < MAX_NOTICES) notices.push(message);
          live.pause();
          complain(message);
        },
        signal,
      });
      live.pause();
      if (json) await deliverJson({ ok: true, text: reply, ...result, notices });
      else if (words.schema) await deliverStructured(result.structured);
      else if (!live.onText) await deliverReply(reply);
      if (keep) complain(`the session ${result.sessionID} is kept: ${driver.url}`);
      return EXIT.done;
    } catch (error) {
      live.pause();
      throw error;
    }
  });
}

export interface LiveText {
  /** Undefined if nobody watches. */
  onText: ((text: string) => void) | undefined;
  /** Ends the line before something else is written to the terminal. */
  pause(): void;
}

/** Streams the reply to a terminal. A pipe gets the whole reply at its end. */
export function liveText(wanted: boolean): LiveText {
  let isOpen = false;
  return {
    onText:
      wanted && process.stdout.isTTY
        ? (text) => {
            process.stdout.write(printable(text, 'block'));
            isOpen = !text.endsWith('\n');
          }
        : undefined,
    pause() {
      if (isOpen) process.stdout.write('\n');
      isOpen = false;
    },
  };
}
