/** Runs that 1.18's preview of OpenCode 2's API has started: found beside the status of 1.x, which must not suffer for it. */
import { describe, expect, it } from 'vitest';
import { OpencodeError } from '../../../../src/opencode/http/errors.js';
import { PreviewRuns } from '../../../../src/opencode/v1/preview.js';
import { RECHECK_ROUTE_MS, ServerRoutes } from '../../../../src/opencode/v1/server-routes.js';
import type { SessionStatus } from '../../../../src/watchdog/observation.js';
import { FakeClock } from '../../../support/fake-clock.js';

const WEB_PAGE = new OpencodeError({
  kind: 'not_opencode',
  request: 'GET http://x/api/session/active',
  outcome: 'answered 200 with text/html, not JSON',
});
const TIMEOUT = new OpencodeError({ kind: 'timeout', request: 'GET', outcome: 'did not answer' });
const running = (...ids: string[]) => ({
  data: Object.fromEntries(ids.map((id) => [id, { type: 'running' }])),
});
type Answers = Record<string, unknown>;

function preview(answers: Answers) {
  const clock = new FakeClock(100_000);
  const asked: string[] = [];
  const posted: string[] = [];
  const said: string[] = [];
  const runs = new PreviewRuns({
    clock,
    routes: new ServerRoutes(clock),
    ask: async (schema, { path }) => {
      asked.push(path);
      const answer = await answers[path];
      if (answer instanceof Error) throw answer;
      const read = schema.safeParse(answer);
      if (!read.success) throw WEB_PAGE;
      return read.data;
    },
    post: async (path) => void posted.push(path),
    session: async (id) => ({ id, directory: id.startsWith('ses_q') ? '/q' : '/p' }),
  });
  runs.notice = (level, message) => said.push(`${level} ${message}`);
  const poll = async (directory: string | undefined, shown: Record<string, SessionStatus> = {}) => {
    const statuses = new Map(Object.entries(shown));
    await runs.addTo(statuses, directory);
    return Object.fromEntries(statuses);
  };
  return { runs, clock, asked, posted, said, poll, answers };
}
const BUSY = { type: 'busy' } as const;
const ACTIVE = '/api/session/active';

describe('the runs of the preview', () => {
  it('are busy in their own directory, beside what the status of 1.x shows', async () => {
    const { poll, runs } = preview({ [ACTIVE]: running('ses_p1', 'ses_q1') });
    expect(await poll('/p', { ses_old: BUSY })).toEqual({ ses_old: BUSY, ses_p1: BUSY });
    expect(await poll('/q')).toEqual({ ses_q1: BUSY });
    expect(runs.isHidden('ses_p1')).toBe(true);
    expect(runs.isHidden('ses_old')).toBe(false);
  });

  it('leave a session alone that the status of 1.x knows better', async () => {
    const retry = { type: 'retry', attempt: 3, message: 'x' } as const;
    const { poll, runs } = preview({ [ACTIVE]: running('ses_p1') });
    expect(await poll('/p', { ses_p1: retry })).toEqual({ ses_p1: retry });
    expect([runs.isActive('ses_p1'), runs.isHidden('ses_p1')]).toEqual([true, false]);
  });

  it('are interrupted by their own route', async () => {
    const { runs, posted } = preview({});
    await runs.interrupt('ses_p1');
    expect(posted).toEqual(['/api/session/ses_p1/interrupt']);
  });

  it('are seldom asked for while there are none, at once where an event tells of one, and then each time', async () => {
    const { runs, poll, asked, answers, clock } = preview({ [ACTIVE]: running() });
    for (const directory of ['/p', '/q', '/r']) await poll(directory);
    await clock.advance(29_000);
    await poll('/p');
    expect(asked).toEqual([ACTIVE]);
    await clock.advance(1_000);
    await poll('/p');
    expect(asked).toHaveLength(2);
    answers[ACTIVE] = running('ses_p1');
    runs.heard();
    for (const directory of ['/p', '/p', '/p']) await poll(directory);
    expect(asked).toHaveLength(5);
  });
});

it('a look for form’s sake keeps no poll waiting, and tells the next one', async () => {
  let answer = (_: unknown) => {};
  const { poll, answers, clock } = preview({ [ACTIVE]: running() });
  await poll('/p');
  await clock.advance(30_000);
  answers[ACTIVE] = new Promise((resolve) => {
    answer = resolve;
  });
  expect(await poll('/p')).toEqual({});
  answer(running('ses_p1'));
  await clock.advance(0);
  expect(await poll('/p')).toEqual({ ses_p1: BUSY });
});

describe('a server that does not have the preview', () => {
  it('is not asked again for a while, which is said once, at debug', async () => {
    const { poll, asked, said, clock } = preview({ [ACTIVE]: WEB_PAGE });
    for (let round = 0; round < 5; round += 1) {
      expect(await poll('/p', { ses_old: BUSY })).toEqual({ ses_old: BUSY });
      await clock.advance(5_000);
    }
    expect(asked).toHaveLength(1);
    await clock.advance(RECHECK_ROUTE_MS);
    await poll('/p');
    expect(asked).toHaveLength(2);
    expect(said).toEqual(['debug runs of the preview of the API of OpenCode 2 are not looked for']);
  });

  it('is recognised by the shape of its answer, too', async () => {
    const { poll, asked, clock } = preview({ [ACTIVE]: { sessions: [] } });
    await poll('/p');
    await clock.advance(5_000);
    await poll('/p');
    expect(asked).toHaveLength(1);
  });

  it('may fail for a moment: no run ends by that, until it fails again and again', async () => {
    const { poll, answers, clock } = preview({ [ACTIVE]: running('ses_p1') });
    await poll('/p');
    answers[ACTIVE] = TIMEOUT;
    const seen = [];
    for (let round = 0; round < 3; round += 1) {
      await clock.advance(5_000);
      seen.push(Object.keys(await poll('/p')).length);
    }
    expect(seen).toEqual([1, 1, 0]);
  });
});

it('an inspection reads what the run says and asks where the preview keeps it', async () => {
  const tool = (status: string) => ({
    type: 'tool',
    id: `call_${status}`,
    name: 'bash',
    state: { status },
    time: { created: 10, ran: 20 },
  });
  const { runs } = preview({
    '/api/session/ses_p1/message': {
      data: [
        { type: 'assistant', time: { created: 5 }, content: [tool('completed'), tool('running')] },
        { type: 'user', time: { created: 1 } },
      ],
    },
    '/api/session/ses_p1/permission': { data: [] },
    '/api/session/ses_p1/question': { data: [{ id: 'que_1', sessionID: 'ses_p1' }] },
  });
  const seen = await runs.inspect({ id: 'ses_p1', directory: '/p', title: 'x', updated: 1 });
  expect(seen).toMatchObject({
    directory: '/p',
    result: {
      found: true,
      info: { directory: '/p', title: 'x' },
      requests: [{ requestID: 'que_1', on: 'question' }],
      tools: [{ callID: 'call_running', tool: 'bash', startedAt: expect.any(Number) }],
      preparing: false,
    },
  });
});

it('a run whose first request is not answered prepares, as nothing tells that it was made', async () => {
  const { runs } = preview({
    '/api/session/ses_p1/message': { data: [{ type: 'user' }] },
    '/api/session/ses_p1/permission': { data: [] },
    '/api/session/ses_p1/question': { data: [] },
  });
  const seen = await runs.inspect({ id: 'ses_p1' });
  expect(seen.result).toMatchObject({ preparing: true, tools: [], requests: [] });
});
