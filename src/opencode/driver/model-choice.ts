/** Finds the model and variant that a prompt asks for, and checks that they exist before it is sent. */
import type { DriverApi } from '../driver-api.js';
import { explainMissing } from './catalog.js';
import {
  checkVariant,
  chooseThinking,
  type KnownModel,
  type ModelRef,
  modelName,
  parseModel,
} from './model.js';
import type { SendOptions } from './types.js';

export interface Choice {
  /** Undefined if the server chooses. */
  ref: ModelRef | undefined;
  variant: string | undefined;
}

/** @throws DriverError `bad_model_spec`, `model_unknown`, `provider_not_connected`, `variant_unknown` */
export async function chooseModel(
  client: DriverApi,
  {
    model: spec,
    variant,
    thinking,
    signal,
  }: Pick<SendOptions, 'model' | 'variant' | 'thinking' | 'signal'>,
  directory: string | undefined,
  notice: (message: string) => void,
): Promise<Choice> {
  const ref = spec === undefined ? undefined : parseModel(spec);
  if (!ref && variant === undefined && thinking === undefined) return { ref, variant };
  const known = await client.catalog(directory, signal);
  const wanted = ref ?? (await configuredModel(client, signal));
  let model: KnownModel | undefined;
  if (known && wanted) {
    model = known.models.find(({ id }) => id === modelName(wanted));
    if (!model && ref) throw await explainMissing(client, ref, known, signal);
  }
  if (variant !== undefined && model) checkVariant(model, variant);
  if (!thinking) return { ref, variant };
  if (variant !== undefined) {
    notice(`thinking is ignored: the variant "${variant}" was asked for`);
    return { ref, variant };
  }
  const choice = chooseThinking(thinking, model);
  notice(choice.says);
  return { ref, variant: choice.variant };
}

async function configuredModel(
  client: DriverApi,
  signal: AbortSignal | undefined,
): Promise<ModelRef | undefined> {
  const name = await client.configuredModel(signal);
  return name === undefined ? undefined : parseModel(name);
}
