/** What the daemon says, kept up to date: the stream, its reconnects, and one object with everything known. */

/** The stream's pulse comes every 5 s; without it the connection is dead, whatever the browser thinks. */
const SILENCE_MS = 16_000;
const AGAIN_MS = 3_000;

export const state = {
  /** `connecting`, `live` or `lost`. */
  live: 'connecting',
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

/** Calls `onChange(news)` after every message; `news` is what changed. */
export function connect(onChange) {
  let source;
  let watch;
  const open = () => {
    source?.close();
    source = new EventSource('stream');
    source.addEventListener('status', (event) => heard(whole(JSON.parse(event.data))));
    source.addEventListener('change', (event) => heard(change(JSON.parse(event.data))));
    source.onerror = lost;
    listen();
  };
  const listen = () => {
    clearTimeout(watch);
    watch = setTimeout(lost, SILENCE_MS);
  };
  const lost = () => {
    state.live = 'lost';
    source.close();
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

function whole(status) {
  state.offset = Date.parse(status.time) - Date.now();
  state.status = { ...status, lastSlot: status.strips.lastSlot };
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
  if (passed > 0) for (const row of state.sessions.values()) row.strip = roll(row, passed);
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
function roll({ strip, health }, passed) {
  const letter = health === 'wedged' ? 'W' : health === 'stalled' ? 'x' : health[0];
  return (strip + letter.repeat(Math.min(passed, strip.length))).slice(-strip.length);
}
