/**
 * What the simulated sessions say, written as OpenCode 2 writes it on the wire (opencode-2-facts, section 3) and read
 * back by the product's reader. So the random histories of 1.x also run on 2.x.
 */

import { V2EventReader } from '../../../src/opencode/v2/event-reader.js';
import { ASK_AFTER_MS, KnownSessions, retryOf } from '../../../src/opencode/v2/known-sessions.js';
import type {
  FinishedStep,
  Observation,
  SessionStatus,
} from '../../../src/watchdog/observation.js';

/** What the wire needs to know of a session. The simulation knows the rest. */
export interface WireSession {
  readonly id: string;
  readonly directory: string;
  readonly parentID: string | undefined;
  /** Its prompt is the newest message: before the first step begins, the transcript shows nothing later. */
  preparing: boolean;
  /** Somebody has ended its run. */
  interrupted: boolean;
  /** The argument of a call, if it is not unique to the call. */
  readonly inputs: ReadonlyMap<string, string>;
}

/** A true status. `nextAt`: when the next attempt comes, in simulated ms. */
export type TrueStatus = SessionStatus & { nextAt?: number };

type Data = Record<string, unknown>;
type Said = readonly [type: string, data?: Data][];

/** What the frames of one session have said so far. */
interface Talk {
  executing: boolean;
  delivered: boolean;
  /** The answer that is being written or awaited. */
  messageID: string;
  /** Its `step.started` is still to come: it comes with the provider's first event (section 3.4). */
  held: boolean;
  /** How many calls the open step has, and whether it has text. */
  calls: number;
  hasText: boolean;
  costUsd: number;
}

/** Any moment of real time: only differences count. */
const EPOCH = Date.UTC(2026, 0, 1);
const RATE_LIMIT = 'provider.rate-limit';

