/**
 * The patterns that every version of opencode must show, side by side on one server in two directories, and how the
 * daemon handled each. `compat.test.ts` uses them, and `scripts/compat.ts` for all versions.
 */
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type LogLine, startDaemon, type TestDaemon } from '../support/daemon.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { api, opencodeEnv, prepareHome } from '../support/opencode.js';
import type { OpencodeApi } from '../support/opencode-api.js';
import { freePort } from '../support/ports.js';
import { pause, waitFor } from '../support/wait.js';

const START_TIMEOUT_MS = 120_000;
/** Longer than `stall.maxSilence` and every other limit that could affect a healthy run. */
const HEALTHY_SECONDS = 11;
const PATIENCE_MS = 60_000;
/** From the prompt to the question. */
const ASKING_MS = 30_000;
const LIMITS = {
  watch: { pollInterval: '1s' },
  probe: { interval: '1s', timeout: '2s' },
  retry: { maxAttempts: 3, maxDuration: '5m', maxWait: '2m' },
  stall: { maxSilence: '8s', maxToolTime: '2m' },
  // Only aborts are tested here.
  pileup: { minSessions: 99 },
  status: { listen: 'off' },
};

export interface Row {
  pattern: string;
  expected: string;
  seen: string;
}

export interface Report {
  version: string;
  rows: Row[];
  /** The daemon's warnings about the server, each once. */
  notices: string[];
}

interface World {
  provider: FakeProvider;
  opencode: OpencodeApi;
  watchdog: TestDaemon;
  project: string;
  other: string;
  /** A directory whose opencode.json makes bash ask for permission: 1.0 has no permissions for a single session. */
  careful: string;
  prompt(text: string, where?: { directory?: string }): Promise<string>;
}

/** `play` returns what was seen. It equals `expected` if all is well. */
interface Pattern {
  expected: string;
  play(world: World): Promise<string>;
}

const noStatusInOldest = (): Awaited<ReturnType<OpencodeApi['status']>> => ({});

/** How the run came out, by the first event that tells: aborted for a reason, failed, or ended by itself. */
async function verdict({ watchdog, opencode }: World, sessionID: string, directory: string) {
  const end = await waitFor(
    () =>
      watchdog.events('session.aborted', { sessionID })[0] ??
      watchdog.events('session.failed', { sessionID })[0] ??
      watchdog.events('session.health', { sessionID, health: 'idle' })[0],
    { what: `an end of ${sessionID}`, timeout: PATIENCE_MS },
  );
  const statuses = await opencode.status(directory).catch(noStatusInOldest);
  const left = statuses[sessionID];
  if (end.event === 'session.aborted') {
    return `aborted: ${end.reason}${left ? `, still ${left.type}` : ''}`;
  }
  const stuck = watchdog.events('session.stuck', { sessionID })[0];
  if (end.event === 'session.failed') return 'failed';
  // A verified abort is logged a moment after the status.
  if (stuck) {
    const aborted = await waitFor(() => watchdog.events('session.aborted', { sessionID })[0]);
    return `aborted: ${aborted.reason}`;
  }
  return 'untouched, ended';
}

/** A stuck prompt, in the other directory or in the server's own. */
const stuck = (text: string, expected: string, elsewhere = false): Pattern => ({
  expected,
  play: async (world) => {
    const directory = elsewhere ? world.other : world.project;
    return verdict(world, await world.prompt(text, { directory }), directory);
  },
});

/** A healthy prompt: it must end by itself, and the provider must have been heard to the end. */
const healthy = (text: string, elsewhere = false): Pattern => ({
  expected: 'untouched, ended',
  play: async (world) => {
    const seen = await stuck(text, '', elsewhere).play(world);
    const cut = world.provider.about(text).some(({ aborted }) => aborted);
    return cut ? `${seen}, but cut at the provider` : seen;
  },
});

/** A person is asked, takes longer than every limit, and then answers. */
const asking = (text: string, on: 'permission' | 'question'): Pattern => ({
  expected: 'waiting, untouched, ended',
  play: async (world) => {
    const { watchdog, opencode, careful: directory } = world;
    const sessionID = await world.prompt(text, { directory });
    const { requestID } = await watchdog.saw('session.waiting', { sessionID }, ASKING_MS);
    await pause(HEALTHY_SECONDS * 1_000);
    const id = String(requestID);
    if (on === 'question') await opencode.replyQuestion(id, directory, [['left']]);
    else {
      await opencode.replyPermission(id, directory, 'once').catch(() =>
        // The route in versions up to 1.0.
        opencode.call('POST', `/session/${sessionID}/permissions/${id}`, directory, {
          response: 'once',
        }),
      );
    }
    return `waiting, ${await verdict(world, sessionID, directory)}`;
  },
});

