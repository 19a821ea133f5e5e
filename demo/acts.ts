/** The four acts. Each makes something happen, says what is seen, and returns its row of the summary. */
import { isAlive } from '../test/support/processes.js';
import { waitFor } from '../test/support/wait.js';
import type { Narrator, Outcome } from './narrator.js';
import type { Stage } from './stage.js';

type Act = (stage: Stage, narrator: Narrator) => Promise<Outcome>;

/** 300 pieces, 150 ms apart: long enough to span most of the first two acts on a slow machine, too. */
const LONG_ANSWER = '[[stream 300 150]]';
/** Longer than `stall.maxSilence` of the demo. */
const QUIET_TOOL = '[[bash sleep 12]]';
const RATE_LIMITED = '[[429]]';
const UNAVAILABLE = '[[503]]';

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
const millis = (ms: number | undefined) =>
  ms === undefined ? 'unknown time' : `${Math.round(ms)} ms`;

/** Everything the daemon logged about a session, except how it is. */
const problems = ({ daemon }: Stage, sessionID: string | undefined) =>
  daemon.lines({ sessionID }).filter(({ event }) => event !== 'session.health');

async function begin({ opencode }: Stage, title: string, directory: string, prompt: string) {
  const session = await opencode.createSession({ directory, title });
  await opencode.promptAsync(session.id, directory, prompt);
  return session;
}

const healthyWork: Act = async (stage, narrator) => {
  const { provider, daemon, directories } = stage;
  narrator.act('Act 1 of 4: healthy work is left alone');
  narrator.say(
    'Two sessions. "long answer" streams text for 45 s. "quiet tool" runs `sleep 12`: not a sign of life',
    'for 12 s, longer than the limit on silence (8 s here; default: 10 minutes). But a tool is running.',
  );
  const quiet = await begin(stage, 'quiet tool', directories[1], QUIET_TOOL);
  const longAnswer = await begin(stage, 'long answer', directories[0], LONG_ANSWER);
  narrator.say('  Both are under way; waiting for "quiet tool" to finish.');
  await daemon.saw('session.health', { sessionID: quiet.id, health: 'idle' });

  // The provider is asked twice: for the call of the tool, and again with the tool's result.
  const [first, second] = provider.about(QUIET_TOOL);
  const silentMs = (second?.at ?? 0) - (first?.at ?? 0);
  const completed = second !== undefined && !second.open && !second.aborted;
  narrator.told(`"quiet tool" was silent for ${seconds(silentMs)} and then finished`, completed);
  narrator.told('"long answer" is still streaming', provider.open(LONG_ANSWER) === 1);
  narrator.told(
    'the watchdog did nothing to either: its log has only their health',
    problems(stage, quiet.id).length === 0 && problems(stage, longAnswer.id).length === 0,
  );
  return {
    happened: `a long answer; a tool silent for ${seconds(silentMs)}`,
    did: 'nothing: both were left alone',
    evidence: [
      'log: nothing but their health',
      "provider: the tool's result was sent and answered",
    ],
  };
};

const stuckSession: Act = async (stage, narrator) => {
  const { provider, opencode, daemon, directories } = stage;
  narrator.act('Act 2 of 4: a stuck session is aborted, its neighbour goes on');
  narrator.say(
    'The provider answers every request of "rate-limited" with 429. opencode tries again and again; at attempt 3',
    '(default: 5) the watchdog calls that stuck.',
  );
  // From the first act, and still at it.
  const { sessionID: longAnswer } = await daemon.saw('session.health', { title: 'long answer' });
  const stuck = await begin(stage, 'rate-limited', directories[0], RATE_LIMITED);
  const decision = await daemon.saw('session.stuck', { sessionID: stuck.id });
  const aborted = await daemon.saw('session.aborted', { sessionID: stuck.id });
  const asked = provider.count(RATE_LIMITED);
  const status = await opencode.status(directories[0]);
  narrator.told(
    `opencode no longer lists it as running, ${millis(aborted.tookMs)} after the abort was sent`,
    !(stuck.id in status),
  );
  narrator.told('"long answer" is still streaming', provider.open(LONG_ANSWER) === 1);

  // What does not happen can be seen only by its hour passing; opencode had announced that hour.
  const due = Date.parse(decision.nextAt ?? '') + 1000;
  narrator.say(
    `  opencode had announced its next attempt for ${clock(decision.nextAt)}: waiting until that has passed.`,
  );
  await waitFor(() => Date.now() > due, { what: 'the announced attempt', timeout: 60_000 });
  narrator.told(
    `the provider was asked ${asked} times before the abort, and ${provider.count(RATE_LIMITED) - asked} times since`,
    provider.count(RATE_LIMITED) === asked,
  );

  await daemon.saw('session.health', { sessionID: longAnswer, health: 'idle' });
  const [answer] = provider.about(LONG_ANSWER);
  narrator.told(
    '"long answer" has ended by itself, read to its last word',
    answer !== undefined &&
      !answer.open &&
      !answer.aborted &&
      problems(stage, longAnswer).length === 0,
  );
  return {
    happened: 'the provider answered 429 to one of two sessions, again and again',
    did: `aborted that one at attempt ${decision.attempt}, verified in ${millis(aborted.tookMs)}; left the other alone`,
    evidence: [
      `provider: ${asked} requests, none after the abort`,
      "the other's answer was read to its end",
    ],
  };
};