export class Opencode2Wire {
  readonly #now: () => number;
  readonly #known = new KnownSessions();
  readonly #reader: V2EventReader;
  readonly #talks = new Map<string, Talk>();
  #ids = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.#reader = new V2EventReader(
      {
        now,
        epoch: () => EPOCH + now(),
        after: () => {
          throw new Error('a reader sets no timers');
        },
      },
      this.#known,
    );
  }

  /** The frames that say it. None if 2.x has no frame for it. */
  frames(o: Observation, session: WireSession | undefined): string[] {
    if (o.kind === 'directory.disposed') {
      return [JSON.stringify({ id: this.#id(), type: 'location.shutdown', location: o, data: {} })];
    }
    if (session === undefined) return [];
    return this.#says(o, session, this.#talk(session.id)).map(([type, data]) =>
      this.#frame(type, data, session),
    );
  }

  /** What the monitor reads from a frame. */
  read(frame: string): Observation[] {
    const head = this.#reader.head(`data: ${frame}`);
    if (head.kind === 'delta') {
      return [{ kind: 'session.progress', at: this.#now(), sessionID: head.sessionID }];
    }
    const read = this.#reader.read(frame);
    return read.kind === 'event' ? [...read.observations] : [];
  }

  /** What the poll shows of an active session (section 4.2). After a silence its newest message is read too. */
  status(sessionID: string, truth: TrueStatus): SessionStatus {
    const known = this.#known.of(sessionID);
    if (this.#now() - known.heardAt >= ASK_AFTER_MS) {
      known.heardAt = this.#now();
      known.retry =
        truth.type === 'retry'
          ? retryOf(truth.attempt + 1, EPOCH + (truth.nextAt ?? 0), errorOf(truth.message))
          : undefined;
    }
    return this.#known.status(sessionID, EPOCH + this.#now());
  }

  connected(): void {
    this.#reader.read(JSON.stringify({ id: this.#id(), type: 'server.connected', data: {} }));
  }

  /** The server has died, and everything that ran in it. */
  forget(): void {
    this.#talks.clear();
    this.#reader.forget();
  }

  #says(o: Observation, session: WireSession, talk: Talk): Said {
    switch (o.kind) {
      case 'session.info': {
        const { directory, parentID } = session;
        return [['session.created', { location: { directory }, projectID: 'p', parentID }]];
      }
      case 'session.prompted': {
        const item = { type: 'user', payload: { text: 'x' }, delivery: 'steer' };
        return [['session.inbox.enqueued', { inboxID: o.messageID, item }]];
      }
      case 'session.status':
        return this.#turns(o.status, session, talk);
      case 'session.asking_model': {
        Object.assign(talk, { messageID: o.messageID, held: true, calls: 0, hasText: false });
        if (talk.delivered) return [];
        talk.delivered = true;
        session.preparing = true;
        return [['session.inbox.delivered', { inboxID: `${o.messageID}_of` }]];
      }
      case 'session.progress': {
        talk.hasText = true;
        const text = { assistantMessageID: talk.messageID, ordinal: 0, delta: 'x' };
        return [...this.#started(session, talk), ['session.text.delta', text]];
      }
      case 'session.step_finished':
        return [...this.#started(session, talk), ...this.#finished(o.step, talk)];
      case 'tool.running': {
        const { callID, tool, childID } = o.tool;
        const isTask = childID !== undefined;
        return [
          ...this.#started(session, talk),
          ...this.#called(callID, isTask ? 'subagent' : tool, session.inputs.get(callID), talk),
          ...(isTask ? [this.#progress(callID, childID, talk)] : []),
        ];
      }
      case 'tool.ended':
        return [this.#succeeded(o.callID, talk)];
      case 'request.asked':
        return [['permission.asked', { id: o.request.requestID, action: 'shell' }]];
      case 'request.answered':
        return [['permission.replied', { requestID: o.requestID, reply: 'once' }]];
      case 'session.compacting':
        return [['session.compaction.started', { reason: o.auto === false ? 'manual' : 'auto' }]];
      case 'session.compacted':
        return [['session.compaction.ended', { reason: 'auto', text: 'x' }]];
      case 'session.deleted':
        return [['session.deleted']];
      default:
        return [];
    }
  }

  /** No frame says the "busy" before an attempt (section 3.4). */
  #turns(status: SessionStatus, session: WireSession, talk: Talk): Said {
    switch (status.type) {
      case 'busy':
        if (talk.executing) return [];
        talk.executing = true;
        session.interrupted = false;
        return [['session.execution.started']];
      case 'retry': {
        const { attempt, message, nextInMs = 0 } = status;
        const error = errorOf(message);
        const at = EPOCH + this.#now() + nextInMs;
        const said = this.#started(session, talk);
        const { messageID, hasText } = talk;
        const retry = { assistantMessageID: messageID, attempt: attempt + 1, at, error };
        talk.held = true;
        if (!hasText) return [...said, ['session.retry.scheduled', retry]];
        // After partial output the next attempt is a new answer.
        Object.assign(talk, { messageID: `${messageID}_`, hasText: false, calls: 0 });
        return [
          ...said,
          ['session.step.failed', { assistantMessageID: messageID, error }],
          ['session.retry.scheduled', retry],
          ['session.synthetic', { text: 'Continue.' }],
        ];
      }
      case 'idle': {
        this.#talks.delete(session.id);
        const end = session.interrupted
          ? (['session.execution.interrupted', { reason: 'user' }] as const)
          : (['session.execution.succeeded'] as const);
        return [[...end], ['session.viewed', { idle: 1 }], ['session.never.heard.of', { x: 1 }]];
      }
      default:
        return [];
    }
  }

  #started(session: WireSession, talk: Talk): Said {
    if (!talk.held) return [];
    talk.held = false;
    session.preparing = false;
    const step = { assistantMessageID: talk.messageID, agent: 'build' };
    return [['session.step.started', { ...step, model: { id: 'm1', providerID: 'fake' } }]];
  }

  #finished(step: FinishedStep | undefined, talk: Talk): Said {
    const assistantMessageID = talk.messageID;
    const { costUsd = 0, fingerprint, tool = 'grep' } = step ?? {};
    const said: [string, Data?][] = [];
    if (fingerprint !== undefined && talk.calls === 0) {
      const callID = `call_${this.#id()}`;
      said.push(...this.#called(callID, tool, fingerprint, talk), this.#succeeded(callID, talk));
    }
    if (talk.hasText) {
      const text = `The words of ${assistantMessageID}.`;
      said.push(['session.text.ended', { assistantMessageID, ordinal: 0, text }]);
    }
    const finish = step?.finish ?? (talk.calls > 0 ? 'tool-calls' : 'stop');
    talk.costUsd += costUsd;
    const tokens = { input: 10, output: 5, reasoning: 0, cache: { read: 0, write: 0 } };
    said.push(
      ['session.step.streamed', { assistantMessageID }],
      ['session.step.ended', { assistantMessageID, finish, cost: costUsd, tokens }],
      ['session.usage.updated', { cost: talk.costUsd, tokens }],
    );
    return said;
  }

  #called(id: string, name: string, input = id, talk: Talk): Said {
    const { messageID: assistantMessageID } = talk;
    const call = { assistantMessageID, id };
    talk.calls += 1;
    return [
      ['session.tool.input.started', { ...call, name }],
      ['session.tool.input.ended', { ...call, text: input }],
      ['session.tool.called', { ...call, input: { of: input }, executed: true }],
    ];
  }

  #progress(id: string, childID: string, { messageID }: Talk): [string, Data] {
    const metadata = { sessionID: childID, status: 'running' };
    return ['session.tool.progress', { assistantMessageID: messageID, id, metadata }];
  }

  #succeeded(id: string, { messageID }: Talk): [string, Data] {
    const content = [{ type: 'text', text: 'done' }];
    return ['session.tool.success', { assistantMessageID: messageID, id, content, executed: true }];
  }

  #frame(type: string, data: Data | undefined, { id, directory }: WireSession): string {
    const isBare = /^session\.(execution\.|usage\.updated|viewed)/.test(type);
    return JSON.stringify({
      id: this.#id(),
      created: EPOCH + this.#now(),
      type,
      ...(!isBare && { location: { directory } }),
      data: { sessionID: id, ...data },
    });
  }

  #talk(sessionID: string): Talk {
    const known = this.#talks.get(sessionID);
    if (known !== undefined) return known;
    const talk: Talk = {
      executing: false,
      delivered: false,
      messageID: 'none',
      held: false,
      calls: 0,
      hasText: false,
      costUsd: 0,
    };
    this.#talks.set(sessionID, talk);
    return talk;
  }

  #id(): string {
    this.#ids += 1;
    return `evt_${this.#ids}`;
  }
}

const errorOf = (message: string) => ({ type: RATE_LIMIT, message, status: 429 });
