/**
 * A model provider that fails on request: an OpenAI-compatible server whose behaviour each prompt
 * chooses by a marker, so that many sessions misbehave differently side by side.
 *
 * The markers of the last user message count. One marker is one step of the run: with
 * `[[bash sleep 1]] [[hang]]` the model first calls bash, then, given its result, hangs. Past the
 * last marker, and without one, the answer is `[[ok]]` (see `setDefault`).
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
  /** The marker that ruled this request, as written. */
  marker: string;
  /** The session: opencode's own id where it sends one, else the first user message. */
  key: string;
  /** Everything the users of this conversation said. */
  prompts: string;
  /** Not answered in full yet, and the client is still there. */
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

/** What opencode itself prompts after an automatic compaction (1.18.33). */
const GOES_ON = /^Continue if you have next steps/m;

export class FakeProvider {
  readonly requests: ProviderRequest[] = [];
  /** Tool-less requests (titles, compaction): answered at once (see `summaryDelay`), not in `requests`. */
  titles = 0;
  /** `'down'`: everything answers 503, whatever the marker says. */
  override: 'down' | null = null;
  /** Markers whose answers may end. */
  private readonly ended = new Set<string>();
  /** By words of the conversation; those without any rule where no other does. */
  private readonly defaults = new Map([['', '[[ok]]']]);
  /** By session: the markers of its last prompt that had any. */
  private readonly written = new Map<string, Marker[]>();

  constructor(private readonly server: Server) {
    server.on('request', (req: IncomingMessage, res: ServerResponse) => {
      this.handle(req, res).catch((error: unknown) => {
        // A broken script is the test author's error: show it in opencode's session.error.
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

  /** The marker that rules prompts without one; `words`: in conversations that contain them. */
  setDefault(marker: string, words = ''): void {
    this.defaults.set(words, marker);
  }

  /** The answers to this `[[stream-on …]]` end with their next chunk. */
  end(marker: string): void {
    this.ended.add(marker);
  }

  /** Requests whose conversation contains `words`. */
  count(words = ''): number {
    return this.about(words).length;
  }

  /** Requests in flight whose conversation contains `words`. */
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
    // After a compaction the session goes on with what its prompt said last.
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
