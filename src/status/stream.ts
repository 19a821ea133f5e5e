/** `/stream`: sends each listening page what has changed, a few times a second at most. */
import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../lib/clock.js';
import { withheldWords, withoutContent } from './content.js';
import { type Incident, MAX_INCIDENTS } from './incidents.js';
import type { SessionRow, StatusJson } from './json.js';
import type { StatusView } from './view.js';

/** Pages that listen to `/stream`. At the limit: 503. */
export const MAX_LISTENERS = 16;
/** Changes are gathered this long, so that a burst is one message. */
const GATHER_MS = 200;
/** A message comes at least this often: it shows the page that it is connected, and the memory curve goes on. */
const PULSE_MS = 5_000;
/**
 * Changes that a slow page has not read. At the limit: the page is disconnected; it connects again and gets the whole
 * status.
 */
export const MAX_UNREAD_BYTES = 4 * 1024 * 1024;

export interface ChangeMessage {
  time: string;
  watchdog?: StatusJson['watchdog'];
  server: StatusJson['server'];
  counts: StatusJson['counts'];
  spentToday: StatusJson['spentToday'];
  counters: StatusJson['counters'];
  sessionsTotal: number;
  lastSlot: number;
  sessions: SessionRow[];
  gone: string[];
  incidents: Incident[];
  restarts?: StatusJson['restarts'];
  history?: StatusJson['history'];
}

export class LiveStream {
  readonly #view: StatusView;
  readonly #clock: Clock;
  /** The listening pages, and whether each may read content. */
  readonly #listeners = new Map<ServerResponse, boolean>();
  /** Each row as it was last sent. */
  #sent = new Map<string, string>();
  #incidents = new Set<Incident>();
  #restarts = '';
  #gather: Timer | undefined;
  #pulse: Timer | undefined;
  #flushing = false;
  /** Something changed while a message was being made. */
  #again = false;

  readonly #onError: (err: unknown) => void;
  /** How to get the token. */
  readonly #hint: string;

  constructor(view: StatusView, clock: Clock, onError: (err: unknown) => void, hint = '') {
    this.#view = view;
    this.#clock = clock;
    this.#onError = onError;
    this.#hint = hint;
  }

  get full(): boolean {
    return this.#listeners.size >= MAX_LISTENERS;
  }

  /** Takes over the response of one page; without `content` the page gets only ids, health and numbers. */
  async add(response: ServerResponse, content: boolean): Promise<void> {
    this.#listeners.set(response, content);
    response.on('close', () => this.#drop(response)).on('error', () => this.#drop(response));
    response.write('retry: 2000\n\n');
    if (this.#listeners.size === 1) {
      this.#sent = new Map();
      this.#beat();
    }
    const status = await this.#view.json();
    // The page may be gone by now, or the daemon may be stopping.
    if (!this.#listeners.has(response)) return;
    // Earlier changes are in this status; later changes are sent after it.
    const shown = content
      ? status
      : { ...(withoutContent(status) as object), withheld: withheldWords(this.#hint) };
    this.#send(response, 'status', JSON.stringify(shown));
  }

  /** To be called when something that pages show has changed. */
  changed(incidents: readonly Incident[] = []): void {
    if (this.#listeners.size === 0) return;
    // Incidents beyond the limit are left out here. So many in one moment are rare, and the next whole status has the
    // newest.
    for (const incident of incidents) {
      if (this.#incidents.size < MAX_INCIDENTS) this.#incidents.add(incident);
    }
    this.#gather ??= this.#clock.after(GATHER_MS, () => this.#flush(), { unref: true });
  }

  close(): void {
    for (const response of [...this.#listeners.keys()]) {
      response.end();
      this.#drop(response);
    }
  }

  #beat(): void {
    this.#pulse = this.#clock.after(
      PULSE_MS,
      () => {
        this.#beat();
        this.#flush(true);
      },
      { unref: true },
    );
  }

  #flush(whole = false): void {
    this.#gather?.cancel();
    this.#gather = undefined;
    if (this.#flushing) {
      this.#again = true;
      return;
    }
    this.#flushing = true;
    this.#message(whole)
      .then((message) => {
        const whole = JSON.stringify(message);
        let bare: string | undefined;
        for (const [response, content] of this.#listeners) {
          if (!content) bare ??= JSON.stringify(withoutContent(message));
          this.#send(response, 'change', content ? whole : (bare ?? ''));
        }
      })
      .catch(this.#onError)
      .finally(() => {
        this.#flushing = false;
        if (!this.#again) return;
        this.#again = false;
        this.changed();
      });
  }

  async #message(whole: boolean): Promise<ChangeMessage> {
    const status = await this.#view.json();
    const rows: SessionRow[] = [];
    const sent = new Map<string, string>();
    for (const row of status.sessions) {
      // The timeline is not compared: time moves it on, and any other change of it comes with a change of health.
      const { timeline, ...rest } = row;
      const text = JSON.stringify(rest);
      sent.set(row.id, text);
      if (this.#sent.get(row.id) !== text) rows.push(row);
    }
    const gone = [...this.#sent.keys()].filter((id) => !sent.has(id));
    this.#sent = sent;
    const incidents = [...this.#incidents];
    this.#incidents.clear();
    const restarts = JSON.stringify(status.restarts);
    const restartsChanged = restarts !== this.#restarts;
    this.#restarts = restarts;
    const { time, watchdog, server, counts, spentToday, counters, sessionsTotal, history } = status;
    return {
      time,
      watchdog,
      server,
      counts,
      spentToday,
      counters,
      sessionsTotal,
      lastSlot: status.timelines.lastSlot,
      sessions: rows,
      gone,
      incidents,
      ...(restartsChanged ? { restarts: status.restarts } : {}),
      ...(whole || restartsChanged ? { history } : {}),
    };
  }

  #send(response: ServerResponse, event: string, data: string): void {
    if (response.writableLength > MAX_UNREAD_BYTES) {
      response.destroy();
      return;
    }
    response.write(`event: ${event}\ndata: ${data}\n\n`);
  }

  #drop(response: ServerResponse): void {
    this.#listeners.delete(response);
    if (this.#listeners.size > 0) return;
    this.#gather?.cancel();
    this.#gather = undefined;
    this.#pulse?.cancel();
    this.#incidents.clear();
  }
}
