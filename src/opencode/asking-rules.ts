/** Finds what an agent's rules make it ask a person about, in any version. Pure. */
import type { Asking } from './driver-api.js';

/** In a list of rules, the last one that matches counts. */
export interface Rule {
  permission: string;
  pattern: string;
  action: string;
}

/**
 * opencode's tools that ask a person whenever they are allowed: `plan_exit` asks whether to go on to build (1.18.33).
 */
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

/** Whether a later rule overrides the earlier one completely. */
function covers(later: Rule, permission: string, pattern: string): boolean {
  const fits = later.permission === '*' || later.permission === permission;
  return fits && (later.pattern === '*' || later.pattern === pattern);
}
