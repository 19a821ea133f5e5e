/** Finds out which models and agents a prompt can use. */
import { suggest } from '../../lib/suggest.js';
import type { Catalog, DriverApi } from '../driver-api.js';
import { DriverError } from './error.js';
import { type ModelRef, modelName } from './model.js';
import type { ModelList } from './types.js';

/** Also gives the model that a prompt without one gets. `all` reads the long list. */
export async function listModels(
  client: DriverApi,
  { all, signal }: { all: boolean; signal?: AbortSignal | undefined },
): Promise<ModelList> {
  const [catalog, configured] = await Promise.all([
    all ? undefined : client.catalog(undefined, signal),
    client.configuredModel(signal),
  ]);
  const list = catalog ?? (await client.providers(signal));
  return { ...list, ...(configured !== undefined && { configured }) };
}

/** Explains why a model that is not among the connected ones cannot be used, and what to do. */
export async function explainMissing(
  client: DriverApi,
  ref: ModelRef,
  catalog: Catalog | undefined,
  signal?: AbortSignal,
): Promise<DriverError> {
  const name = modelName(ref);
  const all = await client.providers(signal);
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

/** opencode accepts an unknown agent, and reports the failure only in an event. @throws DriverError `agent_unknown` */
export async function checkAgent(
  client: DriverApi,
  agent: string,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const names = await client.agents(directory, signal);
  if (!names || names.includes(agent)) return;
  throw new DriverError(
    'agent_unknown',
    `there is no agent "${agent}"; there are: ${names.sort().join(', ')}.`,
  );
}
