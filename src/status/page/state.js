/** What the daemon says, kept up to date: the stream, its reconnects, and one object with everything known. */

import { credentials, refused } from './token.js';

/** The stream's pulse comes every 5 s; without it the connection is dead, whatever the browser thinks. */
const SILENCE_MS = 16_000;
const AGAIN_MS = 3_000;

export const state = {
  /** `connecting`, `live` or `lost`. */
  live: 'connecting',
  /** The daemon shows nothing without the token. */
  refused: false,
  /** The daemon's clock minus ours, ms. */
  offset: 0,
  /** The last whole status, with every change since. */
  status: undefined,
  /** Session rows by id. */
  sessions: new Map(),
  /** Incidents by id. */
  incidents: new Map(),
};

/** The daemon's time, epoch ms. */
export const now = () => Date.now() + state.offset;

/** How many sessions are at work. The rows may be only the worst of them. */
export const activeNow = () =>
  Object.entries(state.status.counts).reduce(
    (sum, [health, count]) => sum + (health === 'idle' ? 0 : count),
    0,
  );

/** Calls `onChange(news)` after every message; `news` is what changed. */
export function connect(onChange) {
  let stop;
  let watch;
  const open = () => {
    stop?.abort();
    const current = new AbortController();
    stop = current;
    const isCurrent = () => !current.signal.aborted;
    listenTo('stream', current.signal, (event, data) => {
      if (!isCurrent()) return;
      if (event === 'status') heard(whole(JSON.parse(data)));
      else if (event === 'change') heard(change(JSON.parse(data)));
    }).then(
      () => isCurrent() && lost(),
      () => isCurrent() && lost(),
    );
    listen();
  };
  const listen = () => {
    clearTimeout(watch);
    watch = setTimeout(lost, SILENCE_MS);
  };
  const lost = () => {
    state.live = 'lost';
    stop?.abort();
    clearTimeout(watch);
    watch = setTimeout(open, AGAIN_MS);
    onChange({});
  };
  const heard = (news) => {
    state.live = 'live';
    listen();
    onChange(news);
  };
  open();
  // A phone that wakes up does not wait for the timer.
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && state.live === 'lost') open();
  });
}

/** Server-sent events over fetch: an EventSource cannot show a token. Settles when the stream ends. */
async function listenTo(path, signal, onEvent) {
  const response = await fetch(path, { headers: credentials(), signal });
  state.refused = response.status === 401;
  if (state.refused) refused();
  if (!response.ok) throw new Error(`status ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split('\n\n');
    rest = frames.pop();
    for (const frame of frames) {
      const event = /^event: (.*)$/m.exec(frame)?.[1];
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (event !== undefined && data !== undefined) onEvent(event, data);
    }
  }
}

function whole(status) {
  state.offset = Date.parse(status.time) - Date.now();
  state.status = { ...status, lastSlot: status.timelines.lastSlot };
  state.sessions = new Map(status.sessions.map((row) => [row.id, row]));
  state.incidents = new Map(status.incidents.map((incident) => [incident.id, incident]));
  return { whole: true, history: true, restarts: true };
}

function change(message) {
  const { sessions, gone, incidents, lastSlot, ...rest } = message;
  const { status } = state;
  if (status === undefined) return {};
  state.offset = Date.parse(message.time) - Date.now();
  const passed = lastSlot - status.lastSlot;
  if (passed > 0) for (const row of state.sessions.values()) row.timeline = roll(row, passed);
  Object.assign(status, rest, { lastSlot });
  for (const id of gone) state.sessions.delete(id);
  for (const row of sessions) state.sessions.set(row.id, row);
  const fresh = incidents.filter(({ id }) => !state.incidents.has(id));
  for (const incident of incidents) state.incidents.set(incident.id, incident);
  return {
    rolled: passed > 0,
    fresh,
    history: rest.history !== undefined,
    restarts: rest.restarts !== undefined,
  };
}

/** Half minutes that pass without news are as the last one was. */
function roll({ timeline, health }, passed) {
  const letter = health === 'wedged' ? 'W' : health === 'stalled' ? 'x' : health[0];
  return (timeline + letter.repeat(Math.min(passed, timeline.length))).slice(-timeline.length);
}
