/** How `--help` is laid out: commands in groups, and examples after each. */

export const GROUPS: Readonly<Record<string, readonly string[]>> = {
  'Watch:': ['run', 'service', 'check', 'healthcheck'],
  'See what is, and what was:': ['status', 'page', 'report', 'sessions', 'messages', 'models'],
  'Act by hand:': ['abort', 'delete', 'restart', 'pause', 'resume'],
  'Drive opencode from scripts:': ['prompt', 'batch', 'create', 'send', 'wait', 'sweep', 'mcp'],
  'Set up, and look into:': ['config', 'notify', 'replay', 'completion'],
};

/** The words after `opencode-watchdog`, and what they do. */
type Example = readonly [words: string, does: string];

export const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  '': [
    ['', 'watch localhost:4096; start opencode there where none answers'],
    ['run --dry-run', 'only say what would be done'],
    ['status --watch', 'how it is now, refreshed in place'],
    ['report --since 12h', 'what happened last night'],
    ['help prompt', 'all about one command'],
  ],
  run: [
    ['run', 'watch localhost:4096'],
    ['run --url http://127.0.0.1:4100 --dry-run', 'another server, and do nothing to it'],
    ['run --profile unattended', 'with the limits for a night without people'],
    ['run --record night.ndjson', 'so that "replay night.ndjson" can explain it later'],
  ],
  check: [
    ['check', 'before the first start'],
    ['check --unattended', 'what may stop at night to ask a person'],
  ],
  replay: [
    ['replay night.ndjson', 'every decision again'],
    ['replay night.ndjson --diff new.yaml', 'what another configuration would have decided'],
  ],
  prompt: [
    ['prompt "Say hello"', 'with the model that opencode would choose'],
    ['prompt --model anthropic/claude-sonnet-4-5 --timeout 10m "Fix the build"', ''],
    ['prompt --context plan.md --directory ~/shop - < task.txt', 'a plan, then a task from stdin'],
  ],
  batch: [['batch tasks.yaml --output results.ndjson --resume', 'go on where it was stopped']],
  create: [['create --title "Nightly" --directory ~/shop', '']],
  send: [['send ses_… "And now the tests"', '']],
  wait: [['wait ses_… --timeout 30m', '']],
  sessions: [
    ['sessions --active', 'only what is at work'],
    ['sessions --limit 5 --json', ''],
  ],
  models: [['models --all', '']],
  messages: [['messages ses_… --limit 3 --format markdown', '']],
  abort: [['abort ses_…', '']],
  delete: [['delete ses_…', '']],
  sweep: [['sweep --dry-run', 'what would be ended']],
  mcp: [['mcp --url http://127.0.0.1:4100', 'as an agent is told to start it (docs/driver.md)']],
  status: [
    ['status', 'once'],
    ['status --watch', 'refreshed in place: q ends it, / searches, arrows scroll'],
    ['status --json', 'for a program (docs/json.md)'],
  ],
  report: [
    ['report', 'the last 12 hours'],
    ['report --since 2026-11-28T22:00 --format markdown', 'for a chat'],
    ['report --incident 1795338897', 'one incident with its evidence'],
    ['report watchdog.log', 'of a log, also on stdin: … | opencode-watchdog report -'],
  ],
  notify: [['notify test', '']],
  page: [['page --open', '']],
  service: [
    ['service install', 'for the logged-in user'],
    ['service logs --follow', ''],
  ],
  config: [
    ['config --changed', 'only what is not as the defaults are'],
    ['config --check', 'after an edit'],
    ['config trust', 'a file of the working directory, as it is now'],
  ],
  completion: [['completion bash > /etc/bash_completion.d/opencode-watchdog', '']],
};

export function groupOf(name: string): string {
  return Object.entries(GROUPS).find(([, names]) => names.includes(name))?.[0] ?? 'Other:';
}

/** @param name of the command; '' for the program */
export function examplesOf(name: string): string {
  const lines = (EXAMPLES[name] ?? []).map(
    ([words, does]) => [`opencode-watchdog ${words}`.trimEnd(), does] as const,
  );
  if (lines.length === 0) return '';
  const width = Math.min(52, Math.max(...lines.map(([line]) => line.length)));
  const rows = lines.map(([line, does]) =>
    does === ''
      ? `  ${line}`
      : line.length > width
        ? `  ${line}\n  ${' '.repeat(width)}  ${does}`
        : `  ${line.padEnd(width)}  ${does}`,
  );
  return `\nExamples:\n${rows.join('\n')}`;
}
