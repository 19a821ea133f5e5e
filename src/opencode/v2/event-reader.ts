/** Reads the events of OpenCode 2 (`/api/event`; opencode-2-facts, section 3) for one monitor. */

import { BoundedMap } from '../../lib/bounded.js';
import type { Clock } from '../../lib/clock.js';
import type { Observation, RequestKind, SessionObservation } from '../../watchdog/observation.js';
import {
  endedCall,
  finishedStep,
  hashOf,
  MAX_OPEN_STEPS,
  MAX_STEP_TOOLS,
  newStep,
  type OpenStep,
} from '../finished-step.js';
import { isDirectory, normaliseDirectory } from '../monitor/directories.js';
import { parseJson } from '../parse-json.js';
import type { EventReader, Frame, FrameHead } from '../server-api.js';
import { TextSampler } from '../text-sampler.js';
import {
  type Known,
  type KnownSessions,
  nothingRuns,
  retryOf,
  retryStatus,
} from './known-sessions.js';
import * as schemas from './schemas.js';

const STRING = '"(?:[^"\\\\]|\\\\.)*"';
/** `data: {"id":I,"created":N,"type":T,"location":{…},"data":{"sessionID":S,…`; only `type` must be there. */
const HEAD = new RegExp(
  `^data: ?\\{(?:"id":${STRING},)?(?:"created":\\d+,)?"type":"([\\w.]+)"` +
    `(?:,"location":\\{"directory":${STRING}\\})?(?:,"data":\\{"sessionID":"([\\w-]{1,256})")?`,
);
const OTHER: FrameHead = Object.freeze({ kind: 'other' });
const NOTHING: Frame = Object.freeze({ kind: 'nothing' });

type WithoutPlace<T> = T extends unknown ? Omit<T, 'at' | 'sessionID' | 'directory'> : never;
type Said = WithoutPlace<Extract<SessionObservation, { sessionID: string }>>;

const PROGRESS: Said = Object.freeze({ kind: 'session.progress' });
const IDLE: Said = { kind: 'session.status', status: { type: 'idle' } };
const RUNNING: Said = { kind: 'session.status', status: { type: 'busy' } };

/**
 * For people: why opencode ended a run by itself (section 3.3). A run that somebody ended on purpose (`user`) is an
 * abort.
 */
const INACTIVE = 'opencode ended the run: nothing came of its directory for an hour';

export class V2EventReader implements EventReader {
  readonly statusless = false;
  readonly #clock: Clock;
  readonly #known: KnownSessions;
  readonly #steps = new BoundedMap<string, OpenStep>(MAX_OPEN_STEPS);
  readonly #sampler = new TextSampler();

  constructor(clock: Clock, known: KnownSessions) {
    this.#clock = clock;
    this.#known = known;
  }

  head(head: string): FrameHead {
    // The heartbeat is a comment, which no parser passes on.
    if (head.startsWith(':')) return { kind: 'heartbeat' };
    const [, type, sessionID] = HEAD.exec(head) ?? [];
    if (type === undefined || sessionID === undefined) return OTHER;
    // If the session's text is wanted, no delta is left out.
    const isDelta = type.endsWith('.delta') && !this.#sampler.wants(sessionID, this.#clock.now());
    return { kind: isDelta ? 'delta' : 'other', sessionID };
  }

  read(text: string): Frame {
    const event = schemas.envelope.safeParse(parseJson(text)).data;
    if (event === undefined) return { kind: 'unreadable' };
    const tagged = event.location?.directory;
    const place = isDirectory(tagged) ? normaliseDirectory(tagged) : undefined;
    // This is the first frame of each connection: what was sent before it was missed.
    if (event.type === 'server.connected') {
      this.#known.missed();
      return NOTHING;
    }
    if (event.type === 'location.shutdown') return this.#shutDown(place);
    const read = schemas.eventData.safeParse(event.data ?? {}).data;
    if (read === undefined) return { kind: 'unreadable' };
    const sessionID = read.sessionID ?? read.form?.sessionID;
    // A form may belong to no session (MCP); its session is then `global`.
    if (sessionID === undefined || sessionID === 'global') return NOTHING;
    const known = this.#known.of(sessionID);
    const at = this.#clock.now();
    known.heardAt = at;
    known.directory = place ?? known.directory;
    const said = this.#says(event.type, read, known, at);
    const { directory } = known;
    const where = { at, sessionID, ...(directory !== undefined && { directory }) };
    const observations = said.map((each) => ({ ...each, ...where }) as Observation);
    return {
      kind: 'event',
      ...(place !== undefined && { directory: place }),
      observations,
      listed: true,
    };
  }

  async probed(): Promise<void> {}

  forget(): void {
    this.#known.forget();
  }

