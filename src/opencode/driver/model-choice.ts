/** Finds the model and variant that a prompt asks for, and checks that they exist before it is sent. */
import type { Catalog, DriverApi } from '../driver-api.js';
import { explainMissing, readWhole } from './catalog.js';
import type { RestDeps } from './end-session.js';
import {
  checkVariant,
  chooseThinking,
  hasVariant,
  type KnownModel,
  type ModelRef,
  modelName,
  parseModel,
} from './model.js';
import type { SendOptions, SessionRef } from './types.js';

export interface Choice {
  /** Undefined if the server chooses. */
  ref: ModelRef | undefined;
  variant: string | undefined;
}

/** @throws DriverError `bad_model_spec`, `model_unknown`, `provider_not_connected`, `variant_unknown` */
export async function chooseModel(
  deps: RestDeps,
  {
    model: spec,
    variant,
    thinking,
    signal,
  }: Pick<SendOptions, 'model' | 'variant' | 'thinking' | 'signal'>,
  session: SessionRef,
  notice: (message: string) => void,
): Promise<Choice> {
  const ref = spec === undefined ? undefined : parseModel(spec);
  if (!ref && variant === undefined && thinking === undefined) return { ref, variant };
  const { client } = deps;
  const { directory } = session;
  const wanted = ref ?? (await ownModel(client, session, signal));
  const modelIn = (list: Catalog | undefined): KnownModel | undefined =>
    wanted && list?.models.find(({ id }) => id === modelName(wanted));
  const isThere = (list: Catalog | undefined) => {
    if (!list || !wanted) return true;
    const model = modelIn(list);
    return model !== undefined && (variant === undefined || hasVariant(model, variant));
  };
  const read = () => client.catalog(directory, signal);
  const known = await readWhole(deps, read, isThere, signal);
  const model = modelIn(known);
  if (known && ref && !model) throw await explainMissing(client, ref, known, signal);
  if (variant !== undefined && model) checkVariant(model, variant);
  if (variant !== undefined && !model) {
    const why = wanted
      ? `opencode does not list ${modelName(wanted)}`
      : 'opencode does not say which model the prompt gets';
    notice(`the variant "${variant}" is not checked, and may be ignored: ${why}`);
  }
  if (!thinking) return { ref, variant };
  if (variant !== undefined) {
    notice(`thinking is ignored: the variant "${variant}" was asked for`);
    return { ref, variant };
  }
  const choice = chooseThinking(thinking, model);
  notice(choice.says);
  return { ref, variant: choice.variant };
}

/** The model that the prompt gets if it names none. */
async function ownModel(
  client: DriverApi,
  { id, directory }: SessionRef,
  signal: AbortSignal | undefined,
): Promise<ModelRef | undefined> {
  const name = await client.modelFor(id, directory, signal);
  return name === undefined ? undefined : parseModel(name);
}
