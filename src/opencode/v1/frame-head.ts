/**
 * Reads the type, session and directory of an event-stream frame from its first bytes, without parsing its JSON.
 *
 * opencode writes `data: {"directory":D,"project":P,"payload":{"id":I,"type":T,"properties":{"sessionID":S,…` with
 * `directory` and `project` missing on `/event` (facts, section 4). Keys count only in their own place: the same words
 * deeper down, in a tool's input, mean nothing. A frame that looks different is unknown, and is left to the schemas.
 */
const STRING = '"(?:[^"\\\\]|\\\\.)*"';
/** A key with a plain value, of the event or of its `part`: HEAD skips such keys until it finds `sessionID`. */
const PLAIN = `"\\w+":(?:${STRING}|[\\d.]+),`;
const HEAD = new RegExp(
  `^data: ?\\{(?:"directory":(${STRING}),)?(?:"project":${STRING},)?(?:"payload":\\{)?(?:"id":${STRING},)?` +
    `"type":"([\\w.]+)"(?:,"properties":\\{(?:"part":\\{)?(?:(?!"sessionID")${PLAIN})*"sessionID":"([\\w-]{1,256})")?`,
);

export interface FrameHead {
  type: string;
  sessionID: string | undefined;
  /** As JSON, one character for each byte; `directoryOf` decodes it on demand. */
  directory: string | undefined;
}

/**
 * @param head the beginning of a frame, one character for each byte
 * @returns undefined if the frame does not look as expected
 */
export function readHead(head: string): FrameHead | undefined {
  const [, directory, type, sessionID] = HEAD.exec(head) ?? [];
  return type === undefined ? undefined : { type, sessionID, directory };
}

/** New text of a session, which shows only that the session is alive. */
export const isDelta = (type: string): boolean =>
  type === 'message.part.delta' || (type.startsWith('session.next.') && type.endsWith('.delta'));

export function directoryOf({ directory }: FrameHead): string | undefined {
  if (directory === undefined) return undefined;
  try {
    return String(JSON.parse(Buffer.from(directory, 'latin1').toString('utf8')));
  } catch {
    // A control character that JSON does not allow.
    return undefined;
  }
}
