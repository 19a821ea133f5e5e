/**
 * Which models can be asked. The short list (`/config/providers`: connected models, 10 kB, 25 ms) is nearly always
 * enough. The long one (`/provider`: 6 MB, one to three seconds on 1.18.33) is read only to explain what is missing.
 */
import * as z from 'zod';
import type { Catalog } from '../driver-api.js';
import { OpencodeError } from '../http/errors.js';
import type { OpencodeClient } from './client.js';

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
const agents = z.array(z.object({ name: z.string() }));

type Client = Pick<OpencodeClient, 'raw'>;

export async function readCatalog(
  client: Client,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<Catalog | undefined> {
  const answer = wire.safeParse(await read(client, '/config/providers', directory, signal)).data;
  if (answer === undefined) return undefined;
  const { providers, default: defaults } = answer;
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
}

export async function readAgents(
  client: Client,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<string[] | undefined> {
  const answer = agents.safeParse(await read(client, '/agent', directory, signal));
  return answer.data?.map(({ name }) => name);
}

/**
 * Undefined if the server has no such list, or cannot give it now: the run itself then shows what this list would have
 * been used to check. That is not remembered, so the next prompt is checked again.
 */
async function read(
  client: Client,
  path: string,
  directory: string | undefined,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  try {
    return await client.raw({ path, query: { directory }, signal });
  } catch (error) {
    if (cannotBeRead(error)) return undefined;
    throw error;
  }
}

function cannotBeRead(error: unknown): boolean {
  if (!(error instanceof OpencodeError)) return false;
  const { kind, statusCode = 0 } = error;
  return kind === 'not_opencode' || (kind === 'http' && (statusCode === 404 || statusCode >= 500));
}
