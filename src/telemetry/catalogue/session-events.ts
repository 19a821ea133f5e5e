/** The catalogue's entries about sessions and their providers. */
import type { InterruptedBy, ParkedEnd, RunOutcome, WedgedNext } from '../../watchdog/decision.js';
import { aside, counted, listed, phrase, time } from '../number-text.js';
import { REASON_WORDS } from '../reason-words.js';
import type { CatalogueOf, EventFields, EventName } from './events.js';
import { named } from './session-name.js';

type SessionEvent = Extract<EventName, `${'session' | 'provider' | 'budget'}.${string}`>;

const REASON =
  'why it counts as stuck: attempts, duration, wait, hopeless, silence, tool_time, run_time, waiting, ghost, loop, budget or pileup';
const ABORT_REASON = `${REASON}; manual where a person asked for it`;
const RESTART_REASON =
  'why the server was restarted: pileup, wedged, unresponsive, exited, memory, processes, schedule or manual';
const HEALTH = 'idle, busy, waiting, delegating, retrying, looping, stalled, stuck or wedged';

const LOOP_KIND =
  'of a loop: empty (steps that hold nothing), repeat (the same steps again), compaction, text (the same passage again) or runs (a program prompts at every end)';

const BUDGET_FIELDS = {
  budget: 'whose: run, session or day (the whole server)',
  unit: 'cost (US dollars), tokens or steps',
  value: 'what is spent',
  limit: 'what may be spent',
};

