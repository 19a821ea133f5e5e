/**
 * The rules on OpenCode 2, with the same patterns as for 1.x (test/e2e/rules-*.test.ts), side by side in two
 * directories of one fake server. Healthy runs exceed the limits that do not apply to them, and are left alone. Stuck
 * runs and runaways are ended once, for their own reason.
 */
import { expect, it, onTestFinished } from 'vitest';
import { type Fake2Session, startFakeOpencode2 } from '../support/fake-opencode-2.js';
import { behave } from '../support/opencode-2-behaviours.js';
import { measureSlowness, stretched } from '../support/slowness.js';
import { waitFor } from '../support/wait.js';
import { TestRun } from './daemon-support.js';

await measureSlowness();

const PROJECTS = ['/p', '/q'] as const;
/** Longer than `stall.maxSilence`, shorter than `stall.maxToolTime`. */
const LONG = stretched(2_400);
const LIMITS = {
  retry: { maxAttempts: 4, maxDuration: 60_000, maxWait: 60_000 },
  stall: { maxSilence: stretched(1_500), maxToolTime: stretched(4_000) },
  loop: { maxEmptySteps: 5, maxRepeats: 5, maxCompactions: 4 },
  budget: { run: { cost: 0, tokens: 0, steps: 30 } },
  pileup: { minSessions: 99 },
  // So that a wrong decision would do even more harm.
  restart: { maxRestarts: 5 },
};

const HEALTHY = [
  `text ${LONG}`,
  `reasoning ${LONG}`,
  `slow-begin ${LONG}`,
  `quiet-tool ${LONG}`,
  `two-quiet-tools ${LONG}`,
  `long-argument ${LONG}`,
  `compaction ${LONG}`,
  `delegating ${LONG}`,
  `delegating-quietly ${LONG}`,
  `deep ${LONG}`,
  'flaky',
  'many-steps',
  'compacts-now-and-then',
];
/** opencode ends these itself, and says why. */
const FAILED = { refused: 400, 'retries-spent': 429, inactive: undefined };
const STUCK: Readonly<Record<string, string>> = {
  429: 'attempts',
  [`retry-after ${15 * 60_000}`]: 'wait',
  'hang-before-plugins': 'tool_time',
  hang: 'silence',
  stall: 'silence',
  'hang-after-tool': 'silence',
  'endless-tool': 'tool_time',
  'endless-argument': 'tool_time',
  'endless-compaction': 'tool_time',
  'same-call': 'loop repeat',
  cycle: 'loop repeat',
  'empty-steps': 'loop empty',
  compactions: 'loop compaction',
  'many-many-steps': 'budget run',
};
const TOUCHES = /^session\.(stuck|aborting|aborted|abort_failed|wedged|interrupted)$|^directory\./;

