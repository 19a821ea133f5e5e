/**
 * Node's own HTTP client, as both the API calls and the event stream use it. It is already in every Node, in C++; a
 * client of one's own in JavaScript and WebAssembly would weigh more than the rest of an idle daemon.
 */
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request } from 'node:http';

/** Keep-alive probes of the kernel on idle connections: they cost wake-ups and tell nothing that we do not ask. */
const TCP_KEEP_ALIVE_MS = 30_000;

export interface HttpOptions {
  method?: string;
  headers: Readonly<Record<string, string>>;
  agent: HttpAgent;
  /** For another kind of socket than the URL's. */
  socketPath?: string;
}

/** Not loaded for a server on plain HTTP: TLS alone is 3 MB. */
const https = () => process.getBuiltinModule('node:https');

/** Connections to one server, as many as are wanted at a time, each kept open for `keptMs` after its last use. */
export function openAgent(url: URL, keptMs: number): HttpAgent {
  const options = { keepAlive: keptMs > 0, keepAliveMsecs: TCP_KEEP_ALIVE_MS };
  const timed = keptMs > 0 ? { ...options, timeout: keptMs } : options;
  return url.protocol === 'https:' ? new (https().Agent)(timed) : new HttpAgent(timed);
}

/** A request that is not sent yet: `end()` sends it, `destroy()` gives it up. */
export function openRequest(url: URL, options: HttpOptions): ClientRequest {
  return url.protocol === 'https:' ? https().request(url, options) : request(url, options);
}

/** The head of the answer; its body is read from it. Rejects where none comes. */
export function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.on('error', reject).on('response', (answer) => {
      // Whoever reads the body is told by the reading; an error nobody listens to would end the process.
      answer.on('error', () => {});
      resolve(answer);
    });
  });
}

/** The server closed an idle connection just as we used it: nothing was answered, and another connection may do. */
export function lostKeptConnection(sent: ClientRequest, error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return sent.reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE');
}