export const sessionEvents: CatalogueOf<SessionEvent> = {
  'session.health': {
    level: 'info',
    when: 'every `log.healthInterval` for each active session, and at every change of health',
    fields: {
      health: HEALTH,
      previous: 'the health before, at a change',
      forMs: 'how long it has had this health',
      attempt: 'opencode’s retry attempt counter',
      model: 'provider/model of the run',
      tool: 'the tool that runs',
      silentMs:
        'since the last sign of life; absent where silence says nothing: it retries, waits for a person, or a tool runs',
      costUsd: 'what the run has cost with its subagents, US dollars as opencode reckons them',
      tokens: 'tokens of the run with its subagents',
    },
    message: (f) =>
      `Session ${named(f)} is ${f.health}${f.previous === undefined ? '' : `, was ${f.previous}`}${aside(
        phrase(
          f.previous === undefined && `for ${time(f.forMs)}`,
          f.attempt !== undefined && `attempt ${f.attempt}`,
          f.tool !== undefined && `tool ${f.tool}`,
          f.model !== undefined && `on ${f.model}`,
        ),
      )}.`,
  },
  'session.looping': {
    level: 'warn',
    when: 'half of a limit of `loop` is reached',
    fields: {
      kind: LOOP_KIND,
      count: 'how often in a row',
      limit: 'at how many it counts as stuck',
      tool: 'the tool that is called again and again',
    },
    message: (f) =>
      `Session ${named(f)} seems to go round in circles: ${loopText(f.kind, f.count, f.tool)}, limit ${f.limit}.`,
  },
  'session.stuck': {
    level: 'warn',
    when: 'a limit is crossed',
    fields: {
      reason: REASON,
      kind: `${LOOP_KIND}; of a budget: run, session or day`,
      unit: 'of a budget: cost (US dollars), tokens or steps',
      limit:
        'the limit that was crossed, in ms; a count where `reason` is attempts or loop; in `unit` of a budget',
      value: 'what was measured against it, in the same unit',
      attempt: 'requests of this step that have failed (opencode’s attempt counter)',
      message: 'what opencode says about the retry',
      nextAt: 'when opencode would try again (ISO 8601)',
      episodeMs: 'age of the retry episode',
      tool: 'the tool that runs',
    },
    message: (f) => `Session ${named(f)} is stuck: ${stuckBecause(f)}${aside(f.message?.trim())}.`,
  },
  'session.aborting': {
    level: 'warn',
    when: 'the watchdog decides to abort',
    fields: { reason: ABORT_REASON, try: 'which try this is, from 1' },
    message: (f) =>
      `Aborting session ${named(f)}${f.try > 1 ? `, try ${f.try},` : ''} because of ${REASON_WORDS[f.reason]}.`,
    would: (f) => `Would abort session ${named(f)} because of ${REASON_WORDS[f.reason]}.`,
  },
  'session.aborted': {
    level: 'info',
    when: 'the session was seen idle after the abort',
    fields: {
      reason: ABORT_REASON,
      try: 'the try that worked',
      tookMs: 'from sending the abort to the proof',
    },
    message: (f) =>
      `Session ${named(f)} is aborted (${REASON_WORDS[f.reason]}): seen idle after ${time(f.tookMs)}${f.try > 1 ? `, at try ${f.try}` : ''}.`,
  },
  'session.abort_failed': {
    level: 'warn',
    when: 'the abort was not seen to work within `abort.verifyTimeout`',
    fields: { reason: ABORT_REASON, try: 'the try that failed', error: 'what went wrong' },
    message: (f) => `Abort of session ${named(f)} failed at try ${f.try}: ${f.error}.`,
  },
  'session.wedged': {
    level: 'error',
    when: '`abort.maxTries` aborts did not work; said again where `next` becomes another',
    fields: {
      reason: REASON,
      tries: 'aborts tried',
      next: 'dispose (of its directory), restart, or nothing: that would cut as many healthy runs or more, or is not ours to do, and a person must see to it',
    },
    message: (f) =>
      `Session ${named(f)} is wedged: ${counted(f.tries, 'abort')} did not end its run${WEDGED_NEXT[f.next]}.`,
  },
  'session.waiting': {
    level: 'info',
    when: 'a permission or question is pending',
    fields: { on: 'permission or question', requestID: 'id of the request' },
    message: (f) => `Session ${named(f)} waits for a person to answer a ${f.on}.`,
  },
  'session.answered': {
    level: 'info',
    when: 'the permission or question is answered',
    fields: {
      on: 'permission or question',
      requestID: 'id of the request',
      by: 'person or watchdog',
      forMs: 'how long it was pending',
      overdue:
        'how many other requests of the session are unanswered for longer than `waiting.maxDuration`; absent if none',
    },
    message: (f) =>
      `The ${f.on} of session ${named(f)} was answered by ${f.by === 'person' ? 'a person' : 'the watchdog'} after ${time(f.forMs)}.`,
  },
  'session.recovered': {
    level: 'info',
    when: 'a retry episode or a silence ended by itself',
    fields: {
      reason: 'the limit it had crossed, where it had crossed one',
      attempts: 'requests that failed in the episode',
      episodeMs: 'how long the episode lasted',
    },
    message: (f) =>
      `Session ${named(f)} recovered by itself after ${time(f.episodeMs)}${f.attempts > 0 ? ` and ${counted(f.attempts, 'failed request')}` : ''}.`,
  },
  'session.ended': {
    level: {
      of: (f) =>
        f.outcome === 'completed' || (f.outcome === 'aborted_elsewhere' && f.together === undefined)
          ? 'info'
          : 'warn',
      words:
        'info where it completed or one session alone was aborted elsewhere (a person’s Esc), else warn',
    },
    when: 'every end of a run, once',
    fields: {
      outcome:
        'completed; empty (no text, no file changed, no tool called); truncated (the model stopped at its length or filter, or its answer has no known end); failed; aborted (by the watchdog); aborted_elsewhere (by a person or a program); interrupted (by a restart, a dispose, or with tool results that the model never got)',
      reason: `of aborted: ${REASON}`,
      finish: 'why the model stopped in its last step, in opencode’s word',
      steps: 'its own finished steps',
      tools: 'tool calls of these steps',
      toolErrors: 'how many of them failed',
      costUsd: 'cost of the run with its subagents, US dollars as opencode reckons them',
      tokens: 'tokens of the run with its subagents',
      tookMs: 'from its beginning to its end',
      error: 'of failed: what opencode reported',
      together: 'of several runs of one directory that were aborted in the same moment: how many',
    },
    message: (f) =>
      `The run of session ${named(f)} ${ENDED[f.outcome]}${
        f.reason === undefined ? '' : `, because of ${REASON_WORDS[f.reason]},`
      } after ${time(f.tookMs)}${aside(
        listed(
          counted(f.steps, 'step'),
          counted(f.tools, 'tool call'),
          f.toolErrors > 0 && `${f.toolErrors} failed`,
          f.costUsd > 0 && spentText('cost', f.costUsd),
          f.tokens > 0 && spentText('tokens', f.tokens),
          f.finish !== undefined && f.outcome !== 'completed' && `finish ${f.finish}`,
        ),
      )}${f.error === undefined ? '' : `: ${f.error}`}.`,
  },
  'session.failed': {
    level: 'warn',
    when: 'opencode ended the run with an error',
    fields: {
      error: 'what opencode reported',
      statusCode: 'HTTP status of the provider',
      attempts: 'requests that had failed before it',
    },
    message: (f) =>
      `The run of session ${named(f)} failed${f.attempts > 0 ? ` after ${counted(f.attempts, 'failed request')}` : ''}: ${f.error}${aside(f.statusCode === undefined ? undefined : `status ${f.statusCode}`)}.`,
  },
  'session.interrupted': {
    level: 'warn',
    when: 'a restart, a dispose or somebody else cut this session’s run',
    fields: {
      by: 'stop (of the daemon, and its server with it); restart; dispose (its directory was disposed: by the watchdog for a wedged session, or as by a reload of opencode’s configuration); elsewhere (several runs of the directory were aborted at once, and nothing says by whom)',
      restartReason: RESTART_REASON,
      health: `its health before: ${HEALTH}`,
    },
    message: (f) =>
      `${CUT[f.by](f.restartReason)} the run of session ${named(f)}, which was ${f.health}.`,
  },
  'session.continue_failed': {
    level: 'warn',
    when: '`recover` prompted the session again, and no run began',
    fields: {
      model: 'provider/model that was asked for',
      count: 'how often this session was continued',
      error: 'why, as far as it is known',
    },
    message: (f) => `Session ${named(f)} could not be continued: ${f.error}.`,
  },
  'session.unwatched': {
    level: 'error',
    when: 'more sessions are active at once than can be watched (docs/limits.md); said at most once a minute',
    fields: { watched: 'sessions that are active and watched' },
    message: (f) =>
      `Session ${named(f)}, and perhaps others, is not watched: ${f.watched} are active already, and that is the limit. It is watched as soon as one of them ends.`,
  },
  'session.quarantined': {
    level: 'error',
    when: 'the session was at work in `recover.quarantineAfter` crashes of the server in a row, without a finished step in between: it is not continued until a person prompts it',
    fields: { crashes: 'crashes in a row' },
    message: (f) =>
      `Session ${named(f)} is quarantined: it was at work in ${f.crashes === 1 ? 'a crash' : `${f.crashes} crashes`} of the server in a row, and is not continued until a person prompts it.`,
  },
  'session.parked': {
    level: 'info',
    when: '`recover.afterQuota`: the run ended because its quota is spent, and waits until it is back; said again by a daemon that finds it parked',
    fields: { until: 'when its quota is back (ISO 8601)' },
    message: (f) =>
      `Session ${named(f)} is parked: its quota is back ${f.untilInMs > 0 ? `in ${time(f.untilInMs)}` : 'by now'}, and it is told to go on then.`,
  },
  'session.unparked': {
    level: {
      of: (f) => (f.outcome === 'let_go' ? 'warn' : 'info'),
      words: 'warn where it was let go, else info',
    },
    when: 'a parked run waits no more',
    fields: {
      outcome:
        'continued; superseded (its person came back, or a program); let_go (after `recover.maxPark`, where it could not be continued, or where its session was aborted by a person or deleted)',
    },
    message: (f) => `Session ${named(f)} is parked no more: ${UNPARKED[f.outcome]}.`,
  },
  'session.continued': {
    level: 'info',
    when: '`recover` prompted the session again',
    fields: {
      model: 'provider/model of the new run',
      count: 'how often this session was continued',
    },
    message: (f) =>
      `Session ${named(f)} was told to go on${f.model === undefined ? '' : ` with ${f.model}`} (${f.count} so far).`,
  },
  'budget.warning': {
    level: 'warn',
    when: '`budget.warnAt` of a budget is spent',
    fields: BUDGET_FIELDS,
    message: (f) => `${budgetText(f)}: that is ${Math.round((100 * f.value) / f.limit)} % of it.`,
  },
  'budget.exceeded': {
    level: 'error',
    when: 'a budget is spent',
    fields: BUDGET_FIELDS,
    message: (f) =>
      `${budgetText(f)}: the budget is spent. What the step under way still costs comes on top.`,
  },
  'budget.unpriced': {
    level: 'warn',
    when: 'a budget of cost is set and the model has no price; once for each model',
    fields: {
      model: 'provider/model',
      tokens: 'what the run has spent so far',
      isBounded: 'whether a budget of tokens is set',
    },
    message: (f) =>
      `opencode knows no price of ${f.model}: no budget of cost bounds its runs, ${
        f.isBounded ? 'those of tokens do' : 'and no budget of tokens is set'
      }.`,
  },
  'provider.outage': {
    level: 'warn',
    when: 'several sessions fail on one provider',
    fields: {
      provider: 'id of the provider',
      model: 'id of the model',
      sessions: 'sessions that fail on it',
      message: 'what opencode says about the retries',
    },
    message: (f) =>
      `Provider ${f.provider} is failing ${counted(f.sessions, 'session')} on ${f.model}${aside(f.message.trim())}.`,
  },
  'provider.back': {
    level: 'info',
    when: 'a run on the provider goes on again',
    fields: {
      provider: 'id of the provider',
      model: 'id of the model',
      outageMs: 'how long the outage lasted',
    },
    message: (f) => `Provider ${f.provider} answers again on ${f.model} after ${time(f.outageMs)}.`,
  },
};

