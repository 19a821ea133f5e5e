/** Reads the events of opencode 1.x for one monitor, and fills in what an old version does not send. */
import type { Clock } from '../../lib/clock.js';
import type { Observation } from '../../watchdog/observation.js';
import { isDirectory } from '../monitor/directories.js';
import type { Notice } from '../monitor/notice.js';
import { parseJson } from '../parse-json.js';
import type { EventReader, Frame, FrameHead } from '../server-api.js';
import { TextSampler } from '../text-sampler.js';
import { directoryOf, isDelta, readHead } from './frame-head.js';
import { LegacyServer } from './legacy-server.js';
import type { V1Requests } from './requests.js';
import { StepReader } from './step-reader.js';
import { translate } from './translate.js';
import { PREFIX as PREVIEW } from './translate-next.js';

const OTHER: FrameHead = Object.freeze({ kind: 'other' });

export interface EventReaderOptions {
  client: V1Requests;
  /** Called for an event of a run that the preview of OpenCode 2's API has started. */
  onPreview?(): void;
  clock: Clock;
  notice: Notice;
}

export class V1EventReader implements EventReader {
  readonly #options: EventReaderOptions;
  readonly #steps = new StepReader();
  readonly #sampler = new TextSampler();
  readonly #legacy: LegacyServer;

  constructor(options: EventReaderOptions) {
    this.#options = options;
    this.#legacy = new LegacyServer(options);
  }

  /** 1.0.0 has no `/session/status`, so polls would only fail. */
  get statusless(): boolean {
    return this.#legacy.statusless;
  }

  head(head: string): FrameHead {
    const known = readHead(head);
    if (known === undefined) return OTHER;
    const { type, sessionID } = known;
    // `sync` frames repeat other frames (facts, section 4).
    if (type === 'sync') return { kind: 'repeated' };
    if (sessionID !== undefined && isDelta(type)) {
      // If the session's text is wanted, no delta is left out.
      if (!this.#sampler.wants(sessionID, this.#options.clock.now())) {
        return { kind: 'delta', sessionID };
      }
    }
    const directory = directoryOf(known);
    return {
      kind: 'other',
      ...(sessionID !== undefined && { sessionID }),
      ...(directory !== undefined && { directory }),
    };
  }

  read(text: string, place: string | undefined): Frame {
    const frame = parseFrame(text);
    if (frame === undefined) return { kind: 'unreadable' };
    switch (frame.type) {
      case 'sync':
      case 'server.connected':
        return { kind: 'nothing' };
      case 'server.heartbeat':
        return { kind: 'heartbeat' };
      case 'global.disposed':
        return { kind: 'all_disposed' };
      default:
        return this.#event(frame.type, frame.directory ?? place, frame.payload);
    }
  }

  async probed(
    version: string | undefined,
    path: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (version !== undefined) this.#legacy.isNewer();
    else if (path !== undefined) await this.#legacy.check(path, signal);
  }

  forget(): void {
    this.#legacy.forget();
  }

  #event(type: string, directory: string | undefined, payload: unknown): Frame {
    const { client, clock } = this.#options;
    const at = clock.now();
    if (type.startsWith(PREVIEW)) this.#options.onPreview?.();
    const said = translate(directory, payload, at, clock.epoch(), client.parseStats, this.#steps);
    if (type === 'message.part.delta') said.push(...this.#sample(said, payload, at));
    // A disposal does not show that its directory is alive.
    const isDisposal = type === 'server.instance.disposed';
    return {
      kind: 'event',
      ...(isDirectory(directory) && !isDisposal && { directory }),
      observations: said.flatMap((each) => this.#legacy.fill(each)),
      listed: !type.includes('.v2.'),
    };
  }

  /** What the text so far shows; it follows the delta's own observation. */
  #sample(said: readonly Observation[], payload: unknown, at: number): Observation[] {
    const [delta] = said;
    if (delta?.kind !== 'session.progress') return [];
    const { properties } = payload as { properties?: unknown };
    const textRepeats = this.#sampler.take(properties, at);
    return textRepeats === undefined
      ? []
      : [{ ...delta, kind: 'session.text_sampled', textRepeats }];
  }
}

interface WireFrame {
  directory: string | undefined;
  type: string;
  payload: unknown;
}

/** `/global/event` wraps its payload, `/event` does not (facts, section 4). */
function parseFrame(text: string): WireFrame | undefined {
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null) return undefined;
  const { directory, payload = value } = value as { directory?: unknown; payload?: unknown };
  const type = (payload as { type?: unknown } | null)?.type;
  if (typeof type !== 'string') return undefined;
  return { directory: typeof directory === 'string' ? directory : undefined, type, payload };
}