const pileUp: Act = async (stage, narrator) => {
  const { opencode, daemon, directories } = stage;
  narrator.act('Act 3 of 4: a pile-up leads to a restart');
  narrator.say(
    'Three sessions in two projects retry at the same time, for at least 3 s (default: 30 s).',
  );
  const piled = [
    await begin(stage, 'piled up 1', directories[0], `${UNAVAILABLE} one`),
    await begin(stage, 'piled up 2', directories[0], `${UNAVAILABLE} two`),
    await begin(stage, 'piled up 3', directories[1], `${UNAVAILABLE} three`),
  ];
  const restarting = await daemon.saw('server.restarting', { reason: 'pileup' });
  const restarted = await daemon.saw('server.restarted', { reason: 'pileup' });
  const named = piled.filter(({ id }) => restarting.interrupted?.includes(id));
  narrator.told(
    `the log names the sessions it interrupted: ${named.map(({ title }) => title).join(', ')}`,
    named.length === 3 && restarting.interrupted?.length === 3,
  );
  const { oldPid, pid } = restarted;
  narrator.told(
    `process ${oldPid} is gone, process ${pid} serves in its place`,
    oldPid !== undefined && pid !== undefined && oldPid !== pid && !isAlive(oldPid) && isAlive(pid),
  );
  const status = await opencode.statusAll([...directories]);
  narrator.told('nothing is retrying any more', Object.keys(status).length === 0);
  return {
    happened: 'three sessions in two projects retried at once',
    did: `restarted opencode in ${millis(restarted.tookMs)} and named the sessions this cut`,
    evidence: [
      `pid ${oldPid} → ${pid}`,
      `interrupted: ${named.map(({ title }) => title).join(', ')}`,
    ],
  };
};

const killedServer: Act = async (stage, narrator) => {
  const { opencode, daemon, directories } = stage;
  const victim = daemon.lines({ event: 'server.restarted' }).at(-1)?.pid;
  narrator.act('Act 4 of 4: a killed server is brought back');
  if (victim === undefined) throw new Error('the log has named no process to kill');
  narrator.say(`kill -9 ${victim}`);
  const killedAt = Date.now();
  process.kill(victim, 'SIGKILL');
  await daemon.saw('server.exited', { pid: victim });
  const restarted = await daemon.saw('server.restarted', { reason: 'exited' });
  const tookMs = Date.parse(restarted.time) - killedAt;
  narrator.told(
    `healthy again ${millis(tookMs)} after the kill, as process ${restarted.pid}`,
    restarted.pid !== victim && !isAlive(victim) && (await opencode.health()).healthy,
  );
  const session = await opencode.createSession({ directory: directories[0], title: 'afterwards' });
  const reply = await opencode.prompt(session.id, directories[0], 'Are you well? [[ok]]');
  const words = reply.parts.find(({ type }) => type === 'text')?.text;
  narrator.told(`a new prompt is answered: "${words}"`, words === 'All done.');
  return {
    happened: 'opencode was killed with SIGKILL',
    did: `started it again: healthy ${millis(tookMs)} after the kill`,
    evidence: [`pid ${victim} → ${restarted.pid}`, 'a new prompt was answered'],
  };
};

export const ACTS: readonly Act[] = [healthyWork, stuckSession, pileUp, killedServer];

function clock(iso: string | undefined): string {
  return iso === undefined ? 'no known time' : new Date(iso).toLocaleTimeString('en-GB');
}