const WEDGED_NEXT: Readonly<Record<WedgedNext, string>> = {
  dispose: '; its directory is disposed next',
  restart: '; the server is restarted next',
  nothing:
    ', and what is left would cut more than it ends or is not the watchdog’s to do: a person must restart opencode when its other runs can be spared',
};

const UNPARKED: Readonly<Record<ParkedEnd, string>> = {
  continued: 'its quota is back, and it was told to go on',
  superseded: 'somebody uses it again',
  let_go: 'it is not continued any more',
};

const ENDED: Readonly<Record<RunOutcome, string>> = {
  completed: 'is completed',
  empty: 'ended without any text, file change or tool call',
  truncated: 'ended in the middle of an answer',
  failed: 'failed',
  aborted: 'was aborted by the watchdog',
  aborted_elsewhere: 'was aborted by somebody else',
  interrupted: 'was cut before its work was done',
};

const BUDGET_OF: Readonly<Record<string, string>> = {
  run: 'the run',
  session: 'the session',
  day: 'the whole server today',
};

/** `$1.25`, `12,000 tokens`, `40 steps`. */
function spentText(unit: string | undefined, amount: number): string {
  if (unit === 'cost') return `$${amount.toFixed(2)}`;
  return `${Math.round(amount).toLocaleString('en')} ${unit ?? ''}`.trim();
}

