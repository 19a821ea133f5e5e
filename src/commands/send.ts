/** `create`, `send`, `wait`: the steps of `prompt` one by one, for programs that keep a session. */

import { type DrivingOptions, drive } from './driver-commands.js';
import {
  directoryOf,
  type PromptFlags,
  permissionRule,
  promptText,
  sendOptions,
  waitOptions,
} from './prompt-options.js';
import { reportReply } from './reply.js';
import { type SessionActOptions, sessionID, sessionOf } from './session-acts.js';
import { complain, EXIT, print, printJson } from './shared.js';

export interface CreateOptions extends DrivingOptions {
  title?: string;
  directory?: string;
  agent?: string;
  permission?: string[];
  parent?: string;
}

export async function create(_args: string[], options: CreateOptions): Promise<number> {
  const { title, directory, agent, permission, parent } = options;
  const rules = permission?.map(permissionRule);
  return drive(options, async ({ driver }) => {
    const session = await driver.createSession({
      ...(title !== undefined && { title }),
      ...(directory !== undefined && { directory: directoryOf(directory) }),
      ...(agent !== undefined && { agent }),
      ...(rules && { permission: rules }),
      ...(parent !== undefined && { parentID: sessionID(parent) }),
    });
    if (options.json) printJson(session);
    else print(session.id);
    return EXIT.done;
  });
}

export interface SendCommandOptions extends SessionActOptions, PromptFlags {
  async?: boolean;
  queue?: boolean;
}

export async function send(
  [id = '', words = '']: string[],
  options: SendCommandOptions,
): Promise<number> {
  const asked = { ...(await sendOptions(options)), ...(options.queue && { queue: true }) };
  const text = await promptText(words);
  const session = sessionOf([id], options);
  return drive(options, async ({ driver, signal }) => {
    if (options.async) {
      const { model } = await driver.sendAsync(session, text, { ...asked, signal });
      const accepted = { ok: true, accepted: true, sessionID: id, ...(model && { model }) };
      if (options.json) printJson(accepted);
      else complain(`accepted; "opencode-watchdog wait ${id}" follows it to its end`);
      return EXIT.done;
    }
    const form = { json: options.json, isStructured: asked.schema !== undefined };
    await reportReply(form, (callbacks) =>
      driver.send(session, text, { ...asked, signal, ...callbacks }),
    );
    return EXIT.done;
  });
}

export async function wait(args: string[], options: SendCommandOptions): Promise<number> {
  const limits = waitOptions(options);
  return drive(options, async ({ driver, signal }) => {
    await reportReply({ json: options.json }, (callbacks) =>
      driver.wait(sessionOf(args, options), { ...limits, signal, ...callbacks }),
    );
    return EXIT.done;
  });
}
