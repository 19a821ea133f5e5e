/**
 * The shape of opencode's ids (`ses_6f0a…`, `per_…`, `que_…`): letters, digits, `_` and `-`, and no more.
 *
 * Everything that names a session or a request is checked against it before it is used: an id becomes a part of a URL's
 * path, where `..` means another route, and a key of maps, where length is memory.
 */

/** Usually about 30 characters. The bound keeps a broken server from filling maps with huge keys. */
const SHAPE = /^[A-Za-z0-9][\w-]{0,255}$/;

export function isId(text: string): boolean {
  return SHAPE.test(text);
}
