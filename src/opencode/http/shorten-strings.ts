/**
 * Shortens the long strings in the JSON of a frame, so that a frame can be read although it carries a whole file: the
 * read tool of opencode sends images and PDFs as `data:` URLs in its call's result.
 */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const U = 0x75;
/** Bytes of the longest escape sequence (`\u0000`) that follow its backslash (RFC 8259, section 7). */
const ESCAPE_BYTES = 5;

/**
 * Cuts each string to some `maxBytes`, in place. JSON stays JSON. If the frame goes on, its further bytes can be
 * appended to what is left, and the whole be shortened again: the result is the same as if all had come at once.
 *
 * @returns the number of bytes that are left
 */
export function shortenStrings(bytes: Uint8Array, maxBytes: number): number {
  let size = 0;
  let isString = false;
  let length = 0;
  /** Bytes that the current escape sequence may still have. An escape is kept or cut as a whole. */
  let rest = 0;
  let isKept = true;
  for (const byte of bytes) {
    if (rest > 0) rest = rest < ESCAPE_BYTES || byte === U ? rest - 1 : 0;
    else if (!isString || byte === QUOTE) {
      if (byte === QUOTE) isString = !isString;
      isKept = true;
      length = -1;
    } else {
      isKept = length < maxBytes;
      if (byte === BACKSLASH) rest = ESCAPE_BYTES;
    }
    length += 1;
    if (isKept) bytes[size++] = byte;
  }
  // Without its backslash, a quote that comes next would end the string.
  if (rest === ESCAPE_BYTES && !isKept) bytes[size++] = BACKSLASH;
  return size;
}
