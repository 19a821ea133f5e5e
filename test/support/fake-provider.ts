/**
 * A model provider that fails on request: an OpenAI-compatible server. A marker in each prompt chooses the behaviour,
 * so that many sessions can misbehave in different ways side by side.
 *
 * The markers of the last user message count. One marker is one step of the run: with `[[bash sleep 1]] [[hang]]` the
 * model first calls bash, then, given its result, hangs. Past the last marker, the answer is `[[ok]]`. Without a marker
 * the default applies, which is `[[ok]]` too (see `setDefault`).
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import {
  behaviours,
  ENDLESS,
  type Marker,
  parseMarkers,
  Reply,
  summaryDelay,
} from './provider-behaviours.js';
import { pause } from './wait.js';

export interface ProviderRequest {
  at: number;
  model: string;
  /** The marker that this request was answered by, as written. */
  marker: string;
  /** The session: opencode's own id if it sends one, else the first user message. */
  key: string;
  /** All user messages of this conversation. */
  prompts: string;
  /** Not answered in full yet, and the client is still connected. */
  open: boolean;
  /** The client hung up before the answer was complete. */
  aborted: boolean;
}

interface ChatMessage {
  role: string;
  content?: string | Array<{ type: string; text?: string }> | null;
}

interface ChatBody {
  model: string;
  messages: ChatMessage[];
  tools?: unknown[];
}

/** The prompt that opencode itself sends after an automatic compaction (1.18.33). */
const GOES_ON = /^Continue if you have next steps/m;

export class FakeProvider {
  readonly requests: ProviderRequest[] = [];
  /**
   * Requests without tools (titles, compaction). They are answered at once (see `summaryDelay`) and are not in
   * `requests`.
   */
  titles = 0;
  /** `'down'`: every request is answered with 503, whatever the marker says. */
  override: 'down' | null = null;
  /** Markers whose answers may end now. */
  private readonly ended = new Set<string>();
  /** Default markers, by words in the conversation. The empty words apply if no others match. */
  private readonly defaults = new Map([['', '[[ok]]']]);
  /** By session: the markers of its last prompt that had any. */
  private readonly written = new Map<string, Marker[]>();

  constructor(private readonly server: Server) {
    server.on('request', (req: IncomingMessage, res: ServerResponse) => {
      this.handle(req, res).catch((error: unknown) => {
        // A broken script is the test author's mistake. It shows in opencode's session.error.
        if (!res.headersSent) res.writeHead(400, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ error: { message: `fake provider: ${String(error)}` } }));
      });
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The `baseURL` for opencode.json. */
  get url(): string {
    return `http://127.0.0.1:${this.port}/v1`;
  }

  /** Sets the marker for prompts without one. With `words`: only in conversations that contain them. */
  setDefault(marker: string, words = ''): void {
    this.defaults.set(words, marker);
  }

  /** Lets the answers to this `[[stream-on …]]` end with their next chunk. */
  end(marker: string): void {
    this.ended.add(marker);
  }

  /** How many requests had `words` in their conversation. */
  count(words = ''): number {
    return this.about(words).length;
  }

  /** How many requests in flight have `words` in their conversation. */
  open(words = ''): number {
    return this.about(words).filter((request) => request.open).length;
  }

  about(words: string): ProviderRequest[] {
    return this.requests.filter((request) => request.prompts.includes(words));
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  private async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.method !== 'POST' || !req.url?.endsWith('/chat/completions')) {
      res.writeHead(404).end();
      return;
    }
    const body = JSON.parse(await text(req)) as ChatBody;
    const reply = new Reply(res, body.model, randomUUID().slice(0, 8));
    if (!body.tools?.length) {
      this.titles += 1;
      if (this.override === 'down') return reply.error(503, 'Service Unavailable');
      await pause(summaryDelay(body.messages.map(contentOf).join('\n')));
      reply.text('A title');
      return reply.finish();
    }

    const affinity = req.headers['x-session-affinity'];
    const marker = this.markerFor(body.messages, typeof affinity === 'string' ? affinity : '');
    const prompts = body.messages.filter(({ role }) => role === 'user').map(contentOf);
    const request: ProviderRequest = {
      at: Date.now(),
      model: body.model,
      marker: marker.text,
      key: typeof affinity === 'string' ? affinity : (prompts[0] ?? ''),
      prompts: prompts.join('\n'),
      open: true,
      aborted: false,
    };
    const earlier = this.requests.filter(
      (other) => other.key === request.key && other.marker === request.marker,
    ).length;
    this.requests.push(request);
    res.once('close', () => {
      request.open = false;
      request.aborted = !res.writableFinished && !reply.wasCut;
    });

    if (this.override === 'down') return reply.error(503, 'Service Unavailable');
    const behaviour = behaviours[marker.name];
    if (!behaviour) throw new Error(`unknown marker ${marker.text}`);
    const apiKey = req.headers.authorization?.replace(/^Bearer /, '') ?? '';
    const mayEnd = () => this.ended.has(marker.text);
    await behaviour({ marker, model: body.model, earlier, apiKey, reply, mayEnd });
  }

  private defaultFor(messages: ChatMessage[]): string {
    const said = messages.map(contentOf).join('\n');
    const words = [...this.defaults.keys()].findLast((each) => said.includes(each)) ?? '';
    return this.defaults.get(words) ?? '';
  }

  private markerFor(messages: ChatMessage[], session: string): Marker {
    const prompted = messages.findLastIndex(({ role }) => role === 'user');
    const prompt = messages[prompted];
    const text = prompt ? contentOf(prompt) : '';
    const written = parseMarkers(text);
    if (written.length > 0) this.written.set(session, written);
    // After a compaction the session continues with the last marker of its prompt.
    const before = GOES_ON.test(text) ? this.written.get(session)?.slice(-1) : undefined;
    const steps =
      before ?? (written.length > 0 ? written : parseMarkers(this.defaultFor(messages)));
    const taken = messages.slice(prompted + 1).filter(({ role }) => role === 'tool').length;
    const last = steps.at(-1);
    const endless = last !== undefined && ENDLESS.has(last.name) ? last : undefined;
    const marker = steps[taken] ?? endless ?? parseMarkers('[[ok]]')[0];
    if (!marker) throw new Error('unreachable: [[ok]] is a marker');
    return marker;
  }
}

function contentOf({ content }: ChatMessage): string {
  if (typeof content === 'string') return content;
  return (content ?? []).map((part) => part.text ?? '').join('\n');
}

export async function startFakeProvider(): Promise<FakeProvider> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return new FakeProvider(server);
}
