/**
 * Makes the corpus of `test/recordings/` again: `npm run build && npx tsx scripts/make-recordings.ts [NAME...]`.
 *
 * Afterwards `npx tsx scripts/make-recordings.ts --table` writes, for the tests, what is decided about each recording.
 * Read the diff before you commit it.
 *
 * Each pattern is played with a real opencode (`$OPENCODE_TEST_BIN` or the one in node_modules), the fake provider and
 * the real daemon with `run --record`. The patterns of OpenCode 2 are played with a fake server
 * (opencode-2-recordings.ts). A recording holds nothing of this machine: directories become `/project` and `/other`,
 * ids and process ids are numbered, times begin at 0. Its header says what the recording shows, and what the daemon
 * decided when it was made (`decided`): the tests compare a replay with that.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LogLine, startDaemon, type TestDaemon } from '../test/support/daemon.js';
import { type FakeProvider, startFakeProvider } from '../test/support/fake-provider.js';
import {
  api,
  type Opencode,
  opencodeEnv,
  prepareHome,
  startOpencode,
} from '../test/support/opencode.js';
import type { OpencodeApi } from '../test/support/opencode-api.js';
import type { Home, HomeOptions } from '../test/support/opencode-home.js';
import { freePort } from '../test/support/ports.js';
import { keepStopped } from '../test/support/processes.js';
import { pause, waitFor } from '../test/support/wait.js';
import { actsByDefault, read, recordings, verdicts } from '../test/unit/recording/decisions.js';
// @ts-expect-error: a script without types
import { installOpencode } from './install-opencode.mjs';
import { opencode2Scenarios, recordOpencode2 } from './opencode-2-recordings.js';
import { limitsWith, normalise, QUIET } from './recording-text.js';

const FOLDER = fileURLToPath(new URL('../test/recordings/', import.meta.url));
const TABLE = fileURLToPath(new URL('../test/unit/recording/corpus.ts', import.meta.url));
/** Patterns played at once. Each brings a server and a daemon. */
const AT_ONCE = 2;
/** Patterns of OpenCode 2 played at once. Each brings a daemon, and a server that costs nothing. */
const AT_ONCE_ON_2 = 3;
const START_TIMEOUT_MS = 120_000;
const ASK = [{ permission: 'bash', pattern: '*', action: 'ask' }] as const;

interface Stage {
  provider: FakeProvider;
  opencode: OpencodeApi;
  watchdog: TestDaemon;
  /** The server's own directory, and another one. */
  project: string;
  other: string;
  /** Prompts a new session, in the server's own directory if none is named. */
  prompt(
    text: string,
    options?: { directory?: string; ask?: boolean; model?: string },
  ): Promise<string>;
  /** Waits until the log says that the session is idle. */
  idle(sessionID: string, timeout?: number): Promise<LogLine>;
}

interface Scenario {
  about: string;
  /** Limits, on top of `LIMITS`. */
  config?: Record<string, Record<string, unknown>>;
  /** What to add to opencode's usual configuration. */
  home?: HomeOptions;
  /** A plugin for opencode: the text of a module. */
  plugin?: string;
  /** The pattern leaves the server as it was, so it shares one with others. Long patterns share the other server. */
  on?: 'a shared server' | 'another shared server';
  /** An old version of opencode, if only that one shows the pattern. */
  version?: string;
  /** The daemon starts the server, and the first prompt is the server's first. */
  cold?: true;
  /** What happens before the daemon attaches. */
  before?(server: Opencode, stage: Pick<Stage, 'project' | 'other'>): Promise<void>;
  play(stage: Stage): Promise<unknown>;
}

const LASTING = { on: 'another shared server', config: QUIET } as const;
const LONG_MS = 150_000;
/** With a model whose context is small enough to fill up. */
const LOOPS = {
  on: 'a shared server',
  home: { models: { tight: { name: 'tight', limit: { context: 60_000, output: 1_000 } } } },
} as const;
const bash = (command: string) =>
  `bash ${JSON.stringify({ command, description: 'Runs the test command' })}`;
const PASSAGE =
  'I will now look at the configuration once more, since the error names a key that the schema does not have. ' +
  'The schema is written in one place, and whatever reads it goes through the loader, so that is where to begin. ';
