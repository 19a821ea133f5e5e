/**
 * The model providers that opencode is connected to, and their models. Read only on demand, because it is megabytes.
 */
import * as z from 'zod';
import type { Providers } from '../driver-api.js';
import { OpencodeError } from '../http/errors.js';
import type { OpencodeClient } from './client.js';

/** The server builds these megabytes on request; on a busy machine that has taken 10 s. */
const PROVIDERS_TIMEOUT_MS = 60_000;

const model = z.looseObject({
  name: z.string().optional().catch(undefined),
  limit: z
    .looseObject({ context: z.number().optional(), output: z.number().optional() })
    .optional()
    .catch(undefined),
});
const provider = z.looseObject({ id: z.string(), models: z.record(z.string(), model).catch({}) });
const providers = z.looseObject({
  all: z.array(provider.nullable().catch(null)),
  connected: z.array(z.string()),
  default: z.record(z.string(), z.string()).catch({}),
});
const settings = z.looseObject({ model: z.string().optional().catch(undefined) });

/** @throws OpencodeError */
export async function readProviders(
  client: OpencodeClient,
  signal?: AbortSignal,
): Promise<Providers> {
  const answer = providers.safeParse(
    await client.raw({
      path: '/provider',
      signal,
      timeoutMs: PROVIDERS_TIMEOUT_MS,
    }),
  );
  if (!answer.success) {
    throw new OpencodeError({
      kind: 'not_opencode',
      request: `GET ${client.url}/provider`,
      outcome: 'answered with JSON of another shape than opencode gives',
    });
  }
  const connected = new Set(answer.data.connected);
  const models = answer.data.all.flatMap((each) =>
    each === null
      ? []
      : Object.entries(each.models).map(([id, { name, limit }]) => ({
          id: `${each.id}/${id}`,
          ...(name === undefined ? {} : { name }),
          connected: connected.has(each.id),
          ...(limit?.context === undefined ? {} : { contextLimit: limit.context }),
          ...(limit?.output === undefined ? {} : { outputLimit: limit.output }),
        })),
  );
  models.sort((a, b) => Number(b.connected) - Number(a.connected) || a.id.localeCompare(b.id));
  return { connected: [...connected].sort(), models, defaults: answer.data.default };
}

/** The model that opencode's own configuration names (`provider/model`), if it names one. */
export async function readConfiguredModel(
  client: OpencodeClient,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const request = { path: '/config', query: { directory }, signal };
  const answer = settings.safeParse(await client.raw(request));
  return answer.success ? answer.data.model : undefined;
}
