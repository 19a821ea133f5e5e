/**
 * Node's own HTTP client, as the API calls use it. It is already in every Node, in C++; another one in JavaScript and
 * WebAssembly would weigh more than the rest of an idle daemon.
 */
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request } from 'node:http';

/** Keep-alive probes of the kernel on idle connections: they cost wake-ups and tell nothing that we do not ask. */
const TCP_KEEP_ALIVE_MS = 30_000;

/** Where to, taken apart once: making a URL for each request costs as much as the request. */
export interface Target {
  protocol: string;
  hostname: string;
  port: string;
}

/** `localhost` is 127.0.0.1, where opencode listens: [::1] may be another process's. */
export function targetOf({ protocol, hostname, port }: URL): Target {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1');
  return { protocol, hostname: bare === 'localhost' ? '127.0.0.1' : bare, port };
}

export interface HttpOptions {
  method?: string;
  /** With its query. */
  path: string;
  headers: Readonly<Record<string, string>>;
  /** `false`: a connection for this request alone. */
  agent: HttpAgent | false;
}

/** Not loaded for a server on plain HTTP: TLS alone is 3 MB. */
const https = () => process.getBuiltinModule('node:https');

/** Connections to one server, as many as are wanted at a time, each kept open for `keptMs` after its last use. */
export function openAgent({ protocol }: { protocol: string }, keptMs: number): HttpAgent {
  const options = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE_MS, timeout: keptMs };
  return protocol === 'https:' ? new (https().Agent)(options) : new HttpAgent(options);
}

/** A request that is not sent yet: `end()` sends it, `destroy()` gives it up. */
export function openRequest(target: Target, options: HttpOptions): ClientRequest {
  const whole = { ...target, ...options };
  return target.protocol === 'https:' ? https().request(whole) : request(whole);
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

/** The body's text, or undefined when it is longer than `maxBytes`: reading stops there. */
export function textOf(answer: IncomingMessage, maxBytes: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    answer.on('data', (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
      if (size <= maxBytes) return;
      chunks.length = 0;
      resolve(undefined);
      answer.destroy();
    });
    answer.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
    answer.on('error', reject);
  });
}
