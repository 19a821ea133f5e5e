/** Numbers and times as the page says them. */

/** Worst first. */
export const HEALTHS = [
  'wedged',
  'stuck',
  'stalled',
  'looping',
  'retrying',
  'delegating',
  'waiting',
  'busy',
  'idle',
];

/** How a run ended, as the page says it. */
export const ENDED = {
  completed: 'finished',
  empty: 'ended with nothing said or done',
  truncated: 'ended in the middle of an answer',
  failed: 'failed',
  aborted: 'aborted',
  aborted_elsewhere: 'aborted by somebody else',
  interrupted: 'interrupted',
};

/** The letters of a timeline (see src/status/health-timeline.ts). */
export const LETTERS = {
  i: 'idle',
  b: 'busy',
  w: 'waiting',
  d: 'delegating',
  r: 'retrying',
  l: 'looping',
  x: 'stalled',
  s: 'stuck',
  W: 'wedged',
};

/** `42 s`, `7 min`, `3 h 5 min`, `2 d 4 h`. */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0
    ? `${Math.floor(hours / 24)} d`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `2 min 10 s`: what is measured against a limit. */
export function exactly(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60 || seconds >= 3600 || seconds % 60 === 0) return span(ms);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Short times exactly: how long an abort or a restart took. */
export function took(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : span(ms);
}

export function bytes(amount) {
  const mebibytes = amount / 1024 ** 2;
  return mebibytes < 1024 ? `${Math.round(mebibytes)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
}

/** `$1.25`, or `12,000 tokens` where the model has no price. */
export function spent({ costUsd = 0, tokens = 0 }) {
  if (costUsd >= 0.01) return `$${costUsd.toFixed(2)}`;
  return tokens > 0 ? `${tokens.toLocaleString('en')} tokens` : '';
}

/** What the runs of these rows have cost, in US dollars. A run's cost has its subagents' in it. */
export function costOf(rows) {
  const ids = new Set(rows.map(({ id }) => id));
  return rows
    .filter(({ parentID }) => !ids.has(parentID))
    .reduce((sum, { costUsd = 0 }) => sum + costUsd, 0);
}

export function clock(time) {
  return new Date(time).toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
}

export function clockSeconds(time) {
  return new Date(time).toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
}

/** `1 session`, `3 sessions`. */
export function counted(amount, noun) {
  return `${amount === 0 ? 'no' : amount} ${noun}${amount === 1 ? '' : 's'}`;
}

/** An element with text or children; attributes by name. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== ''));
  return element;
}

/** Sets text only where it differs: what is the same costs no layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Why a session is stuck or was aborted, in words (docs/glossary.md, "Reasons"). */
export const REASONS = {
  manual: 'a person’s wish',
  attempts: 'too many attempts',
  duration: 'retrying too long',
  wait: 'a next attempt too far away',
  hopeless: 'an error that no retry can mend',
  silence: 'silence',
  tool_time: 'a tool running too long',
  run_time: 'a run lasting too long',
  waiting: 'a request left unanswered',
  loop: 'going round in circles',
  budget: 'a budget that is spent',
  ghost: 'a run that outlived its deleted session',
  pileup: 'a pile-up',
};

export const reasonWords = (reason) => REASONS[reason] ?? reason.replaceAll('_', ' ');

/** The last part of a directory: what people call the project. */
export const projectOf = (directory = '') => directory.split('/').filter(Boolean).at(-1) ?? '';

/** Outcomes after which somebody should look. */
const BAD_ENDS = new Set(['empty', 'truncated', 'failed', 'aborted', 'interrupted']);

/** `idle` hides that a run went wrong: such a session is none of the quiet ones. */
export const endedBadly = ({ health, outcome, quarantined }) =>
  health === 'idle' && (BAD_ENDS.has(outcome) || quarantined === true);

/** What only a person, or patience, can change. */
const ALARMING = new Set(['wedged', 'stuck', 'looping', 'stalled', 'retrying', 'waiting']);
export const needsAttention = ({ health }) => ALARMING.has(health);

/** Who ended a run that was aborted on request, or cut. */
const ENDERS = {
  page: 'from this page',
  command: 'by a command',
  http: 'by a request over HTTP',
  stop: 'by the end of the daemon',
  dispose: 'as its project was loaded anew',
  elsewhere: 'by somebody else',
};

/** `finished`, `aborted (a loop)`, `failed: bad key`, `cut by the restart of 19:50 (exited)`. */
export function endedWords({ outcome, reason, message, endedAt, endedBy }) {
  if (outcome === undefined) return '';
  const why = message === undefined ? '' : `: ${message}`;
  if (outcome === 'interrupted') {
    const when = endedAt === undefined ? '' : ` at ${clock(endedAt)}`;
    if (endedBy === undefined) return `cut${when}${why}`;
    return `cut${when} ${ENDERS[endedBy] ?? `by a restart (${endedBy})`}${why}`;
  }
  const words = ENDED[outcome] ?? outcome;
  if (reason === 'manual') return `${words} ${ENDERS[endedBy] ?? 'on request'}${why}`;
  return `${words}${reason === undefined ? '' : ` (${reasonWords(reason)})`}${why}`;
}

/** What a session does or waits for, measured against its limits. */
export function doingWords(row, limits, at) {
  const { health, waitingFor, waitingSince, question, reason, attempt, message, tool } = row;
  if (row.quarantined && health === 'idle') {
    return 'quarantined after crashes, waits for your prompt';
  }
  if (row.parkedUntil !== undefined) {
    const left = row.parkedUntil - at;
    return `parked until ${clock(row.parkedUntil)}, ${left > 0 ? `for ${span(left)}` : 'about to go on'}`;
  }
  if (health === 'idle') return endedWords(row);
  const of = (limit) => (limit > 0 ? ` of ${span(limit)}` : '');
  const parts = [
    waitingFor === undefined
      ? ''
      : `waits for a person to answer a ${waitingFor}${waitingSince === undefined ? '' : `, for ${exactly(at - waitingSince)}`}`,
    question ?? '',
    reason === undefined ? '' : `over the limit: ${reasonWords(reason)}`,
    attempt === undefined ? '' : `attempt ${attempt} of ${limits.maxAttempts}`,
    message ?? '',
    tool === undefined
      ? ''
      : `${tool}${row.toolInput === undefined ? '' : ` ${row.toolInput}`}${
          row.toolSince === undefined
            ? ''
            : ` for ${exactly(at - row.toolSince)}${of(limits.maxToolTimeMs)}`
        }`,
    health === 'delegating' ? 'its subagent works' : '',
    row.quietSince !== undefined && at - row.quietSince >= QUIET_WORTH_MS && health !== 'delegating'
      ? `quiet for ${exactly(at - row.quietSince)}${of(limits.maxSilenceMs)}`
      : '',
  ];
  return parts.filter(Boolean).join(' · ');
}

/** A silence shorter than this says nothing. */
const QUIET_WORTH_MS = 10_000;

/** Cost, steps, files: what the run has come to. */
export function costWords(row) {
  const { steps = 0, filesChanged = 0 } = row;
  return [
    spent(row),
    steps > 0 ? counted(steps, 'step') : '',
    filesChanged > 0 ? `${counted(filesChanged, 'file')} changed` : '',
  ]
    .filter(Boolean)
    .join(' · ');
}
