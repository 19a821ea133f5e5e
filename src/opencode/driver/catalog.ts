/**
 * Which models can be asked. The short list (`/config/providers`: connected ones, 10 kB, 25 ms) answers nearly always;
 * the long one (`/provider`: 6 MB, one to three seconds on 1.18.33) is read only to explain what is missing.
 */
import * as z from 'zod';
import { suggest } from '../../lib/suggest.js';
import { OpencodeError } from '../http/errors.js';
import type { OpencodeClient } from '../v1/client.js';
import { type Model, readConfiguredModel, readProviders } from '../v1/providers.js';
import { DriverError } from './error.js';
import { type KnownModel, type ModelRef, modelName } from './model.js';
import type { ModelList } from './types.js';

const maybe = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);
const model = z.object({
  name: maybe(z.string()),
  limit: maybe(z.object({ context: maybe(z.number()), output: maybe(z.number()) })),
  variants: maybe(z.record(z.string(), z.unknown())),
});
const wire = z.object({
  providers: z.array(z.object({ id: z.string(), models: z.record(z.string(), model).catch({}) })),
  default: z.record(z.string(), z.string()).catch({}),
});

export interface Catalog {
  connected: string[];
  models: (Model & KnownModel)[];
  /** Each provider's default model. */
  defaults: Record<string, string>;
}

/** The connected providers' models; undefined where the server has no such list. */
export async function readCatalog(
  client: OpencodeClient,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<Catalog | undefined> {
  try {
    const answer = wire.safeParse(
      await client.raw({
        path: '/config/providers',
        query: { directory },
        signal,
      }),
    );
    if (!answer.success) return undefined;
    const { providers, default: defaults } = answer.data;
    const models = providers.flatMap((provider) =>
      Object.entries(provider.models).map(([id, { name, limit, variants = {} }]) => ({
        id: `${provider.id}/${id}`,
        connected: true,
        variants,
        ...(name !== undefined && { name }),
        ...(limit?.context !== undefined && { contextLimit: limit.context }),
        ...(limit?.output !== undefined && { outputLimit: limit.output }),
      })),
    );
    models.sort((a, b) => a.id.localeCompare(b.id));
    return { connected: providers.map(({ id }) => id).sort(), models, defaults };
  } catch (error) {
    if (cannotBeRead(error)) return undefined;
    throw error;
  }
}

/** With the model that a prompt without one gets; `all` reads the long list. */
export async function listModels(
  client: OpencodeClient,
  { all, signal }: { all: boolean; signal: AbortSignal | undefined },
): Promise<ModelList> {
  const [catalog, configured] = await Promise.all([
    all ? undefined : readCatalog(client, undefined, signal),
    readConfiguredModel(client, signal),
  ]);
  const list = catalog ?? (await readProviders(client, signal));
  return { ...list, ...(configured !== undefined && { configured }) };
}

/** Why a model that is not among the connected ones cannot be asked, with what to do. */
export async function explainMissing(
  client: OpencodeClient,
  ref: ModelRef,
  catalog: Catalog | undefined,
  signal?: AbortSignal,
): Promise<DriverError> {
  const name = modelName(ref);
  const all = await readProviders(client, signal);
  const isConnected = all.connected.includes(ref.providerID);
  const isKnown = all.models.some(({ id }) => id.startsWith(`${ref.providerID}/`));
  if (!isConnected && isKnown) {
    const connectedNames = all.connected.join(', ') || 'none';
    return new DriverError(
      'provider_not_connected',
      `the provider "${ref.providerID}" is not connected (connected: ${connectedNames}): ` +
        `"opencode auth login" adds it, or set its key in the environment of the server.`,
      { model: name },
    );
  }
  const known = catalog?.models.map(({ id }) => id) ?? [];
  const candidates =
    known.length > 0 ? known : all.models.filter((each) => each.connected).map(({ id }) => id);
  const nearest = suggest(name, candidates, '/');
  const hint = nearest === undefined ? 'no provider is connected' : `did you mean ${nearest}?`;
  return new DriverError(
    'model_unknown',
    `no connected provider has the model ${name}; ${hint} "opencode-watchdog models" lists them.`,
    { model: name },
  );
}

/**
 * The server has no such list, or none just now: what would be checked by it is then told by the run itself. Nothing
 * is remembered of it, so the next prompt is checked again.
 */
function cannotBeRead(error: unknown): boolean {
  if (!(error instanceof OpencodeError)) return false;
  const { kind, statusCode = 0 } = error;
  return kind === 'not_opencode' || (kind === 'http' && (statusCode === 404 || statusCode >= 500));
}

const agents = z.array(z.object({ name: z.string() }));

/** opencode accepts an unknown agent, and fails by an event alone. @throws DriverError `agent_unknown` */
export async function checkAgent(
  client: OpencodeClient,
  agent: string,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<void> {
  let answer: unknown;
  try {
    answer = await client.raw({ path: '/agent', query: { directory }, signal });
  } catch (error) {
    if (cannotBeRead(error)) return;
    throw error;
  }
  const names = agents.safeParse(answer).data?.map(({ name }) => name);
  if (!names || names.includes(agent)) return;
  throw new DriverError(
    'agent_unknown',
    `there is no agent "${agent}"; there are: ${names.sort().join(', ')}.`,
  );
}
