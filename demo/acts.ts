/** The four acts. Each makes something happen, says what can be seen of it, and returns its row of the summary. */
import { waitFor } from '../test/support/wait.js';
import type { LogLine } from './daemon.js';
import type { Narrator, Outcome } from './narrator.js';
import { LIMITS, type Stage } from './stage.js';

type Act = (stage: Stage, narrator: Narrator) => Promise<Outcome>;

/** One piece every 150 ms, until the third act lets it end: it streams during all that is done to its neighbours. */
const LONG_ANSWER = '[[stream-on 150]]';
/** Longer than the demo's `stall.maxSilence`. */
const QUIET_TOOL = '[[bash sleep 21]]';
/** An answer without a body: opencode asks again at once, for ever. */
const RUNAWAY = '[[nothing-forever]]';
/** The provider takes the request and never answers. */
const HANG = '[[hang]]';
/** How long to wait to see that nothing more happens: a runaway asks several times a second. */
const STILL_MS = 3_000;

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const millis = (ms: number | undefined) =>
  ms === undefined ? 'unknown time' : `${Math.round(ms)} ms`;

/** What the daemon logged about a session beyond its health and its good end. */
const trouble = ({ daemon }: Stage, sessionID: string | undefined) =>
  daemon
    .lines({ sessionID })
    .filter(({ event, outcome }) => event !== 'session.health' && outcome !== 'completed');

async function begin({ opencode }: Stage, title: string, directory: string, prompt: string) {
  const session = await opencode.createSession({ directory, title });
  await opencode.promptAsync(session.id, directory, prompt);
  return session;
}

const started = ({ daemon }: Stage, title: string) => daemon.saw('session.health', { title });

const runaway: Act = async (stage, narrator) => {
  const { provider, daemon, directories } = stage;
  narrator.act('Act 1 of 4: a runaway is ended, its neighbours go on');
  narrator.say(
    'Four sessions in two projects. "long answer" streams all the time. "quiet tool" runs `sleep 21`. The provider',
    'answers "hang" never, and "runaway" with nothing: opencode asks again at once, and would do so all night.',
  );
  await begin(stage, 'long answer', directories[0], LONG_ANSWER);
  await begin(stage, 'quiet tool', directories[1], QUIET_TOOL);
  await begin(stage, 'hang', directories[1], HANG);
  const session = await begin(stage, 'runaway', directories[0], RUNAWAY);
  narrator.say(
    '  All are under way; waiting for the rule about steps that hold nothing (`loop.maxEmptySteps`, 10).',
  );
  await daemon.saw('session.stuck', { sessionID: session.id, reason: 'loop' });
  const aborted = await daemon.saw('session.aborted', { sessionID: session.id });
  const asked = provider.count(RUNAWAY);
  const until = Date.now() + STILL_MS;
  await waitFor(() => Date.now() > until, { what: 'a quiet moment', timeout: 60_000 });
  const since = provider.count(RUNAWAY) - asked;
  narrator.told(
    `the provider was asked ${asked} times before the abort, and ${since} times since`,
    since === 0,
  );
  return {
    happened: 'a provider answered with nothing, again and again',
    did: `aborted that run, verified in ${millis(aborted.tookMs)}`,
    evidence: [`provider: ${asked} requests, none after the abort`],
  };
};

const hang: Act = async (stage, narrator) => {
  const { provider, daemon } = stage;
  narrator.act('Act 2 of 4: a hang is ended; a tool that is just as quiet is not');
  narrator.say(
    `No sign of life for ${LIMITS.stall.maxSilence} (default: 10 minutes) and no tool running: that is stuck. "quiet tool" is as silent,`,
    'but its tool runs.',
  );
  const { sessionID } = await started(stage, 'hang');
  await daemon.saw('session.stuck', { sessionID, reason: 'silence' });
  const aborted = await daemon.saw('session.aborted', { sessionID });
  narrator.told(
    `"hang" is aborted, and seen idle after ${millis(aborted.tookMs)}`,
    provider.open(HANG) === 0,
  );
  const quiet = await started(stage, 'quiet tool');
  await daemon.saw('session.health', { sessionID: quiet.sessionID, health: 'idle' });
  // The provider is asked twice: for the call of the tool, and again with the tool's result.
  const [first, second] = provider.about(QUIET_TOOL);
  const silentMs = (second?.at ?? 0) - (first?.at ?? 0);
  narrator.told(
    `"quiet tool" was silent for ${seconds(silentMs)} and then finished, untouched`,
    second !== undefined && !second.aborted && trouble(stage, quiet.sessionID).length === 0,
  );
  return {
    happened: `a provider never answered; a tool was silent for ${seconds(silentMs)}`,
    did: 'aborted the first, and left the second alone',
    evidence: ["the tool's result was sent and answered", 'log: nothing about it but its health'],
  };
};

const frozen: Act = async (stage, narrator) => {
  const { opencode, daemon } = stage;
  const { pid } = stage.firstHealthy;
  narrator.act('Act 3 of 4: a frozen server runs again, with nothing lost');
  if (pid === undefined) throw new Error('the log has named no process to stop');
  narrator.say(`kill -STOP ${pid}: it accepts connections, and answers nothing.`);
  const { sessionID } = await started(stage, 'long answer');
  const streamed = stage.provider.open(LONG_ANSWER) === 1;
  const frozenAt = Date.now();
  process.kill(pid, 'SIGSTOP');
  const continued = await daemon.saw('server.continued', { pid });
  const tookMs = Date.parse(continued.time) - frozenAt;
  narrator.told(
    `it answers again ${millis(tookMs)} later, as the same process`,
    (await opencode.health()).healthy,
  );
  narrator.say('  "long answer" was in the middle of its text. It may come to its end now.');
  stage.provider.end(LONG_ANSWER);
  await daemon.saw('session.health', { sessionID, health: 'idle' });
  const [answer] = stage.provider.about(LONG_ANSWER);
  narrator.told(
    '"long answer" has ended by itself, read to its last word',
    streamed &&
      answer !== undefined &&
      !answer.open &&
      !answer.aborted &&
      trouble(stage, sessionID).length === 0,
  );
  return {
    happened: 'opencode was frozen with SIGSTOP in the middle of an answer',
    did: `let it run again ${millis(tookMs)} later, and restarted nothing`,
    evidence: [`pid ${pid} → ${pid}`, 'the answer was read to its end'],
  };
};

const report: Act = async (stage, narrator) => {
  narrator.act('Act 4 of 4: what happened? The report of the night');
  narrator.say('$ opencode-watchdog report --since 1h', '');
  const text = await stage.daemon.report();
  narrator.say(
    ...text
      .trimEnd()
      .split('\n')
      .map((line) => `    ${line}`),
    '',
  );
  const ended = stage.daemon.lines({ event: 'session.ended' });
  const titles = (outcome: string) =>
    ended.filter((line: LogLine) => line.outcome === outcome).map(({ title }) => title);
  const [aborted, completed] = [titles('aborted'), titles('completed')];
  narrator.told(
    `it names what was ended: ${aborted.join(', ')}`,
    aborted.length === 2 && aborted.every((title) => text.includes(title ?? '?')),
  );
  narrator.told(
    `and counts what went well: ${completed.join(', ')}`,
    completed.length === 2 && text.includes('2 completed'),
  );
  return {
    happened: 'somebody asks in the morning what happened',
    did: 'says it in one screen, with names, reasons and what was done',
    evidence: ['from its own history, also when the daemon is gone'],
  };
};

export const ACTS: readonly Act[] = [runaway, hang, frozen, report];
