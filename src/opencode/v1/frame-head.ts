/**
 * Reads type, session and directory of an event-stream frame from its first bytes, without parsing its JSON.
 *
 * opencode writes `data: {"directory":D,"project":P,"payload":{"id":I,"type":T,"properties":{"sessionID":S,…` with
 * `directory` and `project` missing on `/event` (facts, section 4). Only keys in their own place count: the same words
 * deeper down, in a tool's input, mean nothing. Whatever looks different is unknown, and left to the schemas.
 */
const STRING = '"(?:[^"\\\\]|\\\\.)*"';
/** A key of one of the event's own plain values; `sessionID` is looked for, and `part` begins as an object. */
const PLAIN = `"\\w+":(?:${STRING}|[\\d.]+),`;
const HEAD = new RegExp(
  `^data: ?\\{(?:"directory":(${STRING}),)?(?:"project":${STRING},)?(?:"payload":\\{)?(?:"id":${STRING},)?` +
    `"type":"([\\w.]+)"(?:,"properties":\\{(?:"part":\\{)?(?:(?!"sessionID")${PLAIN})*"sessionID":"([\\w-]{1,256})")?`,
);

export interface FrameHead {
  type: string;
  sessionID: string | undefined;
  /** As JSON, one character for each byte: decoded by `directoryOf` where somebody wants it. */
  directory: string | undefined;
}

/** @param head the beginning of a frame, one character for each byte; undefined where it does not look as usual. */
export function readHead(head: string): FrameHead | undefined {
  const [, directory, type, sessionID] = HEAD.exec(head) ?? [];
  return type === undefined ? undefined : { type, sessionID, directory };
}

/** New text of a session, which tells no more than that the session lives. */
export const isDelta = (type: string): boolean =>
  type === 'message.part.delta' || (type.startsWith('session.next.') && type.endsWith('.delta'));

export function directoryOf({ directory }: FrameHead): string | undefined {
  if (directory === undefined) return undefined;
  try {
    return String(JSON.parse(Buffer.from(directory, 'latin1').toString('utf8')));
  } catch {
    // A control character that JSON has no place for.
    return undefined;
  }
}
