/**
 * The configuration: every key with its default, its bounds and its meaning (contract, "Configuration").
 *
 * docs/configuration.md, `config`, the names of the environment's variables and the loader's "did you mean" are all
 * read from here. Durations are milliseconds and sizes bytes once parsed.
 */
import * as z from 'zod';
import { isQuietHours } from '../lib/quiet-hours.js';
import { MODEL_NAME } from '../watchdog/model-name.js';
import { DEFAULT_POLICY, MAX_COOLDOWN_MS, type Policy } from '../watchdog/policy.js';
import { PROFILE_NAMES } from './profiles.js';
import {
  amount,
  apiVersion,
  choice,
  command,
  count,
  cron,
  duration,
  flag,
  hookCommand,
  list,
  listenAddress,
  optionalCommand,
  optionalText,
  serverUrl,
  size,
  text,
  webhookUrlProblem,
} from './value-types.js';

const P = DEFAULT_POLICY;
const PATH = 'the path of a file';

/** A level of the configuration: refuses keys it does not know, and is complete when nothing is given. */
const group = <S extends z.ZodRawShape>(shape: S) => z.strictObject(shape).prefault({} as never);

const server = group({
  url: serverUrl('http://localhost:4096', 'Where opencode listens.'),
  api: apiVersion(
    'Which opencode speaks there: `1`, `2`, or `auto`: recognised by its answers, again after each loss of the server.',
  ),
  user: optionalText(
    'As root only: the user whose opencode may be adopted, and as whom it is started. Root leaves other users’ processes alone else.',
    'the name or uid of a user',
    /^[\w.][\w.@-]*\$?$/,
  ),
  username: text(
    'opencode',
    'User of the Basic authentication; `OPENCODE_SERVER_USERNAME` sets it too.',
    'a name without a colon',
    /^[^\p{Cc}:]+$/u,
  ),
  passwordFile: optionalText('File that holds the password; see “The password” above.', PATH),
  control: choice(
    ['auto', 'spawn', 'adopt', 'external', 'command', 'docker', 'service', 'observe'],
    'auto',
    'Who starts and stops the server: `auto` adopts one that answers and spawns one where none does; `service` is OpenCode 2’s own background service; `observe` never touches the process.',
  ),
  command: command(
    ['opencode', 'serve'],
    'Command of a spawned server; `--hostname` and `--port` are appended from `server.url`.',
  ),
  directory: text('.', 'Working directory of a spawned server.', 'the path of a directory'),
  startTimeout: duration(60_000, 'From spawn to the first healthy answer.'),
  stopGrace: duration(
    2_000,
    'From SIGTERM to SIGKILL for the whole process tree; 0 = SIGKILL at once.',
    {
      min: 0,
    },
  ),
  onExit: choice(
    ['stop', 'leave'],
    'stop',
    'What becomes of a spawned server when the daemon is told to stop.',
  ),
  restartCommand: optionalCommand(
    'Command that restarts the server; needed with `control: command`.',
  ),
  restartTimeout: duration(60_000, 'How long `restartCommand` may run.'),
  container: optionalText(
    'Name or id of the server’s container; needed with `control: docker`.',
    'the name or id of a container',
    /^[a-zA-Z0-9][\w.-]*$/,
  ),
  dockerSocket: text(
    '/var/run/docker.sock',
    'Socket of the container engine’s API, for `control: docker`.',
    'the path of a socket',
  ),
});

/** Ten thousand million tokens: a large server’s day. */
const TOKENS = { min: 0, max: 10_000_000_000 };