  /** The services of a directory are gone. Its runs go on, but their requests are no longer open (section 6). */
  #shutDown(directory: string | undefined): Frame {
    const at = this.#clock.now();
    const observations: Observation[] = [];
    for (const [sessionID, known] of this.#known.entries()) {
      if (directory === undefined || known.directory !== directory) continue;
      for (const requestID of known.requests) {
        observations.push({ kind: 'request.answered', at, sessionID, directory, requestID });
      }
      known.requests.clear();
    }
    return { kind: 'event', observations, listed: true };
  }

  #says(type: string, data: schemas.EventData, known: Known, at: number): Said[] {
    switch (type) {
      case 'session.created':
      case 'session.moved': {
        const moved = data.location?.directory;
        if (isDirectory(moved)) known.directory = normaliseDirectory(moved);
        const { title, parentID } = data;
        const { directory } = known;
        return [
          {
            kind: 'session.info',
            info: {
              ...(directory !== undefined && { directory }),
              ...(title !== undefined && { title }),
              ...(parentID !== undefined && { parentID }),
              ...(type === 'session.created' && { ageMs: 0 }),
            },
          },
        ];
      }
      case 'session.renamed':
        return data.title === undefined
          ? []
          : [{ kind: 'session.info', info: { title: data.title } }];
      case 'session.usage.updated': {
        const spent = schemas.spentOf(data);
        return spent === undefined ? [] : [{ kind: 'session.info', info: { spent } }];
      }
      case 'session.deleted':
        return [{ kind: 'session.deleted' }];
      case 'session.inbox.enqueued':
        if (data.inboxID === undefined) return [];
        if (data.item?.type !== 'user') return [];
        return [
          // If its run is interrupted, it stays in the inbox until the next prompt (section 4.5).
          { kind: 'session.prompted', messageID: data.inboxID, parks: true },
          { kind: 'session.spoken_to', messageID: data.inboxID },
        ];
      case 'session.inbox.delivered':
        return [PROGRESS];
      case 'session.execution.started':
        return [...ended(known), RUNNING];
      case 'session.execution.succeeded':
        return [...ended(known), IDLE];
      case 'session.execution.failed':
        return [...ended(known), failure(data.error), IDLE];
      case 'session.execution.interrupted':
        return [...ended(known), interruption(data.reason), IDLE];
      case 'session.step.started':
        return this.#stepStarted(data, known);
      case 'session.step.ended':
        return this.#stepEnded(data, known);
      case 'session.step.failed':
        return ended(known);
      case 'session.retry.scheduled': {
        const epochNow = this.#clock.epoch();
        const cut = ended(known);
        known.retry = retryOf(data.attempt ?? 2, data.at ?? epochNow, data.error);
        return [...cut, { kind: 'session.status', status: retryStatus(known.retry, epochNow) }];
      }
      case 'session.text.ended': {
        const text = data.text?.trim();
        if (text && data.assistantMessageID !== undefined) {
          const { texts } = this.#step(data.assistantMessageID);
          texts.set(String(data.ordinal ?? texts.size), hashOf(text));
        }
        return [PROGRESS];
      }
      case 'session.text.delta':
      case 'session.reasoning.delta':
        return [PROGRESS, ...this.#sample(data, at)];
      case 'session.reasoning.ended':
        if (data.assistantMessageID !== undefined)
          this.#step(data.assistantMessageID).reasoned = true;
        return [PROGRESS];
      case 'session.compaction.started':
        known.compactingSince = at;
        return [{ kind: 'session.compacting', auto: data.reason !== 'manual' }];
      case 'session.compaction.ended':
      case 'session.compaction.failed':
        known.compactingSince = undefined;
        return [{ kind: 'session.compacted' }];
      case 'permission.asked':
        return asked(data.id, 'permission', known);
      case 'form.created':
        return asked(data.form?.id, 'question', known);
      case 'permission.replied':
        return answered(data.requestID, known);
      case 'form.replied':
      case 'form.cancelled':
        return answered(data.id, known);
      default:
        if (type.startsWith('session.tool.')) return this.#toolSays(type, data, known, at);
        return SIGN_OF_LIFE.test(type) ? [PROGRESS] : [];
    }
  }

  /** What the text so far shows; it follows the delta's own observation. */
  #sample(
    { sessionID, assistantMessageID, ordinal, delta }: schemas.EventData,
    at: number,
  ): Said[] {
    const partID = `${assistantMessageID} ${ordinal}`;
    const textRepeats = this.#sampler.take({ sessionID, partID, delta }, at);
    return textRepeats === undefined ? [] : [{ kind: 'session.text_sampled', textRepeats }];
  }

  /** Published with the provider's first event. Each attempt publishes it again with the same message (section 3.4). */
  #stepStarted({ assistantMessageID, model, agent }: schemas.EventData, known: Known): Said[] {
    const cut = ended(known);
    if (assistantMessageID === undefined) return [...cut, RUNNING];
    this.#steps.set(assistantMessageID, newStep());
    const asking: Said = {
      kind: 'session.asking_model',
      messageID: assistantMessageID,
      ...(model !== undefined && { model }),
      ...(agent !== undefined && { agent }),
    };
    return [...cut, RUNNING, asking];
  }

  #stepEnded(
    { assistantMessageID, finish, cost, tokens }: schemas.EventData,
    known: Known,
  ): Said[] {
    const over = ended(known);
    if (assistantMessageID === undefined) return [...over, { kind: 'session.step_finished' }];
    const step = finishedStep(assistantMessageID, this.#step(assistantMessageID), {
      ...(finish !== undefined && { finish }),
      ...(cost !== undefined && { costUsd: cost }),
      ...(tokens !== undefined && { tokens: schemas.tokenTotal(tokens) }),
    });
    this.#steps.set(assistantMessageID, newStep());
    return [...over, { kind: 'session.step_finished', step }];
  }

  #toolSays(type: string, data: schemas.EventData, known: Known, at: number): Said[] {
    const { id, assistantMessageID } = data;
    if (id === undefined) return [PROGRESS];
    const { calls } = known;
    const call = calls.get(id) ?? {
      name: data.name ?? 'unknown',
      messageID: assistantMessageID,
      input: undefined,
      startedAt: at,
    };
    const running = (childID?: string): Said => ({
      kind: 'tool.running',
      tool: {
        callID: id,
        tool: call.name,
        startedAt: call.startedAt,
        ...(childID !== undefined && { childID }),
      },
    });
    switch (type) {
      // The stream is silent while the model writes a long argument (section 3.2), which is no hang.
      case 'session.tool.input.started':
        calls.set(id, call);
        return [running(), PROGRESS];
      case 'session.tool.called':
        call.input = data.input;
        call.startedAt = at;
        calls.set(id, call);
        return [running(), PROGRESS];
      case 'session.tool.progress': {
        const childID = data.metadata?.sessionID;
        return childID === undefined ? [PROGRESS] : [running(childID), PROGRESS];
      }
      case 'session.tool.success':
      case 'session.tool.failed': {
        calls.delete(id);
        const failed = type === 'session.tool.failed';
        const result = failed ? (data.error?.message ?? '') : (JSON.stringify(data.content) ?? '');
        if (assistantMessageID !== undefined) {
          const { tools } = this.#step(assistantMessageID);
          const end = { failed, result, ms: at - call.startedAt };
          if (tools.size < MAX_STEP_TOOLS) tools.set(id, endedCall(call.name, call.input, end));
        }
        return [{ kind: 'tool.ended', callID: id }, PROGRESS];
      }
      default:
        return [PROGRESS];
    }
  }

  #step(messageID: string): OpenStep {
    const known = this.#steps.get(messageID);
    if (known !== undefined) return known;
    const step = newStep();
    this.#steps.set(messageID, step);
    return step;
  }
}

