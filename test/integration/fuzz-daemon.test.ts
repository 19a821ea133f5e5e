/**
 * The whole daemon with a server that sends malformed data on the event stream and in every answer. The daemon limits
 * its complaints, decides nothing on this data, and knows its session again afterwards.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { COMPLAINTS } from '../../src/telemetry/rate-limit.js';
import { mutateBytes, mutateJson, nonsense } from '../support/mutate.js';
import { Random } from '../support/random.js';
import { waitFor } from '../support/wait.js';
import { realEvents } from '../unit/opencode/real-events.js';
import { OWN } from './daemon-support.js';
import { type Watched, watched } from './status-support.js';

const frames = Object.values(realEvents).filter(
  (frame) => !/"(retry|session\.deleted)"/.test(JSON.stringify(frame)),
);
const text = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;

/** The bytes of one burst: real frames with damaged bytes or values, and things that are no frames at all. */
function burst(random: Random): string {
  const parts = Array.from({ length: 200 }, () => {
    const frame = random.pick(frames);
    switch (random.int(3)) {
      case 0:
        return mutateBytes(random, Buffer.from(text(frame))).toString('utf8');
      case 1:
        return text(mutateJson(random, frame));
      default:
        return `data: ${random.pick(['{', '[]', 'null', '{"payload":{"type":7}}', '\0'])}\n\n`;
    }
  });
  return `${parts.join('')}\n\n`;
}

const BURSTS = 100;

/** A hundred bursts of nonsense must not flood the log: twenty different lines, and two per second after them. */
async function rave(w: Watched, each: () => void): Promise<void> {
  const from = w.lines.length;
  const began = performance.now();
  for (let n = 0; n < BURSTS; n += 1) {
    each();
    await sleep(20);
  }
  const seconds = Math.ceil((performance.now() - began) / 1_000);
  // Sessions with made-up ids are real to the daemon until it inspects them. Their changes have a limit of their own
  // (unit/telemetry/log-rate), and what is decided about them is withdrawn after the inspection, before it is done.
  const said = w.lines
    .slice(from)
    .filter(({ event }) => !/^(session\.\w+|health\.summary)$/.test(event));
  expect(said.length).toBeLessThanOrEqual(COMPLAINTS.all.burst + 2 * seconds);
}

function nothingWasDone(w: Watched, sessionID: string): void {
  expect(w.server.count('POST /session/:id/abort')).toBe(0);
  expect(w.control().calls.filter(({ call }) => /start/.test(call))).toEqual([]);
  const decided = w.lines.filter(
    (line) => line.sessionID === sessionID && !/health/.test(line.event),
  );
  expect(decided).toEqual([]);
}

describe('a server that has gone mad', () => {
  it('on its event stream: 20,000 malformed frames decide nothing and are no flood of lines', async () => {
    const w = await watched({ log: { healthInterval: 60_000 } });
    const ses = w.server.addSession({ directory: OWN });
    w.server.setStatus(ses.id, { type: 'busy' });
    await w.saw('session.health', { sessionID: ses.id, health: 'busy' });
    const random = new Random(20_261_122);
    await rave(w, () => w.server.streams.sendRaw(burst(random)));
    nothingWasDone(w, ses.id);
    const unread = w.lines.filter(({ msg }) => /server sent could not be read/.test(String(msg)));
    expect(unread.map(({ event }) => event)).toEqual(['server.notice']);
    const status = await w.status();
    expect(status.sessions.find(({ id }: { id: string }) => id === ses.id)?.health).toBe('busy');
    w.server.setStatus(ses.id, { type: 'idle' });
    await w.saw('session.health', { sessionID: ses.id, health: 'idle' });
  });

  it('in every answer to a poll: the session stays busy, and the log stays quiet', async () => {
    const w = await watched({ watch: { pollInterval: 10, heartbeatTimeout: 5_000 } });
    const ses = w.server.addSession({ directory: OWN });
    w.server.setStatus(ses.id, { type: 'busy' });
    await w.saw('session.health', { sessionID: ses.id, health: 'busy' });
    const random = new Random(20_261_122);
    const before = w.server.count('GET /session/status');
    await rave(w, () => {
      const value = nonsense(random);
      const whole = { [ses.id]: random.chance(0.5) ? value : { type: value } };
      // An object without the session would be a regular answer: the session is idle.
      const isOther = typeof value !== 'object' || Array.isArray(value);
      const spoiled = random.chance(0.4)
        ? mutateBytes(random, Buffer.from(`{"${ses.id}":{"type":`)).toString('utf8')
        : JSON.stringify(isOther && random.chance(0.5) ? value : whole);
      w.server.fault('GET /session/status', { status: 200, body: spoiled });
    });
    w.server.clearFaults();
    expect(w.server.count('GET /session/status') - before).toBeGreaterThan(20);
    nothingWasDone(w, ses.id);
    await waitFor(async () => {
      const { sessions } = await w.status();
      return sessions.some(
        ({ id, health }: { id: string; health: string }) => id === ses.id && health === 'busy',
      );
    });
  });
});
