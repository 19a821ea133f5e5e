/**
 * The corpus' recordings of OpenCode 2, made with the real daemon and the fake server of the tests, since no 2.x was
 * available. They show how the watchdog handles the frames that opencode-2-facts describes, not what a real 2.x sends.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDaemon, type TestDaemon } from '../test/support/daemon.js';
import { type FakeOpencode2, startFakeOpencode2 } from '../test/support/fake-opencode-2.js';
import { behave } from '../test/support/opencode-2-behaviours.js';
import { pause } from '../test/support/wait.js';
import { limitsWith, normalise, QUIET } from './recording-text.js';

interface Stage {
  fake: FakeOpencode2;
  watchdog: TestDaemon;
  /** Begins a new session that behaves like this, and returns its id. */
  begin(what: string): string;
  ended(sessionID: string, outcome: string): Promise<unknown>;
}

export interface Opencode2Scenario {
  about: string;
  config?: Record<string, object>;
  play(stage: Stage): Promise<unknown>;
}

/** Twice `stall.maxSilence` of the recordings' limits. */
const LONG_MS = 16_000;
const MINUTE = 60_000;
/** A little longer than a text must stream before it is sampled. */
const SAMPLED_MS = 95_000;
const TIMEOUT_MS = 150_000;

const healthy =
  (what: string) =>
  async ({ begin, ended }: Stage) =>
    ended(begin(what), 'completed');
const stuck =
  (what: string) =>
  async ({ begin, watchdog, ended }: Stage) => {
    const sessionID = begin(what);
    await watchdog.saw('session.aborted', { sessionID }, TIMEOUT_MS);
    await ended(sessionID, 'aborted');
  };

export const opencode2Scenarios: Readonly<Record<string, Opencode2Scenario>> = {
  'healthy-opencode-2-text': {
    about: 'A long answer streams for longer than stall.maxSilence.',
    play: healthy(`text ${LONG_MS}`),
  },
  'healthy-opencode-2-slow-begin': {
    about: 'Nothing comes after the prompt was delivered: the provider is slow.',
    play: healthy(`slow-begin ${LONG_MS}`),
  },
  'healthy-opencode-2-quiet-tool': {
    about: 'A tool runs without a word for twice stall.maxSilence.',
    play: healthy(`quiet-tool ${LONG_MS}`),
  },
  'healthy-opencode-2-argument': {
    about: 'The model writes a long argument, and the stream is silent for as long.',
    play: healthy(`long-argument ${LONG_MS}`),
  },
  'healthy-opencode-2-compaction': {
    about: 'A compaction says nothing for twice stall.maxSilence.',
    play: healthy(`compaction ${LONG_MS}`),
  },
  'healthy-opencode-2-retry': {
    about: 'Nine requests fail, the tenth is answered: within the ten retries of a step.',
    play: healthy('flaky 9'),
  },
  'healthy-opencode-2-subagent': {
    about: "A parent is silent while its subagent's tool works for twice stall.maxSilence.",
    play: healthy(`delegating ${LONG_MS}`),
  },
  'healthy-opencode-2-steps': {
    about: 'Twelve files are read one after the other, each with another text.',
    config: { loop: { maxRepeats: 3 } },
    play: healthy('many-steps'),
  },
  'healthy-opencode-2-even-text': {
    about: 'An answer streams for a minute and a half, in sentences that are much alike.',
    config: QUIET,
    play: healthy(`even-text ${SAMPLED_MS}`),
  },
  'healthy-opencode-2-permission': {
    about: 'A permission is pending for longer than every limit; a person allows it.',
    config: { stall: { maxToolTime: '12s' } },
    play: async ({ fake, begin, watchdog, ended }) => {
      const sessionID = begin('permission');
      const { requestID } = await watchdog.saw('session.waiting', { sessionID });
      await pause(15_000);
      await fetch(`${fake.url}/api/session/${sessionID}/permission/${String(requestID)}/reply`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`opencode:${fake.password}`)}` },
        body: JSON.stringify({ decision: 'once' }),
      });
      await ended(sessionID, 'completed');
    },
  },
  'failed-opencode-2-retries-spent': {
    about: 'All ten retries of a step fail, and the execution with them.',
    play: async ({ begin, ended }) => ended(begin('retries-spent 10'), 'failed'),
  },
  'stuck-opencode-2-hang': {
    about: 'The step has begun and shows nothing: silence for stall.maxSilence.',
    play: stuck('hang'),
  },
  'stuck-opencode-2-429': {
    about: 'A provider that answers 429 to each attempt: retry.maxAttempts is reached.',
    config: { retry: { maxAttempts: 5 } },
    play: stuck('429'),
  },
  'stuck-opencode-2-retry-after': {
    about:
      'Retry-After: 15 minutes: the next attempt is beyond retry.maxWait, at the first failure.',
    play: stuck(`retry-after ${15 * MINUTE}`),
  },
  'stuck-opencode-2-tool': {
    about: 'A tool runs for longer than stall.maxToolTime.',
    config: { stall: { maxSilence: '8s', maxToolTime: '10s' } },
    play: stuck('endless-tool'),
  },
  'stuck-opencode-2-compaction': {
    about: 'A compaction that has begun does not end: stall.maxToolTime is its limit.',
    config: { stall: { maxSilence: '8s', maxToolTime: '10s' } },
    play: stuck('endless-compaction'),
  },
  'stuck-opencode-2-loop-repeat': {
    about: 'The same file is read with the same result in every step.',
    play: stuck('same-call 500'),
  },
  'stuck-opencode-2-loop-text': {
    about: 'An answer says the same passage without end.',
    config: QUIET,
    play: stuck('same-text'),
  },
  'stuck-opencode-2-subagent': {
    about: 'A subagent hangs: it alone is aborted, its parent goes on and finishes.',
    play: async ({ begin, watchdog, ended }) => {
      const parent = begin('parent-of-hang');
      await watchdog.saw('session.aborted', { reason: 'silence' });
      await ended(parent, 'completed');
    },
  },
};

/** Plays the scenario and returns the recording as text. */
export async function recordOpencode2(scenario: Opencode2Scenario): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'recording-'));
  const file = join(folder, 'recording.ndjson');
  const fake = await startFakeOpencode2();
  behave(fake);
  const { url, password } = fake;
  const watchdog = await startDaemon({
    config: { ...limitsWith(scenario.config), server: { url, control: 'external' } },
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      XDG_STATE_HOME: folder,
      OPENCODE_PASSWORD: password,
    },
    args: ['--record', file],
  });
  try {
    await watchdog.saw('stream.connected', { path: '/api/event' });
    await scenario.play({
      fake,
      watchdog,
      begin(what) {
        const session = fake.addSession({ directory: '/project', title: 'recorded' });
        fake.begin(session, { text: `[[${what}]]` });
        return session.id;
      },
      ended: (sessionID, outcome) =>
        watchdog.saw('session.ended', { sessionID, outcome }, TIMEOUT_MS),
    });
    // What comes after the end belongs to the pattern too.
    await pause(1_000);
    return normalise(await readFile(file, 'utf8'), {
      about: `By the fake OpenCode 2, not by a real one: ${scenario.about}`,
      opencode: fake.version,
      log: watchdog.lines,
      places: [[url, 'http://127.0.0.1:4096']],
    });
  } finally {
    await watchdog.stop();
    await fake.stop();
    await rm(folder, { recursive: true, force: true });
  }
}