it('leaves alone what is healthy, and ends what is stuck, side by side in two directories', async () => {
  const fake = await startFakeOpencode2({ heartbeatMs: 500 });
  onTestFinished(() => fake.stop());
  behave(fake);
  let nth = 0;
  const begin = (what: string) => {
    const directory = PROJECTS[nth++ % 2] ?? '/p';
    const session = fake.addSession({ directory, title: what });
    fake.begin(session, { text: `[[${what}]]` });
    return session;
  };
  // These run before the daemon starts, so it has heard nothing of them.
  const before = ['hang', '429', 'endless-tool', `retry-after ${15 * 60_000}`];
  const old = before.map((what) => [begin(what), STUCK[what] ?? ''] as const);
  const run = new TestRun(fake as never, { password: 'pw', config: LIMITS });
  onTestFinished(async () => void (await run.stop()));
  await run.saw('stream.connected', { path: '/api/event' });

  const healthy = HEALTHY.map(begin);
  const failed = Object.entries(FAILED).map(([what, status]) => [begin(what), status] as const);
  const waiting = (['permission', 'form'] as const).map((what) => [begin(what), what] as const);
  const stuck = [
    ...old,
    ...Object.entries(STUCK).map(([what, why]) => [begin(what), why] as const),
  ];
  // An interrupted session stays active until its git snapshot is made (section 4.5).
  const snapshot = begin('hang');
  snapshot.stopsAfterMs = 300;
  stuck.push([snapshot, 'silence']);
  const parents = [
    [begin('parent-of-hang'), 'silence'],
    [begin('parent-of-429'), 'attempts'],
  ] as const;
  // What people do themselves.
  const escaped = begin('text 60000');
  const rejected = begin('permission');
  const deleted = begin('text 60000');
  const queued = begin(`text ${LONG}`);
  await waitFor(() => rejected.asks.size === 1, { what: 'the request that is rejected' });
  const post = (path: string, method = 'POST', body?: unknown) =>
    fetch(`${fake.url}/api/session/${path}`, {
      method,
      headers: {
        authorization: `Basic ${btoa('opencode:pw')}`,
        'content-type': 'application/json',
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  const [requestID = ''] = rejected.asks.keys();
  await post(`${escaped.id}/interrupt`);
  // Without a message this ends the turn, which is then called a shutdown (section 6).
  await post(`${rejected.id}/permission/${requestID}/reply`, 'POST', { decision: 'reject' });
  await post(deleted.id, 'DELETE');
  await post(`${queued.id}/prompt`, 'POST', { text: '[[many-steps]]', delivery: 'queue' });

  const lines = (session: Fake2Session, event: string) =>
    run.lines.filter((line) => line.event === event && line.sessionID === session.id);
  const ended = (session: Fake2Session, what = session.title) =>
    waitFor(() => lines(session, 'session.ended')[0], { what: `the end of ${what}` });

  for (const [session, reason] of stuck) {
    const aborted = () => lines(session, 'session.aborted')[0];
    await waitFor(aborted, { what: `the abort of ${session.title}` });
    const said = lines(session, 'session.stuck');
    expect(said.map((line) => [line.reason, line.kind].filter(Boolean).join(' '))).toEqual([
      reason,
    ]);
    // If the first poll shows a session stuck, its directory is not known yet.
    expect(said[0]?.directory ?? session.directory, session.title).toBe(session.directory);
  }
  for (const session of [...healthy, queued]) {
    expect(await ended(session), session.title).toMatchObject({ outcome: 'completed' });
  }
  await waitFor(() => lines(queued, 'session.ended').length === 2, { what: 'what was queued' });
  for (const [session, statusCode] of failed) {
    expect(await ended(session), session.title).toMatchObject({ outcome: 'failed' });
    const [said] = lines(session, 'session.failed');
    expect(said?.statusCode, session.title).toBe(statusCode);
  }
  // By now each waiting run has waited for longer than every limit.
  for (const [session, what] of waiting) {
    const on = what === 'form' ? 'question' : 'permission';
    expect(lines(session, 'session.waiting'), what).toMatchObject([{ on }]);
    const [id = ''] = session.asks.keys();
    await post(
      `${session.id}/${what}/${id}/reply`,
      'POST',
      what === 'form' ? { answer: { q0: 'Tea' } } : { decision: 'once' },
    );
    expect(await ended(session), what).toMatchObject({ outcome: 'completed' });
    expect(lines(session, 'session.answered'), what).toMatchObject([{ by: 'person' }]);
  }
  // Only the lowest session is aborted. The ones above it continue.
  for (const [parent, reason] of parents) {
    const child = [...fake.sessions.values()].find(({ parentID }) => parentID === parent.id);
    expect(child && lines(child, 'session.stuck')).toMatchObject([{ reason, parentID: parent.id }]);
    expect(await ended(parent), parent.title).toMatchObject({ outcome: 'completed' });
  }
  expect(await ended(escaped, 'an Esc')).toMatchObject({ outcome: 'aborted_elsewhere' });
  expect(await ended(rejected, 'a reject')).toMatchObject({ outcome: 'aborted_elsewhere' });

  const children = [...fake.sessions.values()].filter(({ parentID }) => parentID !== undefined);
  const leaves = new Set(
    children.filter((child) => lines(child, 'session.stuck').length > 0).map(({ id }) => id),
  );
  expect(leaves.size).toBe(2);
  const touched = new Set([...leaves, ...stuck.map(([{ id }]) => id)]);
  const touches = run.lines.filter(
    ({ event, sessionID }) => TOUCHES.test(event) && !touched.has(sessionID ?? ''),
  );
  expect(touches.map(({ msg }) => msg)).toEqual([]);
  // The server shows what was really done: each stuck session was interrupted (again, if a slow machine did not show
  // the end in time), and no other one, except by the person.
  const interrupted = fake.requests
    .filter(({ path }) => path.endsWith('/interrupt'))
    .map(({ path }) => path.split('/')[3] ?? '');
  expect(new Set(interrupted)).toEqual(new Set([...touched, escaped.id]));
  // No more interrupts than the log says. The one extra is the person's.
  expect(interrupted.length - 1).toBeLessThanOrEqual(run.events('session.aborting').length);
  expect(fake.active.size).toBe(0);
  // A 2.x server compresses its stream for clients that accept it. The daemon must not.
  const streams = fake.requests.filter(({ path }) => path === '/api/event');
  expect(streams.map(({ encodings }) => encodings)).toEqual([undefined]);
  expect(run.events('server.restarting')).toEqual([]);
  expect(run.events('error')).toEqual([]);
});

it('what never got an answer goes on after its abort', async () => {
  const fake = await startFakeOpencode2({ heartbeatMs: 500 });
  onTestFinished(() => fake.stop());
  behave(fake);
  const run = new TestRun(fake as never, {
    password: 'pw',
    config: { ...LIMITS, recover: { afterAbort: 'continue' } },
  });
  onTestFinished(async () => void (await run.stop()));
  await run.saw('stream.connected', { path: '/api/event' });
  const session = fake.addSession();
  fake.begin(session, { text: '[[hang-before-answer]]' });
  await run.saw('session.aborted', { sessionID: session.id });
  await run.saw('session.continued', { sessionID: session.id });
});
