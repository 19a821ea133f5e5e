/** Asks the routes by which `recognise` tells what answers: without a password, as nobody knows yet who would get it. */
import { request } from 'undici';
import type { Answers, HttpAnswer } from './recognise.js';

/** Far above what either route says of itself. */
const BODY_BYTES = 16 * 1024;

/** `origin`: the server's URL. A route that gives no answer is left out; never rejects. */
export async function askIdentity(
  origin: URL,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Answers> {
  const within = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]);
  const [health, info] = await Promise.all([
    ask(origin, '/global/health', within),
    ask(origin, '/api/info', within),
  ]);
  const beta = info?.status === 404 ? await ask(origin, '/api/health', within) : undefined;
  return { ...(health && { health }), ...(info && { info }), ...(beta && { beta }) };
}

async function ask(
  origin: URL,
  path: string,
  signal: AbortSignal,
): Promise<HttpAnswer | undefined> {
  try {
    const url = `${origin.href.replace(/\/+$/, '')}${path}`;
    // One question, one connection: nothing may hang on it later.
    const { statusCode, headers, body } = await request(url, {
      reset: true,
      signal,
      headers: { accept: 'application/json' },
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
    // It answered somebody a moment ago; that this time there was no answer is no news.
    return undefined;
  }
}
