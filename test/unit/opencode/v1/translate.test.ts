/** Events to observations: each shape that opencode has sent, and that nothing it could send breaks us. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ParseStats } from '../../../../src/opencode/parse-stats.js';
import { translate } from '../../../../src/opencode/v1/translate.js';
import { runs } from '../../../support/mutate.js';
import { realEvents } from '../real-events.js';

const AT = 50_000;
const EPOCH = 1_795_343_500_000;

const real = (name: string, epochNow = EPOCH) => {
  const event = realEvents[name]!;
  return translate(event.directory, event.payload, AT, epochNow);
};
const say = (type: string, properties: unknown, directory: string | undefined = '/p') =>
  translate(directory, { type, properties }, AT, EPOCH);
const about = { at: AT, sessionID: 'ses_a', directory: '/p' };
const kinds = (observations: Array<{ kind: string }>) => observations.map(({ kind }) => kind);

describe('what a real opencode 1.18.33 sends', () => {
  it.each([
    ['session.created', ['session.info']],
    ['session.updated', ['session.info']],
    ['session.deleted', ['session.deleted']],
    ['session.status:busy', ['session.status']],
    ['session.status:idle', ['session.status']],
    ['session.status:retry', ['session.status']],
    ['session.idle', ['session.status']],
    ['session.error:APIError', ['session.error']],
    ['session.error:MessageAbortedError', ['session.error']],
    ['message.updated:user', ['session.prompted']],
    ['message.updated:assistant', ['session.asking_model']],
    ['message.updated:assistant:done', []],
    ['message.part.updated:text:', ['session.spoken_to']],
    ['message.part.updated:text::timed', ['session.progress']],
    ['message.part.updated:reasoning::timed', ['session.progress']],
    ['message.part.updated:step-start:', ['session.progress']],
    ['message.part.updated:step-finish:', ['session.step_finished']],
    ['message.part.updated:tool:pending:bash', ['session.progress']],
    ['message.part.updated:tool:running:bash', ['tool.running', 'session.progress']],
    ['message.part.updated:tool:completed:bash', ['tool.ended', 'session.progress']],
    ['message.part.updated:tool:error:task', ['tool.ended', 'session.progress']],
    ['message.part.delta', ['session.progress']],
    ['permission.asked', ['request.asked']],
    ['question.asked', ['request.asked']],
    ['sync', []],
    ['server.connected', []],
    ['server.heartbeat', []],
    ['project.updated', []],
    ['plugin.added', []],
    ['session.diff', []],
  ])('%s says %j', (name, expected) => {
    expect(kinds(real(name))).toEqual(expected);
  });

  it('names the model that is asked', () => {
    expect(real('message.updated:assistant')[0]).toMatchObject({
      model: 'fake/m1',
      agent: 'build',
    });
  });

  it('names the subagent that a task delegates to', () => {
    const [running] = real('message.part.updated:tool:running:task');
    expect(running).toMatchObject({
      tool: { tool: 'task', childID: expect.stringMatching(/^ses_/) },
    });
  });

  it('sees that a retry asks for a person', () => {
    expect(real('session.status:retry')[0]).not.toHaveProperty('status.needsPerson');
    expect(real('session.status:retry:action')[0]).toHaveProperty('status.needsPerson', true);
  });

  it('never takes `global` for a directory', () => {
    expect(say('session.idle', { sessionID: 'ses_a' }, 'global')[0]).not.toHaveProperty(
      'directory',
    );
  });
});

describe('times', () => {
  const status = (next: unknown) =>
    say('session.status', {
      sessionID: 'ses_a',
      status: { type: 'retry', attempt: 2, message: 'm', next },
    });
  const running = (start: unknown) =>
    say('message.part.updated', {
      sessionID: 'ses_a',
      part: {
        type: 'tool',
        callID: 'c',
        tool: 'bash',
        state: { status: 'running', time: { start } },
      },
    });

  it('turns the next attempt into a distance, never a negative one', () => {
    expect(status(EPOCH + 2_000)[0]).toHaveProperty('status.nextInMs', 2_000);
    expect(status(EPOCH - 2_000)[0]).toHaveProperty('status.nextInMs', 0);
    expect(status('soon')[0]).not.toHaveProperty('status.nextInMs');
  });

  it("turns a tool's start into observed time, never a future one", () => {
    expect(running(EPOCH - 7_000)[0]).toHaveProperty('tool.startedAt', AT - 7_000);
    expect(running(EPOCH + 7_000)[0]).toHaveProperty('tool.startedAt', AT);
    expect(running(undefined)[0]).toHaveProperty('tool.startedAt', AT);
  });
});

describe('differences between versions', () => {
  it('reads the status types of the documents, and an unknown one as busy', () => {
    const typed = (type: string) => say('session.status', { sessionID: 'ses_a', status: { type } });
    expect(typed('ready')[0]).toHaveProperty('status', { type: 'idle' });
    expect(typed('dreaming')[0]).toHaveProperty('status', { type: 'busy' });
  });

  it("takes 1.14's `action: null` for nobody", () => {
    const status = { type: 'retry', attempt: 1, message: 'm', next: EPOCH, action: null };
    expect(say('session.status', { sessionID: 'ses_a', status })[0]).toHaveProperty('status', {
      type: 'retry',
      attempt: 1,
      message: 'm',
      nextInMs: 0,
    });
  });

  it("reads 1.0.0's retry part as a status", () => {
    const part = {
      type: 'retry',
      sessionID: 'ses_a',
      attempt: 3,
      error: { name: 'APIError', data: { message: 'Rate limited', isRetryable: true } },
    };
    expect(say('message.part.updated', { part })).toEqual([
      {
        ...about,
        kind: 'session.status',
        status: { type: 'retry', attempt: 3, message: 'Rate limited' },
      },
    ]);
  });

  it('finds the session in the part, the message or the info where the event does not name it', () => {
    const part = { type: 'step-finish', sessionID: 'ses_a' };
    expect(say('message.part.updated', { part })).toEqual([
      { ...about, kind: 'session.step_finished' },
    ]);
    const info = { id: 'msg', role: 'user', sessionID: 'ses_a' };
    expect(say('message.updated', { info })).toEqual([
      { ...about, kind: 'session.prompted', messageID: 'msg' },
    ]);
    expect(say('session.deleted', { info: { id: 'ses_a' } })).toEqual([
      { ...about, kind: 'session.deleted' },
    ]);
  });

  it.each(['permission.asked', 'permission.v2.asked', 'permission.updated'])('%s asks', (type) => {
    expect(say(type, { id: 'per_1', sessionID: 'ses_a' })).toEqual([
      { ...about, kind: 'request.asked', request: { requestID: 'per_1', on: 'permission' } },
    ]);
  });

  it.each([
    ['permission.replied', { requestID: 'per_1' }],
    ['permission.replied', { permissionID: 'per_1', response: 'once' }],
    ['permission.v2.replied', { requestID: 'per_1' }],
    ['question.replied', { requestID: 'per_1' }],
    ['question.rejected', { requestID: 'per_1' }],
    ['question.v2.rejected', { requestID: 'per_1' }],
  ])('%s %j answers', (type, extra) => {
    expect(say(type, { sessionID: 'ses_a', ...extra })).toEqual([
      { ...about, kind: 'request.answered', requestID: 'per_1' },
    ]);
  });

  it('sees a compaction in the session info and in a part', () => {
    const info = { id: 'ses_a', time: { compacting: 1 } };
    expect(kinds(say('session.updated', { info }))).toContain('session.compacting');
    const part = { type: 'compaction', sessionID: 'ses_a', auto: true };
    expect(kinds(say('message.part.updated', { part }))).toEqual(['session.compacting']);
    expect(kinds(say('session.compacted', { sessionID: 'ses_a' }))).toEqual(['session.compacted']);
  });

  it.each([
    ['prompted', { messageID: 'm' }, ['session.prompted']],
    ['step.started', { assistantMessageID: 'm' }, ['session.asking_model']],
    ['step.ended', {}, ['session.step_finished']],
    ['text.delta', {}, ['session.progress']],
    ['tool.called', { callID: 'c', tool: 'bash' }, ['tool.running', 'session.progress']],
    ['tool.success', { callID: 'c' }, ['tool.ended', 'session.progress']],
    ['retried', { attempt: 1 }, []],
  ])('session.next.%s', (name, extra, expected) => {
    expect(kinds(say(`session.next.${name}`, { sessionID: 'ses_a', ...extra }))).toEqual(expected);
  });
});

describe('the ends of things', () => {
  it('keeps the name, number and words of an error, in bounds', () => {
    const data = { message: 'x'.repeat(5_000), statusCode: 429, isRetryable: true };
    const [error] = say('session.error', { sessionID: 'ses_a', error: { name: 'APIError', data } });
    expect(error).toMatchObject({ name: 'APIError', statusCode: 429, retryable: true });
    expect((error as { message: string }).message).toHaveLength(300);
  });

  it("leaves out the values of a failed query: a message's text may be among them", () => {
    const message =
      'Failed query: insert into "part" ("id", "data") values (?, ?) params: prt_1,{"text":"secret';
    const error = { name: 'UnknownError', data: { message } };
    const [said] = say('session.error', { sessionID: 'ses_a', error });
    expect(said).toMatchObject({
      message: 'Failed query: insert into "part" ("id", "data") values (?, ?) params: …',
    });
  });

  it('cuts the stack off an error, and is not held up by a page of blank lines', () => {
    const blank = '\n'.repeat(20_000);
    const of = (message: string) => {
      const error = { name: 'UnknownError', data: { message } };
      return say('session.error', { sessionID: 'ses_a', error })[0];
    };
    expect(of('It broke\n\n    at run (/x.ts:1:1)\n    at f')).toMatchObject({
      message: 'It broke',
    });
    expect(of(`It broke${blank}  at run (/x.ts:1:1)`)).toMatchObject({ message: 'It broke' });
    expect(of(`${blank}It broke`)).toMatchObject({ kind: 'session.error' });
  });

  it('leaves out errors of no session', () => {
    expect(say('session.error', { error: { name: 'UnknownError' } })).toEqual([]);
  });

  it('names the disposed directory by the event, or by its tag', () => {
    const disposed = { kind: 'directory.disposed', at: AT, directory: '/q' };
    expect(say('server.instance.disposed', { directory: '/q/' })).toEqual([disposed]);
    expect(say('server.instance.disposed', {}, '/q')).toEqual([disposed]);
    expect(say('server.instance.disposed', {}, 'global')).toEqual([]);
  });
});

describe('malformed events', () => {
  it('is counted and says nothing', () => {
    const parseStats = new ParseStats();
    for (const payload of [null, 1, 'x', [], { type: 3 }, { type: 'session.status' }]) {
      expect(translate('/p', payload, AT, EPOCH, parseStats)).toEqual([]);
    }
    expect(parseStats.unparseable).toBe(6);
  });

  it('never throws, whatever a server sends', { timeout: 120_000 }, () => {
    const types = Object.values(realEvents).map(({ payload }) => String(payload.type));
    const wild = fc.record({
      type: fc.constantFrom(...types),
      properties: fc.jsonValue({ maxDepth: 4 }),
    });
    const parseStats = new ParseStats();
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue({ maxDepth: 4 }), wild, mutated()), (payload) => {
        for (const observation of translate('/p', payload, AT, EPOCH, parseStats)) {
          expect(observation.at).toBe(AT);
          if ('sessionID' in observation) expect(observation.sessionID).toMatch(/./s);
        }
      }),
      { numRuns: runs(120_000) },
    );
  });
});

/** A real event with one value somewhere in it replaced. */
function mutated(): fc.Arbitrary<unknown> {
  const payloads = Object.values(realEvents).map(({ payload }) => payload);
  return fc
    .tuple(fc.constantFrom(...payloads), fc.nat(200), fc.jsonValue({ maxDepth: 2 }))
    .map(([payload, target, value]) => {
      let count = 0;
      return JSON.parse(JSON.stringify(payload), (_, old) => (count++ === target ? value : old));
    });
}
