/** The API of opencode 1.x as the driver needs it. */
import type {
  Catalog,
  DriverApi,
  Message,
  PromptWish,
  Providers,
  SessionWish,
  Withdrawal,
} from '../driver-api.js';
import type { SessionSummary } from '../server-api.js';
import { readAskingAgents } from './asking-agents.js';
import { readAgents, readCatalog } from './catalog.js';
import { OpencodeClient, summary } from './client.js';
import { messageFrom } from './messages.js';
import { readConfiguredModel, readProviders } from './providers.js';
import { promptBody, sessionBody } from './request-bodies.js';
import { V1RunEvents } from './run-events.js';
import { session } from './schemas.js';

/** The session's model is looked for in so many of its last messages. */
const MODEL_MESSAGES = 20;

export class DriverClientV1 extends OpencodeClient implements DriverApi {
  readonly takesSchema = true;

  async recognised(): Promise<void> {}

  async createSession(
    wish: SessionWish,
    directory: string | undefined,
    signal?: AbortSignal,
  ): Promise<SessionSummary> {
    const body = sessionBody(wish);
    const request = {
      method: 'POST',
      path: '/session',
      query: { directory },
      body,
      signal,
    } as const;
    return summary(await this.ask(session, request));
  }

  async transcript(
    sessionID: string,
    directory: string | undefined,
    { limit, signal, timeoutMs }: { limit?: number; signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Message[]> {
    const messages = await this.messages(sessionID, directory, limit, signal, timeoutMs);
    return messages.map(messageFrom);
  }

  /** In every session, prompts wait behind the run that is under way: `queue` makes no difference. */
  send(
    sessionID: string,
    directory: string | undefined,
    wish: PromptWish,
    signal?: AbortSignal,
  ): Promise<void> {
    return this.promptAsync(sessionID, directory, promptBody(wish), signal);
  }

  /** A prompt that was accepted is a message of the session: nothing takes it back. */
  async withdraw(): Promise<Withdrawal> {
    return 'unknown';
  }

  runEvents(): V1RunEvents {
    return new V1RunEvents(this.clock);
  }

  catalog(directory: string | undefined, signal?: AbortSignal): Promise<Catalog | undefined> {
    return readCatalog(this, directory, signal);
  }

  providers(signal?: AbortSignal): Promise<Providers> {
    return readProviders(this, signal);
  }

  configuredModel(signal?: AbortSignal): Promise<string | undefined> {
    return readConfiguredModel(this, undefined, signal);
  }

  /** A prompt without a model gets the one of the session's last run. */
  async modelFor(
    sessionID: string,
    directory: string | undefined,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const options = { limit: MODEL_MESSAGES, ...(signal && { signal }) };
    const messages = await this.transcript(sessionID, directory, options);
    // A compaction may have a model of its own.
    const last = messages.findLast(({ model, summary }) => model !== undefined && !summary);
    return last?.model ?? readConfiguredModel(this, directory, signal);
  }

  agents(directory: string | undefined, signal?: AbortSignal): Promise<string[] | undefined> {
    return readAgents(this, directory, signal);
  }

  asking(signal?: AbortSignal) {
    return readAskingAgents(this, signal);
  }
}
