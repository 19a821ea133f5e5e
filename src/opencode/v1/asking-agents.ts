/** Which agents of opencode may still stop to ask a person: `check --unattended`. Read on demand only. */
import * as z from 'zod';
import type { Asking } from '../driver-api.js';
import type { OpencodeClient } from './client.js';

/** opencode's tools that ask a person wherever they are allowed: `plan_exit` asks whether to go on to build (1.18.33). */
const ASKING_TOOLS: ReadonlySet<string> = new Set(['question', 'plan_exit']);

const rule = z.looseObject({ permission: z.string(), pattern: z.string(), action: z.string() });
const agentSchema = z.looseObject({
  name: z.string(),
  mode: z.string().optional().catch(undefined),
  hidden: z.boolean().optional().catch(undefined),
  /** A list of rules, of which the last that fits counts (1.18). */
  permission: z.array(rule).optional().catch(undefined),
});
export type Rule = z.infer<typeof rule>;

/** @throws OpencodeError */
export async function readAskingAgents(
  client: Pick<OpencodeClient, 'raw'>,
  signal?: AbortSignal,
): Promise<{ agents: number; asking: Asking[] }> {
  const answer = z.array(z.unknown()).safeParse(await client.raw({ path: '/agent', signal }));
  const agents = (answer.data ?? []).flatMap((each) => agentSchema.safeParse(each).data ?? []);
  const shown = agents.filter(({ hidden }) => hidden !== true);
  return { agents: shown.length, asking: shown.flatMap(askingOf) };
}

function askingOf({ name, permission: rules = [] }: z.infer<typeof agentSchema>): Asking[] {
  const asking: Asking[] = [];
  const seen = new Set<string>();
  for (const [index, { permission, pattern, action }] of rules.entries()) {
    const asks = action === 'ask' || (action === 'allow' && ASKING_TOOLS.has(permission));
    const key = `${permission} ${pattern}`;
    if (!asks || seen.has(key)) continue;
    if (rules.slice(index + 1).some((later) => covers(later, permission, pattern))) continue;
    seen.add(key);
    asking.push({ agent: name, permission, pattern });
  }
  return asking;
}

/** Whether a later rule leaves nothing of the earlier one. */
function covers(later: Rule, permission: string, pattern: string): boolean {
  const fits = later.permission === '*' || later.permission === permission;
  return fits && (later.pattern === '*' || later.pattern === pattern);
}
