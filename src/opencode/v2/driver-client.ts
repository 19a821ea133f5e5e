/** The API of OpenCode 2 as the driver needs it (opencode-2-facts, sections 4, 7 and 8). */
import * as z from 'zod';
import { BoundedMap } from '../../lib/bounded.js';
import { segment } from '../api-client.js';
import { askingOf } from '../asking-rules.js';
import {
  type Asking,
  type Catalog,
  type DriverApi,
  METADATA_KEY,
  type Message,
  type PermissionRule,
  type PromptWish,
  type Providers,
  type SessionWish,
  type Withdrawal,
} from '../driver-api.js';
import { isNotFound, OpencodeError } from '../http/errors.js';
import type { SessionSummary } from '../server-api.js';
import * as catalog from './catalog.js';
import { OpencodeClientV2, sessionPath } from './client.js';
import { readTranscript } from './messages.js';
import { V2RunEvents } from './run-events.js';
import * as schemas from './schemas.js';

/** This many messages more than wanted are asked for, because some do not belong to the conversation. */
const MORE_MESSAGES = 20;
/** A delete first ends the session's run, and waits for its end (section 4.5). */
const DELETE_MS = 20_000;
/** Prompts of ours that may wait in an inbox. At the limit: the oldest is not withdrawn by an abort. */
const MAX_SENT = 1_000;

const admission = schemas.data(z.object({ id: schemas.id }));
const modelAnswer = z.object({ data: catalog.model.optional().catch(undefined) });

type Signal = AbortSignal | undefined;

export class DriverClientV2 extends OpencodeClientV2 implements DriverApi {
  /** A prompt has no key for it in 2.x (section 4.2). */
  readonly takesSchema = false;
  /** The last prompt to each session. */
  readonly #sent = new BoundedMap<string, { inboxID: string; mark: string }>(MAX_SENT);

  async recognised(): Promise<void> {}

  isMissingRoute(error: unknown): boolean {
    return error instanceof OpencodeError && error.kind === 'http' && error.statusCode === 404;
  }

  async createSession(
    wish: SessionWish,
    directory: string | undefined,
    signal?: Signal,
  ): Promise<SessionSummary> {
    const { title, parentID, agent, permission = [], metadata } = wish;
    const body = {
      title,
      ...(parentID !== undefined && { parentID }),
      ...(agent !== undefined && { agent }),
      ...(directory !== undefined && { location: { directory } }),
      ...(permission.length > 0 && { permissions: permission.map(rule) }),
      ...(metadata && { metadata }),
    };
    const request = { method: 'POST', path: '/api/session', body, signal } as const;
    return this.summary((await this.ask(schemas.data(schemas.session), request)).data);
  }

  async remove(sessionID: string, _directory: string | undefined, signal?: Signal): Promise<void> {
    const path = sessionPath(sessionID);
    await this.transport.json({ method: 'DELETE', path, signal, timeoutMs: DELETE_MS });
  }

  async transcript(
    sessionID: string,
    _directory: string | undefined,
    { limit, signal, timeoutMs }: { limit?: number; signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Message[]> {
    const wanted = limit === undefined ? undefined : limit + MORE_MESSAGES;
    const messages = readTranscript(await this.messages(sessionID, wanted, signal, timeoutMs));
    return limit === undefined ? messages : messages.slice(-limit);
  }

  /**
   * Model and agent belong to the session and are set before the prompt. A system text goes before the prompt's text.
   */
  async send(
    sessionID: string,
    directory: string | undefined,
    { text, context, files, mark, model, variant, agent, system, queue }: PromptWish,
    signal?: Signal,
  ): Promise<void> {
    const post = (rest: string, body: unknown) =>
      ({ method: 'POST', path: sessionPath(sessionID, rest), body, signal }) as const;
    if (agent !== undefined) await this.transport.json(post('/agent', { agent }));
    const chosen = await this.#modelOf(sessionID, directory, { model, variant, signal });
    if (chosen) await this.transport.json(post('/model', { model: chosen }));
    const before = system === undefined ? context : [`<system>\n${system}\n</system>`, ...context];
    const body = {
      text: [...before, text].join('\n\n'),
      ...(files.length > 0 && {
        files: files.map(({ url, filename }) => ({
          uri: url,
          ...(filename !== undefined && { name: filename }),
        })),
      }),
      metadata: { [METADATA_KEY]: mark },
      ...(queue && { delivery: 'queue' }),
    };
    const { data } = await this.ask(admission, post('/prompt', body));
    this.#sent.set(sessionID, { inboxID: data.id, mark });
  }

  /** A variant without a model is a variant of the model that the prompt gets anyway. */
  async #modelOf(
    sessionID: string,
    directory: string | undefined,
    { model, variant, signal }: Pick<PromptWish, 'model' | 'variant'> & { signal: Signal },
  ): Promise<{ id: string; providerID: string; variant?: string } | undefined> {
    if (model === undefined && variant === undefined) return undefined;
    const more = variant === undefined ? {} : { variant };
    if (model) return { id: model.modelID, providerID: model.providerID, ...more };
    const ref = await this.#ownModel(sessionID, directory, signal);
    return ref && { id: ref.id, providerID: ref.providerID, ...more };
  }

  /** If a prompt of ours waits in the inbox, it is withdrawn first: it would run with the next one (section 4.5). */
  override async abort(
    sessionID: string,
    directory?: string,
    signal?: Signal,
    timeoutMs?: number,
  ): Promise<'taken'> {
    // Any other failure shows at the interrupt, too.
    const sent = this.#sent.get(sessionID);
    if (sent) await this.#takeBack(sessionID, sent.inboxID, signal, timeoutMs);
    return super.abort(sessionID, directory, signal, timeoutMs);
  }

  async withdraw(sessionID: string, mark: string, timeoutMs: number): Promise<Withdrawal> {
    const sent = this.#sent.get(sessionID);
    if (sent?.mark !== mark) return 'unknown';
    return this.#takeBack(sessionID, sent.inboxID, undefined, timeoutMs);
  }

  async #takeBack(
    sessionID: string,
    inboxID: string,
    signal: Signal,
    timeoutMs: number | undefined,
  ): Promise<Withdrawal> {
    const path = sessionPath(sessionID, `/inbox/${segment(inboxID)}`);
    try {
      await this.transport.json({ method: 'DELETE', path, signal, timeoutMs });
    } catch (error) {
      const isConflict = error instanceof OpencodeError && error.statusCode === 409;
      if (!isConflict && !isNotFound(error)) return 'unknown';
      // It waits no more (section 4.2).
      this.#sent.delete(sessionID);
      return 'delivered';
    }
    this.#sent.delete(sessionID);
    return 'withdrawn';
  }

