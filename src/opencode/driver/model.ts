/** Which model a prompt names: its spelling, its variant, and what a thinking budget means for it. Pure. */
import { MODEL_NAME, splitModelName } from '../../watchdog/model-name.js';
import type { ModelRef } from '../driver-api.js';
import { DriverError } from './error.js';

export type { ModelRef } from '../driver-api.js';

/** `provider/model`, or opencode's own object. */
export type ModelSpec = string | ModelRef;

/** The way in which older examples ask for thinking. opencode drops it silently (facts, section 8). */
export interface Thinking {
  type?: string;
  budget_tokens?: number;
}

/** A model of a connected provider. */
export interface KnownModel {
  /** `provider/model`. */
  id: string;
  /** Each variant's provider options, as opencode lists them. */
  variants: Readonly<Record<string, unknown>>;
}

const RIGHT_FORM =
  'write it as "provider/model", e.g. "anthropic/claude-sonnet-4-5", or as {"providerID": "…", "modelID": "…"}; ' +
  '"opencode-watchdog models" lists those there are';

/** @throws DriverError `bad_model_spec` */
export function parseModel(spec: unknown): ModelRef {
  if (typeof spec === 'string') {
    if (MODEL_NAME.test(spec)) {
      const { provider, model } = splitModelName(spec);
      return { providerID: provider, modelID: model };
    }
  } else if (typeof spec === 'object' && spec !== null) {
    const { providerID, modelID } = spec as Partial<Record<keyof ModelRef, unknown>>;
    if (typeof providerID === 'string' && typeof modelID === 'string' && providerID && modelID) {
      return { providerID, modelID };
    }
  }
  throw new DriverError('bad_model_spec', `${JSON.stringify(spec)} names no model: ${RIGHT_FORM}.`);
}

export const modelName = ({ providerID, modelID }: ModelRef) => `${providerID}/${modelID}`;

export const hasVariant = (model: KnownModel, variant: string) =>
  Object.hasOwn(model.variants, variant);

/** @throws DriverError `variant_unknown`: opencode itself would ignore it silently (seen on 1.18.33) */
export function checkVariant(model: KnownModel, variant: string): void {
  if (hasVariant(model, variant)) return;
  const names = Object.keys(model.variants);
  const has = names.length === 0 ? 'it has none' : `it has ${names.join(', ')}`;
  throw new DriverError(
    'variant_unknown',
    `${model.id} has no variant "${variant}", and opencode would ignore it without a word: ${has}.`,
    { model: model.id },
  );
}

export interface ThinkingChoice {
  /** The variant that fits the budget best. */
  variant?: string;
  /** What was done about the request, for the caller. */
  says: string;
}

/**
 * Chooses the variant with the largest budget that is not above the one asked for; if there is none, the one with the
 * smallest budget. A variant that only names an effort has no budget to compare: choosing one would be a guess.
 */
export function chooseThinking(thinking: Thinking, model: KnownModel | undefined): ThinkingChoice {
  const asked = thinking.budget_tokens;
  const wish = asked === undefined ? 'thinking' : `thinking with budget_tokens ${asked}`;
  if (thinking.type === 'disabled') {
    return { says: 'thinking "disabled" is ignored: opencode has no such switch for a prompt' };
  }
  if (!model) return { says: `${wish} is ignored: opencode drops it, and no model was named` };
  const names = Object.keys(model.variants);
  const budgets = names
    .flatMap((name) => {
      const tokens = budgetOf(model.variants[name]);
      return tokens === undefined ? [] : [{ name, tokens }];
    })
    .sort((a, b) => a.tokens - b.tokens);
  const fitting =
    asked === undefined ? undefined : budgets.findLast(({ tokens }) => tokens <= asked);
  const chosen = fitting ?? budgets[0];
  if (chosen) {
    const says = `${wish} is mapped to the variant "${chosen.name}" (${chosen.tokens} tokens) of ${model.id}`;
    return { variant: chosen.name, says };
  }
  const hint =
    names.length > 0
      ? `choose one of its variants instead: ${names.join(', ')}`
      : 'the model has no variants; its options in opencode.json are honoured';
  return {
    says: `${wish} is ignored: opencode drops it, and ${model.id} has no budget to set; ${hint}`,
  };
}

/** Anthropic's `thinking.budgetTokens`, Google's `thinkingConfig.thinkingBudget` (seen on 1.18.33). */
function budgetOf(variant: unknown): number | undefined {
  const { thinking, thinkingConfig } = (variant ?? {}) as {
    thinking?: { budgetTokens?: unknown } | null;
    thinkingConfig?: { thinkingBudget?: unknown } | null;
  };
  const tokens = thinking?.budgetTokens ?? thinkingConfig?.thinkingBudget;
  return typeof tokens === 'number' && tokens > 0 ? tokens : undefined;
}
