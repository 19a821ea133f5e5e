/** Shows a run while it goes on, and writes its reply to stdout: for `prompt`, `send` and `wait`. */
import { printable } from '../lib/printable.js';
import type { Reply, WaitOptions } from '../opencode/driver/types.js';
import { MAX_NOTICES } from '../opencode/monitor/notice.js';
import { complain, deliverJson, deliverReply, deliverStructured } from './shared.js';

export interface ReplyForm {
  json?: boolean | undefined;
  /** The answer has the form of a schema, so that there is no text to show meanwhile. */
  isStructured?: boolean;
}

export async function reportReply<R extends Reply>(
  { json = false, isStructured = false }: ReplyForm,
  ask: (callbacks: Pick<WaitOptions, 'onText' | 'onNotice'>) => Promise<R>,
): Promise<R> {
  const live = liveText(!json && !isStructured);
  const notices: string[] = [];
  const onNotice = (message: string) => {
    if (notices.length < MAX_NOTICES) notices.push(message);
    live.pause();
    complain(message);
  };
  try {
    const result = await ask({ ...(live.onText && { onText: live.onText }), onNotice });
    live.pause();
    const { text, ...reply } = result;
    if (json) await deliverJson({ ok: true, text, ...reply, notices });
    // Another process may have asked for it.
    else if (reply.structured !== undefined) await deliverStructured(reply.structured);
    else if (!live.onText) await deliverReply(text);
    return result;
  } finally {
    live.pause();
  }
}

interface LiveText {
  /** Undefined if nobody watches. */
  onText: ((text: string) => void) | undefined;
  /** Ends the line before something else is written to the terminal. */
  pause(): void;
}

/** Streams the reply to a terminal. A pipe gets the whole reply at its end. */
function liveText(wanted: boolean): LiveText {
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
