/** Which agents of opencode may still stop to ask a person; for `check --unattended`. Read only on demand. */
import * as z from 'zod';
import { askingOf } from '../asking-rules.js';
import type { Asking } from '../driver-api.js';
import type { OpencodeClient } from './client.js';

const rule = z.looseObject({ permission: z.string(), pattern: z.string(), action: z.string() });
const agentSchema = z.looseObject({
  name: z.string(),
  mode: z.string().optional().catch(undefined),
  hidden: z.boolean().optional().catch(undefined),
  /** A list of rules, of which the last one that matches counts (1.18). */
  permission: z.array(rule).optional().catch(undefined),
});

/** @throws OpencodeError */
export async function readAskingAgents(
  client: Pick<OpencodeClient, 'raw'>,
  signal?: AbortSignal,
): Promise<{ agents: number; asking: Asking[] }> {
  const answer = z.array(z.unknown()).safeParse(await client.raw({ path: '/agent', signal }));
  const agents = (answer.data ?? []).flatMap((each) => agentSchema.safeParse(each).data ?? []);
  const shown = agents.filter(({ hidden }) => hidden !== true);
  const asking = shown.flatMap(({ name, permission = [] }) => askingOf(name, permission));
  return { agents: shown.length, asking };
}