const webhook = z.strictObject(
  {
    url: z
      .string('an http or https URL')
      .superRefine((url, context) => {
        const problem = webhookUrlProblem(url);
        if (problem !== undefined) context.addIssue(problem);
      })
      .optional(),
    urlFile: z.string('the path of a file that holds the URL').min(1).optional(),
    events: z
      .array(
        z
          .string('the name of an event such as session.stuck')
          .regex(/^[a-z]+(\.[a-z_]+)?$/, 'the name of an event such as session.stuck'),
        'a list of event names such as [session.stuck, server.restarted]',
      )
      .min(1, 'at least one event name'),
    format: z
      .enum(
        ['json', 'slack', 'discord', 'ntfy', 'telegram'],
        'one of json, slack, discord, ntfy, telegram',
      )
      .default('json'),
    minLevel: z.enum(['info', 'warn', 'error'], 'one of info, warn, error').default('info'),
    quiet: z
      .string('hours such as "22:00-07:00"')
      .refine(isQuietHours, 'hours such as "22:00-07:00"')
      .optional(),
  },
  'an object with url or urlFile, events, format, minLevel and quiet',
);

export const configSchema = group({
  server,
  watch: group({
    pollInterval: duration(5_000, 'How often `GET /session/status` is asked, each live directory.'),
    heartbeatTimeout: duration(
      30_000,
      'Silence on the event stream that counts as a dead connection.',
    ),
  }),
  retry: group({
    maxAttempts: count(
      P.retry.maxAttempts,
      'So many requests of one step have failed: stuck. `1` is the strict rule: abort at the first retry.',
    ),
    maxDuration: duration(
      P.retry.maxDuration,
      'Or the retry episode is this old, waits for a near time that the provider named left out; 0 = off.',
      { off: true },
    ),
    maxWait: duration(P.retry.maxWait, 'Or the next attempt is further away than this; 0 = off.', {
      off: true,
    }),
  }),
  stall: group({
    maxSilence: duration(
      P.stall.maxSilence,
      'Busy, not waiting, nothing delegated, no tool running, and no progress for this long; 0 = off.',
      { off: true },
    ),
    maxToolTime: duration(P.stall.maxToolTime, 'One tool call running this long; 0 = off.', {
      off: true,
    }),
    maxRunTime: duration(
      P.stall.maxRunTime,
      'One run lasting this long, whatever it does; 0 = off.',
      { off: true },
    ),
  }),
  loop: group({
    action: choice(
      ['abort', 'report', 'off'],
      P.loop.action,
      'What is done about a run that goes round in circles: abort it, only report it, or do not look.',
    ),
    maxEmptySteps: count(
      P.loop.maxEmptySteps,
      'Finished steps in a row with neither text, reasoning nor a tool call, whatever their finish; 0 = off.',
      { min: 0 },
    ),
    maxRepeats: count(
      P.loop.maxRepeats,
      'The same step again, or a cycle of up to 4 steps: same tools, same input, same result (without tools: same text). A step whose tools ran 5s or longer is a poll and does not count; 0 = off.',
      { min: 0 },
    ),
    maxCompactions: count(
      P.loop.maxCompactions,
      'Automatic compactions in a row, at most 2 finished steps apart, without a person’s message between; 0 = off.',
      { min: 0 },
    ),
    maxTextRepeats: count(
      P.loop.maxTextRepeats,
      'The same passage of 200 characters or more, back to back at the end of one answer; 0 = off.',
      { min: 0 },
    ),
    maxRuns: count(
      P.loop.maxRuns,
      'Runs of one session within 5m, each begun less than 2s after the last ended; reported, never aborted; 0 = off.',
      { min: 0 },
    ),
  }),
  budget: group({
    action: choice(
      ['abort', 'report'],
      P.budget.action,
      'What is done about a run when a budget is spent: abort it, or only report it.',
    ),
    warnAt: amount(
      P.budget.warnAt,
      'A share of a limit at which `budget.warning` is said; 0 = off.',
      { max: 1 },
    ),
    run: group({
      cost: amount(
        P.budget.run.cost,
        'US dollars, as opencode reckons them, that one run with its subagents may cost; 0 = off.',
      ),
      tokens: count(P.budget.run.tokens, 'Tokens of one run with its subagents; 0 = off.', TOKENS),
      steps: count(P.budget.run.steps, 'Steps of one run with its subagents; 0 = off.', { min: 0 }),
    }),
    session: group({
      cost: amount(
        P.budget.session.cost,
        'US dollars of a session with its subagents, since it was created; 0 = off.',
      ),
      tokens: count(P.budget.session.tokens, 'Tokens of the same; 0 = off.', TOKENS),
    }),
    day: group({
      cost: amount(
        P.budget.day.cost,
        'US dollars of the whole server, midnight to midnight of the daemon’s time zone; once spent, new runs are aborted at their first step; 0 = off.',
      ),
      tokens: count(P.budget.day.tokens, 'Tokens of the same; 0 = off.', TOKENS),
    }),
  }),
  waiting: group({
    maxDuration: duration(
      P.waiting.maxDuration,
      'A permission or question unanswered this long; 0 = a person may take for ever.',
      { off: true },
    ),
    action: choice(
      ['report', 'reject', 'abort'],
      P.waiting.action,
      'What to do then: only report, answer no (the run goes on), or abort.',
    ),
  }),
  abort: group({
    verifyTimeout: duration(
      P.abort.verifyTimeout,
      'An abort has worked when the session is seen idle within this time; longer where the server answers slowly.',
    ),
    maxTries: count(P.abort.maxTries, 'Then the session is wedged.'),
    dispose: flag(
      P.abort.dispose,
      'A wedged session’s directory is disposed before the server is restarted for it: that ends the runs of this directory alone, and waits for its healthy ones as long as `restart.waitForHealthy`.',
    ),
  }),
  pileup: group({
    minSessions: count(P.pileup.minSessions, 'This many sessions retrying at once …'),
    minDuration: duration(
      P.pileup.minDuration,
      '… each for at least this long: restart. One that waits for a near time that the provider named does not count; 0 = off: no pile-up is looked for.',
      { off: true },
    ),
    rest: duration(
      P.pileup.rest,
      'A pile-up that is back within this time of a pile-up restart is answered by aborts only; 0 = it may restart again.',
      { min: 0 },
    ),
  }),
  probe: group({
    interval: duration(5_000, 'How often `GET /global/health` is asked.'),
    timeout: duration(3_000, 'How long one probe may take.'),
    maxFailures: count(
      P.probe.maxFailures,
      'Consecutive failures before the server is unresponsive; a live event stream outvotes a slow probe.',
    ),
  }),
  restart: group({
    maxRestarts: count(P.restart.maxRestarts, 'In `restart.window`; then the breaker opens.'),
    window: duration(P.restart.window, 'The time over which restarts are counted.'),
    backoff: group({
      initial: duration(
        P.restart.backoff.initial,
        'Pause before a restart is tried again, doubling (0 = no pause) …',
        { min: 0 },
      ),
      max: duration(P.restart.backoff.max, '… to at most this; 0 = no pause.', { min: 0 }),
    }),
    cooldown: duration(
      P.restart.cooldown,
      'The breaker stays open this long, doubling to at most 4h.',
      { max: MAX_COOLDOWN_MS },
    ),
    waitForHealthy: duration(
      P.restart.waitForHealthy,
      'A restart for wedged or piled-up sessions waits this long for healthy runs to end; after that it is made only where it cuts fewer healthy runs than it ends stuck ones; 0 = it does not wait, and compares at once.',
      { min: 0 },
    ),
    giveUp: choice(
      ['hold', 'exit'],
      P.restart.giveUp,
      'With the breaker open: hold and try again after the cooldown, or exit with code 5.',
    ),
  }),
  recycle: group({
    maxMemory: size(
      0,
      'Resident memory of the server’s process tree that leads to a restart; 0 = off.',
    ),
    maxProcesses: count(0, 'Processes of the server’s tree that lead to a restart; 0 = off.', {
      min: 0,
    }),
    schedule: cron('Cron expression of regular restarts, e.g. `"0 4 * * *"`.'),
    drainTimeout: duration(
      30 * 60_000,
      'How long a recycle restart waits for busy sessions to end; 0 = off: it cuts none, and waits as long as that takes.',
      { off: true },
    ),
    waitForPeople: flag(true, 'A session that waits for a person holds the drain too.'),
  }),
  recover: group({
    afterAbort: choice(
      ['none', 'continue'],
      'none',
      'Whether an aborted session is prompted to go on.',
    ),
    afterRestart: choice(
      ['none', 'continue'],
      'none',
      'Whether sessions are continued that a restart interrupted while they were healthy.',
    ),
    afterQuota: choice(
      ['none', 'continue'],
      P.recover.afterQuota,
      'Whether a run that ended for `wait` or `hopeless`, with a known time at which its quota is back, is parked until then and continued.',
    ),
    maxPark: duration(
      P.recover.maxPark,
      'The longest that a run is parked; one whose quota is back later than that is not parked.',
    ),
    orphans: choice(
      ['none', 'end'],
      'none',
      '`end`: sessions that a killed `prompt` or `batch` of this machine left are ended and deleted, as `sweep` does; looked for every 5 minutes.',
    ),
    prompt: text('continue', 'The prompt that continues a session.', 'a prompt', /\S/),
    models: list(
      z.string('a model as "provider/model"').regex(MODEL_NAME, 'a model as "provider/model"'),
      'Fallback chain, "provider/model", for what is continued while its provider fails; shared by all sessions.',
      'a list of models as "provider/model"',
    ),
    maxPerSession: count(2, 'How often one session is continued at most; 0 = never.', { min: 0 }),
    quarantineAfter: count(
      P.recover.quarantineAfter,
      'A session that was at work in so many crashes in a row, without a finished step in between, is continued no more; 0 = off.',
      { min: 0 },
    ),
  }),
  notify: group({
    webhooks: list(
      webhook.refine(
        ({ url, urlFile }) => (url === undefined) !== (urlFile === undefined),
        'either url or urlFile',
      ),
      'Each `{ url or urlFile, events: [session.stuck, …], format: json, slack, discord, ntfy or telegram, minLevel: info, warn or error, quiet: "22:00-07:00" }`. The URLs are treated as secrets.',
      'a list of { url, events, format, minLevel, quiet }',
    ),
    command: hookCommand(
      'Your own program, run for each event that is news, with it as JSON on stdin; see “Notifications” in status.md.',
    ),
  }),
  status: group({
    listen: listenAddress(
      '127.0.0.1:4097',
      'Address of the status endpoint: `host:port`, `unix:/path` or `off`.',
    ),
    tokenFile: optionalText(
      'File that holds the token; else one is made in the state directory. Needed where `listen` is not loopback.',
      PATH,
    ),
    acts: flag(true, '`false`: nobody acts over HTTP.'),
  }),
  log: group({
    level: choice(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal'],
      'info',
      'The least level that is logged.',
    ),
    format: choice(
      ['auto', 'json', 'pretty'],
      'auto',
      '`auto` is readable on a terminal and NDJSON otherwise.',
    ),
    healthInterval: duration(60_000, 'How often each active session and the summary are logged.', {
      min: 1_000,
    }),
  }),
  profile: choice(
    PROFILE_NAMES,
    'default',
    'A set of values below the file’s own: see “Profiles” below.',
  ),
  dryRun: flag(false, 'Say what would be done, and do nothing: own, start and end nothing.'),
});

export type Config = z.output<typeof configSchema>;

/** The part that the state machine decides by. This fails to compile if the schema stops covering `Policy`. */
export function policyOf(config: Config): Policy {
  return config;
}

export function defaultConfig(): Config {
  return configSchema.parse(undefined);
}
