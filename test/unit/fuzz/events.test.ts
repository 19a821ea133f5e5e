/**
 * The event parser under spoiled traffic of the real opencode: bytes → frames → observations → decisions. Never a
 * crash, nothing kept without bound, and malformed data decides nothing.
 */
import { createParser } from 'eventsource-parser';
import { describe, expect, it } from 'vitest';
import { DeltaFilter } from '../../../src/opencode/http/delta-filter.js';
import { MAX_PATH_CHARS } from '../../../src/opencode/monitor/directories.js';
import { MAX_UNKNOWN_TYPES, ParseStats } from '../../../src/opencode/parse-stats.js';
import { readHead } from '../../../src/opencode/v1/frame-head.js';
import { MAX_ID_CHARS } from '../../../src/opencode/v1/schemas.js';
import { translate } from '../../../src/opencode/v1/translate.js';
import { observationSchema } from '../../../src/recording/format.js';
import { type Decision, isNote } from '../../../src/watchdog/decision.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { DEFAULT_POLICY, type Policy } from '../../../src/watchdog/policy.js';
import { MAX_SESSIONS } from '../../../src/watchdog/session/registry.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';
import {
  fuzz,
  longestText,
  mutateBytes,
  mutateJson,
  nonsense,
  rearrange,
  recordings,
  runs,
} from '../../support/mutate.js';
import type { Random } from '../../support/random.js';
import { realEvents } from '../opencode/real-events.js';

const NOW = 1_795_343_500_000;
type Frame = (typeof realEvents)[string];
/** A retry or a deletion decides, also where a flipped bit made it: whoever is told of one is told a fact. */
const frames = Object.values(realEvents).filter(
  (frame) => !/"(retry|session\.deleted)"/.test(JSON.stringify(frame)),
);
const text = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const everything = Buffer.from(frames.map(text).join(''));

/** Everything between the socket and the watchdog, as `event-stream.ts` and `monitor.ts` put it together. */
class Listener {
  readonly parseStats = new ParseStats();
  readonly observations: Observation[] = [];
  readonly #parser = createParser({ onEvent: ({ data }) => this.frame(data) });
  readonly #decoder = new TextDecoder();
  readonly filter = new DeltaFilter({
    isRedundant: (head) => {
      const { type, sessionID = '', directory = '' } = readHead(head) ?? {};
      expect(sessionID.length).toBeLessThanOrEqual(MAX_ID_CHARS);
      expect(directory.length).toBeLessThan(MAX_PATH_CHARS);
      return type === 'sync';
    },
  });

  bytes(chunk: Uint8Array): void {
    const passed = this.filter.push(chunk);
    if (passed) this.#parser.feed(this.#decoder.decode(passed, { stream: true }));
  }

  frame(data: string): void {
    let value: unknown;
    try {
      value = JSON.parse(data);
    } catch {
      return;
    }
    if (typeof value !== 'object' || value === null) return;
    const { directory, payload = value } = value as Partial<Frame>;
    this.payload(typeof directory === 'string' ? directory : undefined, payload);
  }

  payload(directory: string | undefined, payload: unknown): void {
    this.observations.push(...translate(directory, payload, 0, NOW, this.parseStats));
  }
}

/** A watchdog with a healthy server, where every second something is heard. */
class Judge {
  readonly watchdog: Watchdog;
  readonly decisions: Decision[] = [];
  at = 1_000;

  constructor(policy: Policy = DEFAULT_POLICY) {
    this.watchdog = new Watchdog({ policy, acts: true });
    this.take({ kind: 'server.attached', at: this.at, running: true, pid: 1, version: '1.18.33' });
    this.take({ kind: 'stream.connected', at: this.at, path: '/global/event' });
    this.take({ kind: 'stream.resynced', at: this.at });
  }

  take(o: Observation): void {
    this.decisions.push(...this.watchdog.observe({ ...o, at: this.at }));
  }

  get acts(): string[] {
    return this.decisions.flatMap((each) =>
      isNote(each) || each.act === 'inspect' ? [] : [each.act],
    );
  }
}

function isSound(o: Observation, random: Random): void {
  if (longestText(o) > MAX_PATH_CHARS) throw new Error(`too long: ${o.kind}`);
  // A sample: the schema costs more than all the rest.
  if (!random.chance(0.05)) return;
  // What a recording's own schema takes is what the watchdog was built for.
  const bounded =
    'directory' in o && (o.directory?.length ?? 0) > 4_000 ? { ...o, directory: '/' } : o;
  const read = observationSchema.safeParse(JSON.parse(JSON.stringify(bounded)));
  if (!read.success && !/max|200|256/.test(read.error.message)) throw read.error;
}

