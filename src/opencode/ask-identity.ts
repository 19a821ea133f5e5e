/** Asks the routes that `recognise` needs. No password is sent, because it is not known yet who would receive it. */

import { request } from 'undici';
import { withoutEndSlashes } from '../lib/server-address.js';
import type { StreamTarget } from './http/transport.js';
import type { Answers, HttpAnswer } from './recognise.js';

/** Far more than any of these routes answers. */
const BODY_BYTES = 16 * 1024;

/**
 * Asks at the address to which every other request goes: `localhost` may be two servers. A route that gives no answer is
 * left out. Never rejects.
 */
export async function askIdentity(
  { url, authorised }: StreamTarget,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Answers> {
  const { origin } = await authorised();
  const server = { base: withoutEndSlashes(`${origin}${url.pathname}`), host: url.host };
  const within = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]);
  const [health, info] = await Promise.all([
    ask(server, '/global/health', within),
    ask(server, '/api/info', within),
  ]);
  const beta = info?.status === 404 ? await ask(server, '/api/health', within) : undefined;
  return { ...(health && { health }), ...(info && { info }), ...(beta && { beta }) };
}

async function ask(
  { base, host }: { base: string; host: string },
  path: string,
  signal: AbortSignal,
): Promise<HttpAnswer | undefined> {
  try {
    // The connection is closed after this one request, so that no later request can use it.
    const { statusCode, headers, body } = await request(`${base}${path}`, {
      reset: true,
      signal,
      headers: { accept: 'application/json', host },
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body) {
      const bytes = Buffer.from(chunk as Uint8Array);
      chunks.push(bytes);
      size += bytes.length;
      if (size > BODY_BYTES) break;
    }
    const type = headers['content-type'];
    return {
      status: statusCode,
      contentType: typeof type === 'string' ? type : '',
      body: Buffer.concat(chunks).toString('utf8'),
    };
  } catch {
    // Something answered there a moment ago, so a missing answer now tells nothing new.
    return undefined;
  }
}
