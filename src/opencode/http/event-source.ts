/** One connection to one of opencode's event streams, with the frame filter between the socket and the parser. */
import type { Clock } from '../../lib/clock.js';
import { DeltaFilter, type DeltaFilterEvents } from './delta-filter.js';
import { type ConnectionEnd, EventConnection, type StreamTarget } from './event-connection.js';

export interface ConnectionEvents extends DeltaFilterEvents {
  open(): void;
  bytes(): void;
  /** A frame's data. */
  data(text: string): void;
  end(end: ConnectionEnd): void;
}

export interface ConnectionOptions {
  target: Promise<StreamTarget>;
  clock: Clock;
  events: ConnectionEvents;
}

export class Connection {
  readonly #connection: EventConnection;
  readonly #filter: DeltaFilter;

  constructor({ events, ...options }: ConnectionOptions) {
    this.#filter = new DeltaFilter(events);
    this.#connection = new EventConnection({
      ...options,
      batched: true,
      open: () => events.open(),
      alive: () => events.bytes(),
      filter: (bytes, from, to) => this.#filter.push(bytes, from, to),
      data: (text) => events.data(text),
      end: (end) => events.end(end),
    });
  }

  /** Frames so far. */
  get frames(): number {
    const { passed, deltas, repeated, oversized } = this.#filter.counts;
    return passed + deltas + repeated + oversized;
  }

  /** How long what it says may wait, ms: 0 where it is read at once. */
  get restMs(): number {
    return this.#connection.restMs;
  }

  /** Nothing is reported any more. Settles when the connection is gone. */
  close(): Promise<void> {
    return this.#connection.close();
  }
}