/**
 * Families whose other events all show new activity. `session.viewed` is not among them, because it comes from a client
 * (section 3.3).
 */
const SIGN_OF_LIFE =
  /^session\.(text|reasoning|step|compaction|shell|instructions|synthetic|skill)\b/;

/** Ends the calls that have not ended, a compaction and a retry: all of them are over. */
function ended(known: Known): Said[] {
  const over = [...known.calls.keys()].map((callID): Said => ({ kind: 'tool.ended', callID }));
  nothingRuns(known);
  return over;
}

function asked(requestID: string | undefined, on: RequestKind, known: Known): Said[] {
  if (requestID === undefined) return [];
  known.requests.add(requestID);
  return [{ kind: 'request.asked', request: { requestID, on } }];
}

function answered(requestID: string | undefined, known: Known): Said[] {
  if (requestID === undefined) return [];
  known.requests.delete(requestID);
  return [{ kind: 'request.answered', requestID }];
}

function failure(error: schemas.WireError | undefined): Said {
  const { type = 'unknown', message = '', status } = error ?? {};
  return {
    kind: 'session.error',
    name: type === 'aborted' ? 'MessageAbortedError' : type,
    message,
    ...(status !== undefined && { statusCode: status }),
  };
}

/**
 * `shutdown` does not mean that the server ends: if a request is rejected without a message, the turn ends with this
 * reason too (section 6). Whoever ended it, it was no failure. Only the inactivity sweep ends a run that nobody wanted
 * to end.
 */
function interruption(reason: string | undefined): Said {
  return reason === 'inactivity'
    ? { kind: 'session.error', name: 'InactivityInterrupt', message: INACTIVE }
    : { kind: 'session.error', name: 'MessageAbortedError', message: reason ?? 'interrupted' };
}
