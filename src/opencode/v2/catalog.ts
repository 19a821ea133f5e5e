/** Which models, providers and agents OpenCode 2 has (opencode-2-facts, section 8). Pure. */
import * as z from 'zod';
import type { Catalog, Model } from '../driver-api.js';

const maybe = <T extends z.ZodType>(schema: T) => schema.optional().catch(undefined);

export const model = z.object({
  id: z.string(),
  providerID: z.string(),
  name: maybe(z.string()),
  enabled: maybe(z.boolean()),
  variants: maybe(z.array(z.object({ id: z.string() }))),
  limit: maybe(z.object({ context: maybe(z.number()), output: maybe(z.number()) })),
});
export type WireModel = z.infer<typeof model>;

/**
 * `*` matches everything; the last rule that matches counts, as in 1.x (the schemas of 2.0.26: `agent`, `permission`).
 */
const rule = z.object({ action: z.string(), resource: z.string(), effect: z.string() });

export const agent = z.object({
  id: z.string(),
  hidden: maybe(z.boolean()),
  permissions: maybe(z.array(rule)),
});
export const provider = z.object({ id: z.string() });

/** The list has only models that can be asked: those of providers that are not connected are not in it. */
export function catalogOf(models: readonly WireModel[], providers: readonly string[]): Catalog {
  const known = models
    .filter(({ enabled }) => enabled !== false)
    .map((each): Model & { variants: Record<string, unknown> } => {
      const { id, providerID, name, limit, variants = [] } = each;
      return {
        id: `${providerID}/${id}`,
        connected: true,
        variants: Object.fromEntries(variants.map((variant) => [variant.id, {}])),
        ...(name !== undefined && { name }),
        ...(limit?.context !== undefined && { contextLimit: limit.context }),
        ...(limit?.output !== undefined && { outputLimit: limit.output }),
      };
    })
    .sort((a, b) => a.id.localeCompare(b.id));
  const connected = new Set([...models.map(({ providerID }) => providerID), ...providers]);
  return { connected: [...connected].sort(), models: known, defaults: {} };
}
