/** What is wrong with a configuration: every problem of one run, each with key, value, expectation and source. */
import { printable } from '../lib/printable.js';
import { maskUserinfo } from '../lib/redaction.js';

export interface Problem {
  /** Key path, environment variable or file that the problem is about. */
  key: string;
  /**
   * The offending value in a form that may be shown (masked if it could be secret). Undefined if the value is not what
   * is wrong.
   */
  value?: string | undefined;
  /** One phrase: what would have been right. */
  expected: string;
  /** Where it was written: `file /etc/x.yaml:3`, `environment OPENCODE_API_URL`, `flag --url`. */
  source: string;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(describeProblems(problems));
    this.problems = problems;
  }
}

/** All problems, aligned, one a line: for a terminal and for the error's message. */
function describeProblems(problems: readonly Problem[]): string {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  const shown = problems.slice(0, MAX_PROBLEMS);
  const width = Math.min(40, Math.max(0, ...shown.map((p) => p.key.length)));
  const lines = shown.map((p) => {
    const found = p.value === undefined ? '' : `is ${p.value}; `;
    const line = `${p.key.slice(0, MAX_KEY_CHARS).padEnd(width)}  ${found}expected ${p.expected}  (${p.source})`;
    // A key of the file may hold a line break or a terminal's control sequence.
    return `  ${printable(line, 'line')}`;
  });
  const more = problems.length - shown.length;
  const rest = more === 0 ? [] : [`  … and ${more} more`];
  return [`${count} in the configuration:`, ...lines, ...rest].join('\n');
}

/**
 * Problems of the configuration that one message names. Nobody reads further, and a file of another program has
 * thousands. At the limit: the rest is counted.
 */
export const MAX_PROBLEMS = 100;
/** A key in a message about the configuration. At the limit: it is cut. */
const MAX_KEY_CHARS = 200;
/** Characters of a value in a message about the configuration. At the limit: it is cut. */
export const MAX_SHOWN = 120;

/** A value as a message shows it: JSON, one line, without userinfo, bounded. */
export function showValue(value: unknown): string {
  let text: string;
  try {
    text = maskUserinfo(JSON.stringify(value) ?? String(value));
  } catch {
    // A YAML alias can refer to its own parent; such a value has no JSON.
    text = 'a value that contains itself';
  }
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