const patterns: Record<string, Pattern> = {
  'long stream': healthy(`[[stream ${HEALTHY_SECONDS * 5} 200]]`, true),
  'quiet tool': healthy(`[[bash sleep ${HEALTHY_SECONDS}]]`),
  'subagent at work': healthy(`[[task {{bash sleep ${HEALTHY_SECONDS}}}]]`, true),
  'permission pending': asking('[[bash echo hi]]', 'permission'),
  'question pending': asking('[[question]]', 'question'),
  'retry recovers': healthy('[[flaky 1]]'),
  '429 for ever': stuck('[[429]]', 'aborted: attempts', true),
  'Retry-After an hour': stuck('[[429 retry-after=3600]]', 'aborted: wait'),
  'usage exhausted': stuck('[[usage-exhausted quota]]', 'aborted: hopeless', true),
  'never answers': stuck('[[hang]]', 'aborted: silence'),
  'stops mid-stream': stuck('[[stall 3]]', 'aborted: silence', true),
  'fails mid-stream': stuck('[[midfail 3]]', 'aborted: attempts'),
  'deleted while retrying': {
    expected: 'aborted: ghost',
    play: async (world) => {
      const sessionID = await world.prompt('[[503]] ghost');
      await waitFor(() => world.provider.count('[[503]] ghost') > 0, { what: 'a request' });
      await world.opencode.remove(sessionID, world.project);
      return verdict(world, sessionID, world.project);
    },
  },
  'subagent hangs': {
    expected: 'child aborted: silence, parent untouched, ended',
    play: async (world) => {
      const parent = await world.prompt('[[task {{hang}}]]', { directory: world.other });
      const ofChild = (line: LogLine) => line.parentID === parent;
      const child = await waitFor(() => world.watchdog.events('session.aborted').find(ofChild), {
        what: 'the abort of the hung subagent',
        timeout: PATIENCE_MS,
      });
      return `child aborted: ${child.reason}, parent ${await verdict(world, parent, world.other)}`;
    },
  },
  'key refused (401)': stuck('[[401]]', 'failed'),
};

/** Runs last, when the other patterns have ended. */
async function killed({ watchdog, provider, prompt, other }: World): Promise<string> {
  const sessionID = await prompt('[[stream 300 200]]', { directory: other });
  await waitFor(() => provider.open('[[stream 300') === 1, { what: 'a run to interrupt' });
  process.kill(Number(watchdog.events('server.healthy')[0]?.pid), 'SIGKILL');
  await watchdog.saw('session.interrupted', { sessionID, restartReason: 'exited' }, PATIENCE_MS);
  await watchdog.saw('server.restarted', { reason: 'exited' }, START_TIMEOUT_MS);
  const again = await prompt('[[usage-exhausted quota]] again');
  const { reason } = await watchdog.saw('session.aborted', { sessionID: again }, PATIENCE_MS);
  return `restarted, watched again (${reason})`;
}

async function row(name: string, { expected, play }: Pattern, world: World): Promise<Row> {
  const seen = await play(world).catch((error: Error) => `nothing: ${firstWords(error)}`);
  return { pattern: name, expected, seen };
}

const firstWords = (error: Error) =>
  (error.message.split('\n')[0] ?? '')
    .replace(/ses_\w+/g, 'the session')
    .replace(/ \{.*?\}/, '')
    .slice(0, 90);

/** Starts opencode ($OPENCODE_TEST_BIN, or node_modules) under a daemon, and plays every pattern. */
export async function tryPatterns(): Promise<Report> {
  const cleanups: (() => Promise<unknown>)[] = [];
  try {
    const provider = await startFakeProvider();
    cleanups.push(() => provider.stop());
    const home = await prepareHome(provider);
    cleanups.push(() => home.remove());
    const project = home.directory;
    // 1.0.0 reports only on its own directory.
    const other = process.env.OPENCODE_TEST_ONE_DIRECTORY ? project : await home.project('other');
    const careful = await home.project('careful');
    const asks = JSON.stringify({ permission: { bash: 'ask' } });
    await writeFile(join(careful, 'opencode.json'), asks);
    const url = `http://127.0.0.1:${await freePort()}`;
    const watchdog = await startDaemon({
      config: { ...LIMITS, server: { url, directory: project, startTimeout: '120s' } },
      env: opencodeEnv(home.path),
    });
    cleanups.push(() => watchdog.stop());
    const { version } = await watchdog.saw('server.healthy', {}, START_TIMEOUT_MS);
    await watchdog.saw('stream.connected');
    // Releases before 1.1 do not contain the provider's package and download it. This is a copy that was downloaded
    // before.
    const packages = process.env.OPENCODE_TEST_PACKAGES;
    if (packages) await cp(packages, join(home.path, 'cache/opencode'), { recursive: true });
    const opencode = api(url);
    const world: World = {
      provider,
      opencode,
      watchdog,
      project,
      other,
      careful,
      async prompt(text, { directory = project } = {}) {
        const { id } = await opencode.createSession({ directory });
        await opencode.promptAsync(id, directory, text).catch((error: Error) => {
          if (!error.message.includes(' 404 ')) throw error;
          // 1.0.0 has only the route that waits for the end of the run.
          opencode.prompt(id, directory, text).catch(() => {});
        });
        return id;
      },
    };
    // The first prompt in a directory creates its instance, which takes seconds.
    for (const directory of [project, other, careful]) {
      const { id } = await opencode.createSession({ directory });
      await opencode.prompt(id, directory, '[[ok]]');
    }
    const rows = await Promise.all(
      Object.entries(patterns).map(([name, pattern]) => row(name, pattern, world)),
    );
    const expected = 'restarted, watched again (hopeless)';
    rows.push(await row('server killed (SIGKILL)', { expected, play: killed }, world));
    const notices = watchdog
      .events('server.notice', { level: 'warn' })
      .map(({ notice, detail }) => `${String(notice)} ${JSON.stringify(detail ?? {})}`);
    return { version: String(version ?? 'unknown'), rows, notices: [...new Set(notices)] };
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}