function budgetText(f: EventFields['budget.warning']): string {
  const whose =
    f.budget === 'day'
      ? 'The server today'
      : `Session ${named(f)}${f.budget === 'run' ? ', in this run' : ''}`;
  return `${whose} has spent ${spentText(f.unit, f.value)} of ${spentText(f.unit, f.limit)}`;
}

function loopText(kind: string | undefined, count: number, tool: string | undefined): string {
  switch (kind) {
    case 'empty':
      return `${count} steps in a row held nothing`;
    case 'compaction':
      return `${count} compactions in a row`;
    case 'text':
      return `the same passage ${count} times in one answer`;
    case 'runs':
      return `${count} runs in five minutes, each begun at the end of the last`;
    default:
      return `the same ${tool === undefined ? 'step' : `call of ${tool}`} with the same result ${count} times`;
  }
}

/** The measured value with its limit, in words. */
function stuckBecause(f: EventFields['session.stuck']): string {
  const overLimit = `${time(f.value)}, limit ${time(f.limit)}`;
  switch (f.reason) {
    case 'attempts':
      return `${counted(f.value, 'request')} ${f.value === 1 ? 'has' : 'have'} failed, limit ${f.limit}`;
    case 'duration':
      return `retrying for ${overLimit}`;
    case 'wait':
      return `the next attempt is ${time(f.value)} away, limit ${time(f.limit)}`;
    case 'hopeless':
      return 'no retry can mend this error';
    case 'silence':
      return `busy without a sign of life for ${overLimit}`;
    case 'tool_time':
      return `${f.tool === undefined ? 'a tool' : `tool ${f.tool}`} has been running for ${overLimit}`;
    case 'run_time':
      return `its run has lasted ${overLimit}`;
    case 'waiting':
      return `a request has waited for an answer for ${overLimit}`;
    case 'ghost':
      return 'it was deleted, but its run goes on';
    case 'loop':
      return `${loopText(f.kind, f.value, f.tool)}, limit ${f.limit}`;
    case 'budget':
      return `${BUDGET_OF[f.kind ?? ''] ?? 'it'} has spent ${spentText(f.unit, f.value)} of ${spentText(f.unit, f.limit)}`;
    case 'pileup':
      return `it is part of a pile-up, retrying for ${time(f.value)}`;
    default: {
      const unknown: never = f.reason;
      return String(unknown);
    }
  }
}

const CUT: Readonly<Record<InterruptedBy, (reason: string | undefined) => string>> = {
  stop: () => 'The end of the daemon, and of its server, cut',
  restart: (reason) => `A restart${aside(reason)} cut`,
  dispose: () => 'A dispose of its directory cut',
  elsewhere: () => 'Together with others of its directory, and not by the watchdog, was cut',
};
