/** What the end of a connection to an event stream says about its path. */
import type { ConnectionEnd } from '../http/event-source.js';

/**
 * 404, 405, or an answer that is no stream (the web app's page with 200; facts, section 2): there is no event stream at
 * this path.
 */
export function saysNoSuchPath({ why, statusCode }: ConnectionEnd): boolean {
  return why === 'type' || (why === 'status' && (statusCode === 404 || statusCode === 405));
}