  runEvents(): V2RunEvents {
    return new V2RunEvents(this.clock, this.known);
  }

  async catalog(directory: string | undefined, signal?: Signal): Promise<Catalog | undefined> {
    try {
      const [models, providers] = await Promise.all([
        this.#place('/api/model', catalog.model, directory, signal),
        this.#place('/api/provider', catalog.provider, directory, signal),
      ]);
      return catalog.catalogOf(
        models,
        providers.map(({ id }) => id),
      );
    } catch (error) {
      if (isNone(error)) return undefined;
      throw error;
    }
  }

  async providers(signal?: Signal): Promise<Providers> {
    const known = await this.catalog(undefined, signal);
    if (known) return known;
    throw this.transport.notOpencode(`GET ${this.url}/api/model`, 'has no list of models just now');
  }

  async configuredModel(signal?: Signal): Promise<string | undefined> {
    return nameOf(await this.#defaultModel(undefined, signal));
  }

  async modelFor(
    sessionID: string,
    directory: string | undefined,
    signal?: Signal,
  ): Promise<string | undefined> {
    return nameOf(await this.#ownModel(sessionID, directory, signal));
  }

  async #ownModel(sessionID: string, directory: string | undefined, signal: Signal) {
    const own = await this.chosenModel(sessionID, signal);
    return own ?? this.#defaultModel(directory, signal);
  }

  async #defaultModel(directory: string | undefined, signal: Signal) {
    try {
      const request = { path: '/api/model/default', query: placeOf(directory), signal };
      return (await this.ask(modelAnswer, request)).data;
    } catch (error) {
      if (isNone(error)) return undefined;
      throw error;
    }
  }

  async asking(signal?: Signal): Promise<{ agents: number; asking: Asking[] } | undefined> {
    const list = await this.#place('/api/agent', catalog.agent, undefined, signal);
    const shown = list.filter(({ hidden }) => hidden !== true);
    // Rules in an unknown form must not count as no rules.
    if (shown.some(({ permissions }) => permissions === undefined)) return undefined;
    const asking = shown.flatMap(({ id, permissions = [] }) =>
      askingOf(
        id,
        permissions.map(({ action, resource, effect }) => ({
          permission: action,
          pattern: resource,
          action: effect,
        })),
      ),
    );
    return { agents: shown.length, asking };
  }

  async agents(directory: string | undefined, signal?: Signal): Promise<string[] | undefined> {
    try {
      const list = await this.#place('/api/agent', catalog.agent, directory, signal);
      return list.map(({ id }) => id);
    } catch (error) {
      if (isNone(error)) return undefined;
      throw error;
    }
  }

  #place<T>(
    path: string,
    schema: z.ZodType<T>,
    directory: string | undefined,
    signal: Signal,
  ): Promise<T[]> {
    return this.list({ path, query: placeOf(directory), signal }, schema);
  }
}

const nameOf = (model: { id: string; providerID: string } | undefined) =>
  model && `${model.providerID}/${model.id}`;

const placeOf = (directory: string | undefined) => ({ 'location[directory]': directory });

/** The server has no such list, or its plugins are not ready (section 4.4): the run itself shows it then. */
function isNone(error: unknown): boolean {
  if (!(error instanceof OpencodeError)) return false;
  const { kind, statusCode = 0 } = error;
  return kind === 'not_opencode' || (kind === 'http' && (statusCode === 404 || statusCode >= 500));
}

/** Tools that have another name in 2.x (section 7). */
const ACTIONS: Readonly<Record<string, string>> = { bash: 'shell', task: 'subagent' };

function rule({ permission, pattern, action }: PermissionRule) {
  return { action: ACTIONS[permission] ?? permission, resource: pattern, effect: action };
}
