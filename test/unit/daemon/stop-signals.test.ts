/** A signal names the runs that it cuts; a first Ctrl-C at a terminal asks before it cuts healthy ones. */
import { expect, it } from 'vitest';
import { StopSignals } from '../../../src/daemon/stop-signals.js';
import type { SessionFacts } from '../../../src/status/source.js';
import type { Telemetry } from '../../../src/telemetry/logger.js';

const session = (sessionID: string, health: SessionFacts['health'], title?: string) =>
  ({ sessionID, health, forMs: 1, ...(title === undefined ? {} : { title }) }) as SessionFacts;

function terminal(cut: SessionFacts[], isTerminal = true) {
  const said: unknown[] = [];
  const questions: string[] = [];
  const stopped: string[] = [];
  const emit = (event: string, fields: object) => said.push({ event, ...fields });
  const signals = new StopSignals({
    telemetry: { emit } as unknown as Telemetry,
    isTerminal,
    cut: async () => cut,
    ask: (question) => questions.push(question),
    stop: (signal) => stopped.push(signal),
  });
  return { signals, said, questions, stopped };
}

it('stops at once where nobody is at work', async () => {
  const { signals, said, questions, stopped } = terminal([]);
  await signals.came('SIGINT');
  expect(said).toEqual([{ event: 'daemon.stopping', signal: 'SIGINT', interrupted: [] }]);
  expect([questions, stopped]).toEqual([[], ['SIGINT']]);
});

it('asks for a second Ctrl-C, with the titles of the healthy runs', async () => {
  const { signals, said, questions, stopped } = terminal([
    session('ses_1', 'busy', 'Fix the build'),
    session('ses_2', 'stuck'),
  ]);
  await signals.came('SIGINT');
  expect(questions).toEqual([expect.stringMatching(/^a run is at work .*: Fix the build\./)]);
  expect([said, stopped, signals.told]).toEqual([[], [], undefined]);
  await signals.came('SIGINT');
  expect(said).toEqual([
    { event: 'daemon.stopping', signal: 'SIGINT', interrupted: ['ses_1', 'ses_2'] },
  ]);
  expect(stopped).toEqual(['SIGINT']);
});

it.each([
  ['SIGTERM at a terminal', 'SIGTERM', true],
  ['SIGINT without a terminal', 'SIGINT', false],
  ['a fault of its own', 'fault', true],
])('does not ask: %s', async (_, signal, isTerminal) => {
  const { signals, questions, stopped } = terminal([session('ses_1', 'busy')], isTerminal);
  await signals.came(signal);
  expect([questions, stopped]).toEqual([[], [signal]]);
});

it('does not ask where only stuck runs would be cut', async () => {
  const { signals, stopped } = terminal([session('ses_1', 'wedged')]);
  await signals.came('SIGINT');
  expect(stopped).toEqual(['SIGINT']);
});

it('stops once, however many signals come', async () => {
  const { signals, said, stopped } = terminal([session('ses_1', 'busy')]);
  await Promise.all(['SIGINT', 'SIGINT', 'SIGTERM', 'SIGINT'].map((each) => signals.came(each)));
  await signals.came('SIGINT');
  expect(said).toHaveLength(1);
  expect(stopped).toHaveLength(1);
});
