/** Evidence before a restart: gathered once for an incident, and never longer than the restart may wait. */
import { expect, it } from 'vitest';
import { Evidence } from '../../../src/daemon/evidence.js';
import type { Examination } from '../../../src/process/control/control.js';
import type { ServerEvidence } from '../../../src/status/evidence-store.js';
import type { ServerFacts, SessionFacts } from '../../../src/status/source.js';
import type { Telemetry } from '../../../src/telemetry/logger.js';
import { FakeClock, settle } from '../../support/fake-clock.js';

const SESSION: SessionFacts = {
  sessionID: 'ses_1',
  title: 'Fix the build',
  directory: '/home/ada/shop',
  health: 'busy',
  forMs: 1_000.4,
  tool: 'bash',
};

class World {
  readonly clock = new FakeClock(1_000);
  readonly written: ServerEvidence[] = [];
  readonly logged: string[] = [];
  examine: () => Promise<Examination> = async () => ({ processes: [], output: ['hello'] });
  write: (evidence: ServerEvidence) => Promise<string> = async () => '/state/evidence/x';
  readonly evidence: Evidence;

  constructor() {
    this.evidence = new Evidence({
      store: {
        write: (evidence) => {
          this.written.push(evidence);
          return this.write(evidence);
        },
      },
      control: { examine: () => this.examine() },
      clock: this.clock,
      telemetry: {
        emit: (event: string, fields: { folder?: string; notice?: string }) =>
          this.logged.push(`${event} ${fields.folder ?? fields.notice}`),
      } as unknown as Telemetry,
      server: () => ({ version: '1.18.33', pid: 7 }) as ServerFacts,
      sessions: () => [SESSION],
    });
  }
}

it('says what is open without a title or a directory, and where it is', async () => {
  const world = new World();
  await world.evidence.gather('unresponsive');
  expect(world.logged).toEqual(['server.evidence /state/evidence/x']);
  expect(world.written).toMatchObject([
    {
      reason: 'unresponsive',
      opencode: { version: '1.18.33', pid: 7 },
      sessions: [{ id: 'ses_1', health: 'busy', forMs: 1_000, tool: 'bash' }],
      output: ['hello'],
    },
  ]);
  expect(JSON.stringify(world.written)).not.toMatch(/Fix the build|shop/);
});

it.each(['exited', 'wedged', 'pileup', 'schedule', 'manual'] as const)(
  'nothing is gathered for a restart because of %s',
  async (reason) => {
    const world = new World();
    await world.evidence.gather(reason);
    expect(world.written).toEqual([]);
  },
);

it('is gathered once for an incident, and again for the next', async () => {
  const world = new World();
  await world.evidence.gather('unresponsive');
  await world.evidence.gather('unresponsive');
  expect(world.written).toHaveLength(1);
  world.evidence.incidentIsOver();
  await world.evidence.gather('memory');
  expect(world.written.map(({ reason }) => reason)).toEqual(['unresponsive', 'memory']);
});

it('a restart waits a second for it, and not longer; what comes late is kept all the same', async () => {
  const world = new World();
  let answer = (_: Examination) => {};
  world.examine = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  let isOver = false;
  const gathering = world.evidence.gather('unresponsive').then(() => {
    isOver = true;
  });
  await world.clock.advance(999);
  expect(isOver).toBe(false);
  await world.clock.advance(1);
  await gathering;
  expect(world.written).toEqual([]);
  answer({ output: [] });
  await settle();
  expect(world.logged).toEqual(['server.evidence /state/evidence/x']);
});

it('a disk that is full is said, and stops no restart', async () => {
  const world = new World();
  world.write = async () => {
    throw new Error('ENOSPC: no space left on device');
  };
  await world.evidence.gather('unresponsive');
  expect(world.logged).toEqual([
    'server.notice what was seen of the server before its restart is not kept: ENOSPC: no space left on device',
  ]);
});
