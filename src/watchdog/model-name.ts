/** A model's name, `provider/model`: a provider's id has no slash, a model's may (`openrouter/meta/llama-3`). */

export const MODEL_NAME = /^[^/\s]+\/\S+$/;

/** The inverse of `splitModelName`. */
export function joinModelName({ provider, model }: { provider: string; model: string }): string {
  return `${provider}/${model}`;
}

/** A name without a slash is a model without a known provider: `provider` is empty. */
export function splitModelName(name: string): { provider: string; model: string } {
  const slash = name.indexOf('/');
  return { provider: name.slice(0, Math.max(0, slash)), model: name.slice(slash + 1) };
}

/** Empty for a model without a known provider: all of those count as models of one provider. */
export function providerOf(name = ''): string {
  return splitModelName(name).provider;
}
