/** Finds out which models and agents a prompt can use. */
import { sleep } from '../../lib/clock.js';
import { suggest } from '../../lib/suggest.js';
import type { Catalog, DriverApi } from '../driver-api.js';
import type { RestDeps } from './end-session.js';
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

/**
 * Right after a directory has booted, the plugins of OpenCode 2 may still add to its lists (opencode-2-facts, section
 * 8).
 */
const BOOT_MS = 2_000;

/** Reads a list. On OpenCode 2 it is read once more a little later, if it lacks what is looked for. */
export async function readWhole<T>(
  { client, clock }: RestDeps,
  read: () => Promise<T>,
  has: (list: T) => boolean,
  signal: AbortSignal | undefined,
): Promise<T> {
  const list = await read();
  if (client.api !== 2 || has(list)) return list;
  // If the caller ends it, so does the next request.
  await sleep(clock, BOOT_MS, signal).catch(() => {});
  return read();
}

/** opencode accepts an unknown agent, and reports the failure only in an event. @throws DriverError `agent_unknown` */
export async function checkAgent(
  deps: RestDeps,
  agent: string,
  directory: string | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const isThere = (names: string[] | undefined) => !names || names.includes(agent);
  const read = () => deps.client.agents(directory, signal);
  const names = await readWhole(deps, read, isThere, signal);
  if (!names || names.includes(agent)) return;
  throw new DriverError(
    'agent_unknown',
    `there is no agent "${agent}"; there are: ${names.sort().join(', ')}.`,
  );
}
