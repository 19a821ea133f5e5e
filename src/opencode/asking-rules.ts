/** What an agent's rules let stop to ask a person, whatever the version. Pure. */
import type { Asking } from './driver-api.js';

/** Of a list, the last one that fits counts. */
export interface Rule {
  permission: string;
  pattern: string;
  action: string;
}

/** opencode's tools that ask a person wherever they are allowed: `plan_exit` asks whether to go on to build (1.18.33). */
const ASKING_TOOLS: ReadonlySet<string> = new Set(['question', 'plan_exit']);

export function askingOf(agent: string, rules: readonly Rule[]): Asking[] {
  const asking: Asking[] = [];
  const seen = new Set<string>();
  for (const [index, { permission, pattern, action }] of rules.entries()) {
    const asks = action === 'ask' || (action === 'allow' && ASKING_TOOLS.has(permission));
    const key = `${permission} ${pattern}`;
    if (!asks || seen.has(key)) continue;
    if (rules.slice(index + 1).some((later) => covers(later, permission, pattern))) continue;
    seen.add(key);
    asking.push({ agent, permission, pattern });
  }
  return asking;
}

/** Whether a later rule leaves nothing of the earlier one. */
function covers(later: Rule, permission: string, pattern: string): boolean {
  const fits = later.permission === '*' || later.permission === permission;
  return fits && (later.pattern === '*' || later.pattern === pattern);
}