const EVEN =
  'Step %n: I have read the part of the configuration that this step is about, and the error does not come from it. ' +
  'What is left to read after step %n is shorter than before, and the same question is asked of it again. ';
const ROWS = '2026-01-01,eu-west,checkout,200,12.5,ok\n'.repeat(6).trimEnd();
/** A plugin that prompts whenever a session of a recording is idle. */
const AGAIN = `export const Again = async ({ client }) => ({
  event: async ({ event }) => {
    if (event.type !== 'session.idle') return;
    const path = { id: event.properties.sessionID };
    const { data } = await client.session.get({ path });
    if (data?.title !== 'recorded') return;
    const body = { parts: [{ type: 'text', text: 'Go on.' }] };
    await client.session.promptAsync({ path, body });
  },
});
`;

const stuckAndAborted = async ({ watchdog, idle }: Stage, sessionID: string) => {
  await watchdog.saw('session.aborted', { sessionID });
  await idle(sessionID);
};

const scenarios: Record<string, Scenario> = {
  'healthy-stream': {
    about: 'A long answer streams for longer than stall.maxSilence.',
    play: async ({ prompt, idle }) => idle(await prompt('[[stream 120 100]]')),
  },
  'healthy-first-prompt': {
    about: "A server's first prompt in a directory, which opencode prepares for seconds.",
    cold: true,
    play: async ({ prompt, idle }) => idle(await prompt('[[ok]]')),
  },
  'healthy-reasoning': {
    about: 'A model reasons for longer than stall.maxSilence, then answers.',
    play: async ({ prompt, idle }) => idle(await prompt('[[reason 120 100]]')),
  },
  'healthy-quiet-tool': {
    about: 'A tool runs without a word for twice stall.maxSilence.',
    play: async ({ prompt, idle }) => idle(await prompt('[[bash sleep 16]]')),
  },
  'healthy-permission': {
    about: 'A permission is pending for longer than every limit; a person allows it.',
    config: { stall: { maxToolTime: '12s' } },
    play: async ({ prompt, idle, opencode, watchdog, project }) => {
      const sessionID = await prompt('[[bash echo hi]]', { ask: true });
      const { requestID } = await watchdog.saw('session.waiting', { sessionID });
      await pause(15_000);
      await opencode.replyPermission(String(requestID), project, 'once');
      await idle(sessionID);
    },
  },
  'healthy-question': {
    about: 'A question is pending for longer than every limit; a person answers it.',
    config: { stall: { maxToolTime: '12s' } },
    play: async ({ prompt, idle, opencode, watchdog, project }) => {
      const sessionID = await prompt('[[question]]');
      const { requestID } = await watchdog.saw('session.waiting', { sessionID });
      await pause(15_000);
      await opencode.replyQuestion(String(requestID), project, [['left']]);
      await idle(sessionID);
    },
  },
  'healthy-subagent': {
    about: "A parent is silent while its subagent's tool works for twice stall.maxSilence.",
    play: async ({ prompt, idle }) => idle(await prompt('[[task {{bash sleep 16}}]]')),
  },
  'healthy-retry-recovers': {
    about: 'Two requests fail, the third is answered: the episode ends by itself.',
    config: { retry: { maxAttempts: 5 } },
    play: async ({ prompt, idle }) => idle(await prompt('[[flaky 2]]')),
  },
  'healthy-user-abort': {
    about: 'A person aborts a run that shows nothing, before the limit.',
    play: async ({ prompt, idle, opencode, watchdog, project }) => {
      const sessionID = await prompt('[[hang]]');
      await watchdog.saw('session.health', { sessionID, health: 'busy' });
      await pause(1_000);
      await opencode.abort(sessionID, project);
      await idle(sessionID);
    },
  },
  'healthy-compaction': {
    about: 'A person has a session compacted.',
    play: async ({ prompt, idle, opencode, watchdog, project }) => {
      const sessionID = await prompt('[[ok]]');
      await idle(sessionID);
      const began = watchdog.events('session.health', { sessionID, health: 'idle' }).length;
      const model = { providerID: 'fake', modelID: 'm1' };
      await opencode.call('POST', `/session/${sessionID}/summarize`, project, model);
      await waitFor(
        () => watchdog.events('session.health', { sessionID, health: 'idle' }).length > began,
        { what: 'the compaction’s end' },
      );
    },
  },
  'healthy-suspended-daemon': {
    about: 'The daemon is stopped for longer than every limit while a session streams.',
    play: async ({ prompt, idle, watchdog }) => {
      const sessionID = await prompt('[[stream 180 100]]');
      await watchdog.saw('session.health', { sessionID, health: 'busy' });
      await pause(1_000);
      watchdog.child.kill('SIGSTOP');
      await pause(12_000);
      watchdog.child.kill('SIGCONT');
      await idle(sessionID);
    },
  },
  'healthy-side-by-side': {
    about: 'A stream, a quiet tool, a subagent and a permission, side by side in two directories.',
    play: async ({ prompt, idle, opencode, watchdog, project, other }) => {
      const all = [
        await prompt('[[stream 120 100]]', { directory: other }),
        await prompt('[[bash sleep 12]]'),
        await prompt('[[task {{bash sleep 12}}]]', { directory: other }),
      ];
      const asks = await prompt('[[bash echo hi]]', { ask: true });
      const { requestID } = await watchdog.saw('session.waiting', { sessionID: asks });
      await Promise.all(all.map((id) => idle(id)));
      await opencode.replyPermission(String(requestID), project, 'once');
      await idle(asks);
    },
  },
  'healthy-poll-changing': {
    about: 'The same command fifteen times, each with another result.',
    ...LOOPS,
    play: async ({ prompt, idle }) =>
      idle(await prompt(`[[calls 15 ${bash('date +%N')}]]`), LONG_MS),
  },
  'healthy-poll-waiting': {
    about: 'The same command with the same result, over the limit, that waits each time.',
    ...LOOPS,
    config: { loop: { maxRepeats: 3 } },
    play: async ({ prompt, idle }) => idle(await prompt(`[[calls 4 ${bash('sleep 6')}]]`), LONG_MS),
  },
  'healthy-ten-reads': {
    about: 'Ten files are read one after the other.',
    ...LOOPS,
    config: { loop: { maxRepeats: 3 } },
    play: async ({ prompt, idle, project }) => {
      for (let nth = 0; nth < 10; nth += 1) await writeFile(join(project, `${nth}.txt`), 'same\n');
      await idle(await prompt('[[calls 10 read {"filePath":"%n.txt"}]]'), LONG_MS);
    },
  },
  'healthy-test-after-edit': {
    about: 'The same test runs again after each edit, with the same result.',
    ...LOOPS,
    config: { loop: { maxRepeats: 3 } },
    play: async ({ prompt, idle }) => {
      const rounds = [1, 2, 3, 4, 5].map((nth) => `[[write notes.txt ${nth}]] [[bash false]]`);
      await idle(await prompt(rounds.join(' ')), LONG_MS);
    },
  },
  'healthy-failing-command': {
    about: 'A command fails again and again, and is changed each time.',
    ...LOOPS,
    config: { loop: { maxRepeats: 3 } },
    play: async ({ prompt, idle }) =>
      idle(await prompt('[[calls 6 read {"filePath":"missing-%n.txt"}]]'), LONG_MS),
  },
  'healthy-parallel-calls': {
    about: 'Many calls in each step: those of one step are one step.',
    ...LOOPS,
    config: { loop: { maxRepeats: 4 } },
    play: async ({ prompt, idle }) =>
      idle(await prompt(`[[calls 3 parallel=6 ${bash('echo %i')}]]`), LONG_MS),
  },
  'healthy-slow-model': {
    about: 'A model that is slow before each step, and calls another thing each time.',
    ...LOOPS,
    config: { loop: { maxRepeats: 3 } },
    play: async ({ prompt, idle }) =>
      idle(await prompt('[[calls 4 wait=6000 read {"filePath":"a%n.txt"}]]'), LONG_MS),
  },
  'healthy-even-stream': {
    about: 'An answer streams for a minute and a half, in sentences that are much alike.',
    ...LASTING,
    play: async ({ prompt, idle }) => idle(await prompt(`[[say 95 1000 ${EVEN}]]`), LONG_MS),
  },
  'healthy-csv': {
    about: 'An answer is a big CSV whose rows are all the same.',
    ...LASTING,
    play: async ({ prompt, idle }) => idle(await prompt(`[[say 95 1000 ${ROWS}]]`), LONG_MS),
  },
  'healthy-compaction-helps': {
    about: 'A long session compacts every four steps, and goes on.',
    ...LOOPS,
    config: { loop: { maxCompactions: 2 } },
    play: async ({ prompt, idle }) =>
      idle(await prompt(`[[calls 13 full=4 ${bash('echo %n')}]]`, { model: 'tight' }), LONG_MS),
  },
  'stuck-loop-repeat': {
    about: 'The same file is read with the same result in every step.',
    ...LOOPS,
    play: async (stage) => {
      await writeFile(join(stage.project, 'a.txt'), 'one\n');
      await stuckAndAborted(
        stage,
        await stage.prompt('[[calls forever read {"filePath":"a.txt"}]]'),
      );
    },
  },
  'stuck-loop-slow-model': {
    about:
      'The same file is read again by a model that is slow: the tool is not, so it is no poll.',
    ...LOOPS,
    config: { loop: { maxRepeats: 3 } },
    play: async (stage) => {
      await writeFile(join(stage.project, 'a.txt'), 'one\n');
      const text = '[[calls forever wait=6000 read {"filePath":"a.txt"}]]';
      await stuckAndAborted(stage, await stage.prompt(text));
    },
  },
  'stuck-loop-error': {
    about: 'A tool is called with arguments that it refuses, again and again.',
    ...LOOPS,
    config: { loop: { maxRepeats: 6 } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[calls forever write {}]]')),
  },
  'stuck-loop-cycle': {
    about: 'Two steps in turn, A-B-A-B, each with the same result as before.',
    ...LOOPS,
    config: { loop: { maxRepeats: 4 } },
    play: async (stage) => {
      const calls = `read {"filePath":"a.txt"} | ${bash('echo b')}`;
      await stuckAndAborted(stage, await stage.prompt(`[[calls forever ${calls}]]`));
    },
  },
  'stuck-loop-edit': {
    about: 'A file is edited one way and back, A-B-A.',
    ...LOOPS,
    config: { loop: { maxRepeats: 4 } },
    play: async (stage) => {
      await writeFile(join(stage.project, 'a.txt'), 'one\n');
      const edit = (from: string, to: string) =>
        `edit {"filePath":"a.txt","oldString":"${from}","newString":"${to}"}`;
      const first = '[[calls 1 read {"filePath":"a.txt"}]]';
      const calls = `${edit('one', 'two')} | ${edit('two', 'one')}`;
      await stuckAndAborted(stage, await stage.prompt(`${first} [[calls forever ${calls}]]`));
    },
  },
  'stuck-loop-subagent': {
    about: 'The same subagent is started again and again, with the same result.',
    ...LOOPS,
    config: { loop: { maxRepeats: 4 } },
    play: async ({ prompt, watchdog, idle }) => {
      const task = { description: 'Look', prompt: 'Look', subagent_type: 'general' };
      const sessionID = await prompt(`[[calls forever task ${JSON.stringify(task)}]]`);
      await watchdog.saw('session.aborted', { sessionID });
      await idle(sessionID);
    },
  },
  'stuck-loop-compaction': {
    about: 'The context is full again after each compaction.',
    ...LOOPS,
    play: async (stage) =>
      stuckAndAborted(
        stage,
        await stage.prompt(`[[calls forever full=1 ${bash('echo %n')}]]`, { model: 'tight' }),
      ),
  },
  'stuck-loop-text': {
    about: 'An answer says the same passage without end.',
    ...LASTING,
    play: async (stage) => {
      const sessionID = await stage.prompt(`[[say forever 1000 ${PASSAGE}]]`);
      await stage.watchdog.saw('session.aborted', { sessionID }, 2 * LONG_MS);
      await stage.idle(sessionID);
    },
  },
  'reported-runs': {
    about: 'A plugin prompts at every idle: reported, and left alone.',
    plugin: AGAIN,
    config: { loop: { maxRuns: 4 } },
    play: async ({ prompt, watchdog }) => {
      const sessionID = await prompt('[[ok]]');
      await watchdog.saw('session.stuck', { sessionID, kind: 'runs' });
    },
  },
  'stuck-loop-empty': {
    about: 'An answer without a body in every step: opencode asks again at once.',
    ...LOOPS,
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[nothing-forever]]')),
  },
  'stuck-429-attempts': {
    about: 'A provider that answers 429 for ever: retry.maxAttempts is reached.',
    config: { retry: { maxAttempts: 3 } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[429]]')),
  },
  'stuck-429-strict': {
    about: 'The strict rule, retry.maxAttempts 1: aborted at the first retry.',
    config: { retry: { maxAttempts: 1 } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[429]]')),
  },
  'stuck-503-duration': {
    about: 'A provider that answers 503 for ever: the episode is older than retry.maxDuration.',
    config: { retry: { maxDuration: '8s' } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[503]]')),
  },
  'stuck-retry-after': {
    about: 'Retry-After: 3600: the next attempt is beyond retry.maxWait, at attempt 1.',
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[429 retry-after=3600]]')),
  },
  'stuck-usage-exhausted': {
    about: "opencode's free usage is spent: the status asks a person to act.",
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[usage-exhausted]]')),
  },
  'stuck-quota': {
    about: "A quota is spent, and only the provider's words say so.",
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[usage-exhausted quota]]')),
  },
  'stuck-hang': {
    about: 'A provider that never answers: silence for stall.maxSilence.',
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[hang]]')),
  },
  'stuck-stall': {
    about: 'A provider that stops in the middle of its answer.',
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[stall 3]]')),
  },
  'stuck-midfail': {
    about: 'Each attempt shows a little text and is cut: the text does not end the episode.',
    config: { retry: { maxAttempts: 3 } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[midfail 3]]')),
  },
  'stuck-subagent': {
    about: 'A subagent hangs: it alone is aborted, its parent goes on and finishes.',
    play: async (stage) => {
      const parent = await stage.prompt('[[task {{hang}}]]');
      await stage.watchdog.saw('session.aborted');
      await stage.idle(parent);
    },
  },
  'stuck-tool': {
    about: 'A tool runs for longer than stall.maxToolTime.',
    config: { stall: { maxToolTime: '10s' } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[bash sleep 600]]')),
  },
  'stuck-run-time': {
    about: 'A run goes on, healthy, for longer than stall.maxRunTime.',
    config: { stall: { maxRunTime: '8s' } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[stream 600 100]]')),
  },
  'stuck-ghost-retrying': {
    about: 'A session is deleted while it retries; its run goes on.',
    play: async (stage) => {
      const sessionID = await stage.prompt('[[429]]');
      await stage.watchdog.saw('session.health', { sessionID, health: 'retrying' });
      await stage.opencode.remove(sessionID, stage.project);
      await stuckAndAborted(stage, sessionID);
    },
  },
  'stuck-ghost-hanging': {
    about: 'A session is deleted while its provider does not answer; its run goes on.',
    config: { stall: { maxSilence: '1m' } },
    play: async (stage) => {
      const sessionID = await stage.prompt('[[hang]]');
      await stage.watchdog.saw('session.health', { sessionID, health: 'busy' });
      await pause(1_000);
      await stage.opencode.remove(sessionID, stage.project);
      await stuckAndAborted(stage, sessionID);
    },
  },
  'stuck-before-attach': {
    about: 'A session of another directory was stuck before the daemon came.',
    before: async (server, { other }) => {
      const { id } = await server.api.createSession({ directory: other });
      await server.api.promptAsync(id, other, '[[hang]]');
      await pause(2_000);
    },
    play: async ({ watchdog }) => {
      const { sessionID = '' } = await watchdog.saw('session.aborted');
      await watchdog.saw('session.health', { sessionID, health: 'idle' });
    },
  },
  'stuck-ghost-before-attach': {
    about: 'A session of another directory was deleted while it hung, before the daemon came.',
    config: { stall: { maxSilence: '1m' } },
    before: async (server, { other }) => {
      const kept = await server.api.createSession({ directory: other });
      const { id } = await server.api.createSession({ directory: other });
      await server.api.promptAsync(id, other, '[[hang]]');
      await pause(2_000);
      await server.api.remove(id, other);
      // The session that is left makes the directory known.
      await server.api.prompt(kept.id, other, '[[ok]]');
    },
    play: async ({ watchdog }) => {
      const { sessionID = '' } = await watchdog.saw('session.aborted');
      await watchdog.saw('session.health', { sessionID, health: 'idle' });
    },
  },
  'stuck-false-idle': {
    about:
      'A hung session is said to be idle in a directory that is not its own: nobody believes it.',
    version: '1.2.27',
    play: async (stage) => {
      const sessionID = await stage.prompt('[[hang]]', { directory: stage.other });
      await stage.watchdog.saw('session.health', { sessionID, health: 'busy' });
      await pause(1_000);
      // An abort in the wrong directory ends nothing, and causes the false idle (1.1.65-1.3.2).
      await stage.opencode.abort(sessionID, stage.project);
      await stuckAndAborted(stage, sessionID);
    },
  },
  'stuck-one-of-two': {
    about: 'One session hangs beside one that streams: only the first is touched.',
    play: async (stage) => {
      const healthy = await stage.prompt('[[stream 140 100]]', { directory: stage.other });
      await stuckAndAborted(stage, await stage.prompt('[[hang]]'));
      await stage.idle(healthy);
    },
  },
  'waiting-rejected': {
    about: 'Nobody answers a permission: waiting.action reject, and the run goes on.',
    config: { waiting: { maxDuration: '6s', action: 'reject' } },
    play: async ({ prompt, idle }) => idle(await prompt('[[bash echo hi]]', { ask: true })),
  },
  'waiting-aborted': {
    about: 'Nobody answers a question: waiting.action abort.',
    config: { waiting: { maxDuration: '6s', action: 'abort' } },
    play: async (stage) => stuckAndAborted(stage, await stage.prompt('[[question]]')),
  },
  'failed-401': {
    about: 'The provider refuses the key: opencode ends the run itself, and it has failed.',
    play: async ({ prompt, idle }) => idle(await prompt('[[401]]')),
  },
  'failed-retries-spent': {
    about: 'opencode gives up after its own five retries: failed, not recovered.',
    play: async ({ prompt, idle }) => idle(await prompt('[[503]]'), 150_000),
  },
  'recover-continued': {
    about: 'An aborted run is continued on the next model, when asked for (recover).',
    config: {
      retry: { maxAttempts: 1 },
      recover: { afterAbort: 'continue', models: ['fake/m2'] },
    },
    play: async (stage) => {
      const sessionID = await stage.prompt('[[429]]');
      await stage.watchdog.saw('session.continued', { sessionID });
      await waitFor(
        () =>
          stage.watchdog.events('session.health', { sessionID, health: 'idle' }).length > 1 &&
          stage.provider.requests.some(({ model, open }) => model === 'm2' && !open),
        { what: 'the continued run’s end' },
      );
    },
  },
  'pileup-restart': {
    about: 'Three sessions retry at once in two directories: the server is restarted.',
    config: { pileup: { minSessions: 3, minDuration: '6s' } },
    play: async ({ prompt, watchdog, other }) => {
      for (const directory of [undefined, undefined, other]) {
        await prompt('[[503]]', directory === undefined ? {} : { directory });
      }
      await watchdog.saw('server.restarted', { reason: 'pileup' }, START_TIMEOUT_MS);
      await pause(1_500);
    },
  },
  'pileup-beside-healthy': {
    about: 'Three sessions retry at once beside a healthy one: they are aborted, nothing restarts.',
    config: { pileup: { minSessions: 3, minDuration: '6s' } },
    play: async (stage) => {
      const healthy = await stage.prompt('[[stream 200 100]]', { directory: stage.other });
      const piled = [];
      for (let nth = 0; nth < 3; nth += 1) piled.push(await stage.prompt('[[503]]'));
      for (const sessionID of piled) await stuckAndAborted(stage, sessionID);
      await stage.idle(healthy);
    },
  },
  'provider-outage': {
    about:
      'Sessions fail one after the other on one model: an outage, said once, until it is back.',
    config: { retry: { maxAttempts: 2 }, pileup: { minSessions: 2, minDuration: '1m' } },
    play: async (stage) => {
      stage.provider.override = 'down';
      for (let nth = 0; nth < 3; nth += 1) {
        await stuckAndAborted(stage, await stage.prompt('[[ok]]'));
      }
      stage.provider.override = null;
      await stage.idle(await stage.prompt('[[ok]]'));
    },
  },
  'server-killed': {
    about: 'The server is killed while a session streams: interrupted, and started again.',
    play: async ({ prompt, watchdog }) => {
      const sessionID = await prompt('[[stream 100 100]]');
      await watchdog.saw('session.health', { sessionID, health: 'busy' });
      await pause(1_000);
      process.kill(Number(watchdog.events('server.healthy')[0]?.pid), 'SIGKILL');
      await watchdog.saw('server.restarted', { reason: 'exited' }, START_TIMEOUT_MS);
      await pause(1_500);
    },
  },
  'server-frozen': {
    about: 'The server is frozen: its probes and its event stream are silent, it is replaced.',
    config: {
      watch: { heartbeatTimeout: '12s' },
      probe: { interval: '1s', timeout: '1s', maxFailures: 3 },
    },
    play: async ({ watchdog }) => {
      await pause(2_000);
      keepStopped(Number(watchdog.events('server.healthy')[0]?.pid));
      await watchdog.saw('server.restarted', { reason: 'unresponsive' }, START_TIMEOUT_MS);
      await pause(1_500);
    },
  },
};