describe('the event parser', () => {
  it('takes spoiled bytes for what they are, in streams of six real frames', () => {
    const judge = new Judge();
    const parseStats = new ParseStats();
    let heard = 0;
    const inputs = fuzz(10_000, (random) => {
      const listener = new Listener();
      const chosen = rearrange(
        random,
        Array.from({ length: 6 }, () => random.pick(frames)),
      );
      const stream = mutateBytes(random, Buffer.from(chosen.map(text).join('')), everything);
      for (let from = 0; from < stream.length; ) {
        const to = from + 1 + random.int(2_000);
        listener.bytes(stream.subarray(from, to));
        from = to;
      }
      // What comes after it is understood again.
      listener.bytes(Buffer.from(`\n\n${text({ directory: '/p', payload: idle })}`));
      expect(listener.observations.at(-1)).toMatchObject({
        kind: 'session.status',
        sessionID: 'ses_z',
      });
      for (const o of listener.observations) {
        isSound(o, random);
        judge.at += 1;
        judge.take(o);
      }
      heard += listener.observations.length;
      parseStats.unparseable += listener.parseStats.unparseable;
    });
    expect(inputs).toBeGreaterThanOrEqual(runs(10_000));
    // Neither was everything spoiled beyond reading, nor nothing.
    expect(heard).toBeGreaterThan(inputs);
    expect(parseStats.unparseable).toBeGreaterThan(inputs / 100);
    expect(judge.acts).toEqual([]);
    expect(judge.watchdog.sessions(judge.at).length).toBeLessThanOrEqual(MAX_SESSIONS);
    expect(longestText(judge.watchdog.details(judge.at))).toBeLessThanOrEqual(MAX_PATH_CHARS);
  });

  it('takes events whose values are nonsense', () => {
    const judge = new Judge();
    const listener = new Listener();
    let unknown = 0;
    listener.parseStats.onUnknownStatus = () => {
      unknown += 1;
    };
    const inputs = fuzz(60_000, (random) => {
      const frame = mutateJson(random, random.pick(frames)) as Partial<Frame> | null;
      const { directory, payload } = frame ?? {};
      listener.payload(directory, payload);
      for (const o of listener.observations.splice(0)) {
        isSound(o, random);
        judge.at += 1;
        judge.take(o);
      }
    });
    expect(listener.parseStats.unparseable).toBeGreaterThan(inputs / 20);
    expect(unknown).toBeLessThanOrEqual(MAX_UNKNOWN_TYPES);
    expect(judge.acts).toEqual([]);
    expect(longestText(judge.watchdog.details(judge.at))).toBeLessThanOrEqual(MAX_PATH_CHARS);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});

const idle = {
  type: 'session.status',
  properties: { sessionID: 'ses_z', status: { type: 'idle' } },
};

/** Events about a session in which what matters is no such thing. */
function malformedAbout(random: Random, sessionID: string): unknown {
  const junk = () => {
    const value = nonsense(random);
    return typeof value === 'object' && !Array.isArray(value) ? [value] : value;
  };
  const [type, field] = random.pick([
    ['session.status', 'status'],
    ['message.updated', 'info'],
    ['message.part.updated', 'part'],
    ['session.updated', 'info'],
    ['permission.asked', 'id'],
    ['question.asked', 'id'],
    ['permission.replied', 'requestID'],
    ['session.next.nonsense', 'x'],
    ['no.such.event', 'x'],
  ] as const);
  // An id may be any text: only a value that is no string is malformed.
  const value = field === 'id' || field === 'requestID' ? [junk()] : junk();
  const properties = random.chance(0.1) ? junk() : { sessionID, [field]: value };
  return { type: random.chance(0.05) ? junk() : type, properties };
}

describe('malformed text in between', () => {
  const healthy = recordings('healthy-');

  it.each(healthy)('does not change what is decided about $name', ({ lines }) => {
    const [head = '', ...rest] = lines;
    const policy = { ...DEFAULT_POLICY, ...JSON.parse(head).policy } as Policy;
    const observations = rest.map(
      (line) => observationSchema.parse(JSON.parse(line)) as Observation,
    );
    const ids = [...new Set(observations.flatMap((o) => ('sessionID' in o ? [o.sessionID] : [])))];
    const decide = (random?: Random) => {
      const watchdog = new Watchdog({ policy, acts: true });
      return observations
        .flatMap((o) => [...(random ? between(random, ids, o.at) : []), o])
        .flatMap((o) => watchdog.observe(o))
        .filter((each) => !('sessionID' in each) || ids.includes(each.sessionID ?? ''));
    };
    const plain = decide();
    const inputs = fuzz(100, (random) => expect(decide(random)).toEqual(plain));
    expect(inputs).toBeGreaterThanOrEqual(runs(100));
  });
});

/** Garbage about the sessions at work, and spoiled events of others. */
function between(random: Random, ids: readonly string[], at: number): Observation[] {
  const payloads = Array.from({ length: random.int(4) }, () =>
    random.chance(0.5)
      ? malformedAbout(random, random.pick(ids))
      : (mutateJson(random, random.pick(frames)) as Partial<Frame> | null)?.payload,
  );
  return payloads.flatMap((payload) => translate('/elsewhere', payload, at, NOW));
}