type Cleanup = () => Promise<unknown>;

/**
 * Where a pattern is played: a provider, a home, and the server's port. The server runs, unless the pattern is about
 * its start.
 */
interface Place {
  provider: FakeProvider;
  home: Home;
  other: string;
  port: number;
  server: Opencode | undefined;
  end(): Promise<void>;
}

async function makePlace({ home: options, plugin, cold }: Scenario): Promise<Place> {
  const cleanups: Cleanup[] = [];
  const end = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    const provider = await startFakeProvider();
    cleanups.push(() => provider.stop());
    const home = await prepareHome(provider, options);
    cleanups.push(() => home.remove());
    if (plugin !== undefined) {
      const folder = join(home.path, 'config/opencode/plugin');
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'recorded.js'), plugin);
    }
    const other = await home.project('other');
    const port = await freePort();
    if (cold) return { provider, home, other, port, server: undefined, end };
    const server = await startOpencode({ provider, home, port });
    cleanups.push(() => server.stop());
    // A directory's first prompt takes seconds, and is a pattern of its own. Here it is made beforehand.
    for (const directory of [home.directory, other]) {
      const { id } = await server.api.createSession({ directory });
      await server.api.prompt(id, directory, '[[ok]]');
      await server.api.remove(id, directory);
    }
    return { provider, home, other, port, server, end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function record(name: string, scenario: Scenario, place: Place): Promise<string> {
  const cleanups: Cleanup[] = [];
  const watchdogs: TestDaemon[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'recording-'));
  cleanups.push(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'recording.ndjson');
  try {
    const { provider, home, other, port, server } = place;
    const project = home.directory;
    const url = `http://127.0.0.1:${port}`;
    // What a daemon remembers from an earlier pattern must not be part of this one.
    const env = { ...opencodeEnv(home.path), ...(server && { XDG_STATE_HOME: folder }) };
    if (server !== undefined) await scenario.before?.(server, { project, other });
    const config = limitsWith(scenario.config);
    const watchdog = await startDaemon({
      config: { ...config, server: { url, directory: project, startTimeout: '120s' } },
      env,
      args: ['--record', file],
    });
    watchdogs.push(watchdog);
    const opencode = api(url);
    const healthy = await watchdog.saw('server.healthy', {}, START_TIMEOUT_MS);
    await watchdog.saw('stream.connected');
    await scenario.play({
      provider,
      opencode,
      watchdog,
      project,
      other,
      async prompt(text, { directory = project, ask = false, model } = {}) {
        const permission = ask ? { permission: [...ASK] } : {};
        const { id } = await opencode.createSession({
          directory,
          title: 'recorded',
          ...permission,
        });
        cleanups.push(() => opencode.remove(id, directory).catch(() => {}));
        await opencode.promptAsync(
          id,
          directory,
          text,
          model === undefined ? undefined : { providerID: 'fake', modelID: model },
        );
        return id;
      },
      async idle(sessionID, timeout) {
        return watchdog.saw('session.health', { sessionID, health: 'idle' }, timeout);
      },
    });
    // What opencode says after the end belongs to the pattern too.
    await pause(1_000);
    const text = await readFile(file, 'utf8');
    return normalise(text, {
      about: scenario.about,
      opencode: String(healthy.version),
      log: watchdog.lines,
      places: [
        [project, '/project'],
        [other, '/other'],
        [home.path, '/home'],
        [url, 'http://127.0.0.1:4096'],
        [String(port), '4096'],
      ],
    });
  } catch (cause) {
    throw new Error(`${name}: ${(cause as Error).message}`, { cause });
  } finally {
    for (const watchdog of watchdogs) await watchdog.stop();
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

async function main(wanted: readonly string[]): Promise<void> {
  const known = { ...scenarios, ...opencode2Scenarios };
  const unknown = wanted.filter((name) => !(name in known));
  if (unknown.length > 0) throw new Error(`no such recording: ${unknown.join(', ')}`);
  await mkdir(FOLDER, { recursive: true });
  const chosen = (wanted.length === 0 ? Object.keys(scenarios) : wanted).flatMap((name) => {
    const scenario = scenarios[name];
    return scenario === undefined ? [] : [[name, scenario] as const];
  });
  const failures: string[] = [];
  const write = async (name: string, text: string) => {
    await writeFile(join(FOLDER, `${name}.ndjson`), text);
    console.log(`${name}: ${text.split('\n').length - 1} lines`);
  };
  const failed = (error: unknown) => {
    failures.push((error as Error).message);
    console.error((error as Error).message);
  };
  const make = async (name: string, scenario: Scenario, shared?: Place) => {
    try {
      const place = shared ?? (await makePlace(scenario));
      let text: string;
      try {
        text = await record(name, scenario, place);
      } finally {
        if (shared === undefined) await place.end();
      }
      await write(name, text);
    } catch (error) {
      failed(error);
    }
  };
  // Patterns that only need a server take turns on one.
  const takeTurns = async (on: Scenario['on']) => {
    const [first, ...rest] = chosen.filter(([, scenario]) => scenario.on === on);
    if (first === undefined) return;
    const place = await makePlace(first[1]);
    for (const each of [first, ...rest]) await make(...each, place);
    await place.end();
  };
  await Promise.all([takeTurns('a shared server'), takeTurns('another shared server')]);
  const queue = chosen.filter(([, { version, on }]) => version === undefined && on === undefined);
  const work = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await make(...next);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const ofOpencode2 = Object.entries(opencode2Scenarios).filter(
    ([name]) => wanted.length === 0 || wanted.includes(name),
  );
  const workOn2 = async () => {
    for (let next = ofOpencode2.shift(); next !== undefined; next = ofOpencode2.shift()) {
      const [name, scenario] = next;
      await recordOpencode2(scenario).then((text) => write(name, text), failed);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE_ON_2 }, workOn2));
  // The version is set for the whole process, so these are played one at a time.
  for (const [name, scenario] of chosen) {
    if (scenario.version === undefined) continue;
    process.env.OPENCODE_TEST_BIN = await installOpencode(scenario.version);
    await make(name, scenario);
  }
  if (failures.length > 0) process.exitCode = 1;
}

/** Writes `test/unit/recording/corpus.ts` by the rules as they are now. */
async function writeTable(): Promise<void> {
  const decided: Record<string, string[]> = {};
  const byDefault: Record<string, string[]> = {};
  for (const name of recordings()) {
    const recording = await read(name);
    decided[name] = verdicts(recording);
    const acts = actsByDefault(recording);
    if (acts.length > 0) byDefault[name] = acts;
  }
  const table = (name: string, about: string, rows: Record<string, string[]>) =>
    `/** ${about} */\nexport const ${name}: Record<string, readonly string[]> = ${JSON.stringify(rows, null, 2)};\n`;
  const parts = [
    '/** What is decided about each recording. Written by `scripts/make-recordings.ts --table`. */\n',
    table(
      'DECIDED',
      'By the limits that it was recorded with: ms since it began, what, who, why.',
      decided,
    ),
    table(
      'BY_DEFAULT',
      'What would have been done under the default limits, where anything.',
      byDefault,
    ),
  ];
  await writeFile(TABLE, parts.join('\n'));
  // Formatted, so that a diff shows what changed and nothing else.
  execFileSync('npx', ['biome', 'check', '--write', TABLE], { stdio: 'inherit' });
}

const words = process.argv.slice(2);
if (words[0] === '--table') await writeTable();
else await main(words);
