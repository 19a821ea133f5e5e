/** The session rows: made once each, changed in place, sorted worst first. */
import { now, state } from './state.js';
import { counted, ENDED, el, HEALTHS, LETTERS, say, span, spent } from './words.js';

/** While somebody is busy with the rows they do not move. */
const HANDS_OFF_MS = 4_000;

const rows = document.getElementById('rows');
const search = document.getElementById('search');
const counts = document.getElementById('counts');
const drawn = new Map();
/** Health words that are shown; all where it is empty. */
const wanted = new Set();
let touchedAt = 0;

export function startSessions(onAbort) {
  for (const health of HEALTHS) {
    const button = el('button', {
      type: 'button',
      class: 'count',
      'data-health': health,
      'aria-pressed': 'false',
    });
    button.append(el('span', { class: 'dot' }), el('b', {}, '0'), ` ${health}`);
    button.addEventListener('click', () => {
      if (!wanted.delete(health)) wanted.add(health);
      button.setAttribute('aria-pressed', String(wanted.has(health)));
      filter();
    });
    counts.append(button);
  }
  search.addEventListener('input', filter);
  rows.addEventListener('pointermove', () => {
    touchedAt = Date.now();
  });
  rows.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button !== null) onAbort(state.sessions.get(button.closest('.row').dataset.id));
  });
}

/** After every message. */
export function drawSessions() {
  const latest = latestIncidents();
  for (const row of state.sessions.values()) update(row, latest.get(row.id));
  for (const [id, { element }] of drawn) {
    if (state.sessions.has(id)) continue;
    element.remove();
    drawn.delete(id);
  }
  sort();
  filter();
  for (const button of counts.querySelectorAll('button')) {
    const amount = state.status.counts[button.dataset.health] ?? 0;
    say(button.querySelector('b'), String(amount));
    button.classList.toggle('none', amount === 0 && !wanted.has(button.dataset.health));
  }
}

/** Every second: how long each has been so, and when the next attempt comes. */
export function tickSessions() {
  for (const { row, parts, element } of drawn.values()) {
    if (element.hidden) continue;
    say(parts.for, span(now() - row.since));
    if (row.nextAt !== undefined || row.parkedUntil !== undefined) say(parts.next, nextWords(row));
  }
}

function update(row, incident) {
  let entry = drawn.get(row.id);
  if (entry === undefined) {
    entry = make(row);
    drawn.set(row.id, entry);
    rows.append(entry.element);
  }
  const before = entry.row;
  entry.row = row;
  const { element, parts } = entry;
  if (entry.timeline !== row.timeline) {
    entry.timeline = row.timeline;
    parts.timeline.style.backgroundImage = gradient(row.timeline);
    parts.timeline.setAttribute('aria-label', timelineWords(row.timeline));
  }
  const outcome = row.health === 'idle' && incident?.endedAt !== undefined ? incident : undefined;
  if (before === row && entry.outcome === outcome?.outcome) return;
  entry.outcome = outcome?.outcome;
  element.dataset.health = row.health;
  say(parts.health, row.health);
  say(parts.title, row.title ?? row.id);
  say(
    parts.where,
    [row.title === undefined ? '' : row.id, shortPath(row.directory)].filter(Boolean).join(' · '),
  );
  parts.where.title = row.directory ?? '';
  say(
    parts.doing,
    outcome === undefined || row.outcome !== undefined
      ? doing(row)
      : `${outcome.outcome}${outcome.reason ? ` (${outcome.reason})` : ''}`,
  );
  say(parts.next, nextWords(row));
  say(parts.for, span(now() - row.since));
  parts.abort.hidden = row.health === 'idle';
  parts.abort.setAttribute('aria-label', `Abort ${row.title ?? row.id}`);
  entry.text = `${row.id} ${row.title ?? ''} ${row.directory ?? ''}`.toLowerCase();
}

function make(row) {
  const parts = {
    health: el('span', { class: 'word' }),
    title: el('span', { class: 'title' }),
    where: el('span', { class: 'where' }),
    timeline: el('span', { class: 'timeline', role: 'img' }),
    doing: el('span', { class: 'what' }),
    next: el('span', { class: 'next' }),
    for: el('td', { class: 'for' }),
    abort: el('button', { type: 'button', class: 'small' }, 'Abort'),
  };
  const element = el(
    'tr',
    { class: 'row', 'data-id': row.id },
    el('td', { class: 'health' }, el('span', { class: 'dot' }), parts.health),
    el('td', { class: 'name' }, parts.title, parts.where),
    el('td', { class: 'hour' }, parts.timeline),
    el('td', { class: 'doing' }, parts.doing, ' ', parts.next),
    parts.for,
    el('td', { class: 'act' }, parts.abort),
  );
  return { element, parts, row: undefined, text: '', timeline: undefined, outcome: undefined };
}

function sort() {
  const busyHere = Date.now() - touchedAt < HANDS_OFF_MS || rows.contains(document.activeElement);
  if (busyHere) return;
  const rank = (health) => HEALTHS.indexOf(health);
  const order = [...drawn.values()].sort(
    ({ row: a }, { row: b }) =>
      rank(a.health) - rank(b.health) ||
      (a.health === 'idle' ? b.since - a.since : a.since - b.since) ||
      (a.id < b.id ? -1 : 1),
  );
  let place = rows.firstElementChild;
  for (const { element } of order) {
    if (element === place) place = place.nextElementSibling;
    else rows.insertBefore(element, place);
  }
}

function filter() {
  const text = search.value.trim().toLowerCase();
  let shown = 0;
  for (const entry of drawn.values()) {
    const fits = (wanted.size === 0 || wanted.has(entry.row.health)) && entry.text.includes(text);
    if (entry.element.hidden === fits) entry.element.hidden = !fits;
    if (fits) shown += 1;
  }
  const total = state.status?.sessionsTotal ?? 0;
  const few = shown < total ? `${shown} of ${total}` : String(total);
  say(document.getElementById('sessions-total'), total === 0 ? '' : few);
  const empty = document.getElementById('no-rows');
  empty.hidden = shown > 0;
  say(
    empty,
    drawn.size === 0
      ? 'No session has been active in the last hour.'
      : 'No session fits the search.',
  );
}

/** What a session waits for or fails on. */
function doing(row) {
  const { waitingFor, reason, attempt, message, tool, toolSince, health } = row;
  if (health === 'idle') return ended(row);
  const parts = [
    waitingFor === undefined ? '' : `a person, to answer a ${waitingFor}`,
    reason === undefined ? '' : `over the limit: ${reason}`,
    attempt === undefined ? '' : `attempt ${attempt}`,
    message ?? '',
    tool === undefined
      ? ''
      : `${tool}${toolSince === undefined ? '' : ` for ${span(now() - toolSince)}`}`,
    health === 'delegating' ? 'its subagent' : '',
    spent(row),
  ];
  return parts.filter(Boolean).join(' · ');
}

/** `finished · $0.12`, `aborted (loop)`, `failed: APIError: bad key`. */
function ended(row) {
  const { outcome, reason, message } = row;
  if (outcome === undefined) return '';
  const words = ENDED[outcome] ?? outcome;
  const how = `${words}${reason === undefined ? '' : ` (${reason})`}${message === undefined ? '' : `: ${message}`}`;
  return [how, spent(row)].filter(Boolean).join(' · ');
}

/** When it tries again, and on which model. */
function nextWords({ nextAt, model, parkedUntil, quarantined, health }) {
  if (quarantined && health === 'idle') return 'quarantined after crashes, waits for your prompt';
  if (parkedUntil !== undefined) {
    const wait = parkedUntil - now();
    return wait > 0 ? `parked, goes on in ${span(wait)}` : 'parked, goes on soon';
  }
  const left = nextAt === undefined ? undefined : nextAt - now();
  const next = left === undefined ? '' : left > 0 ? `next in ${span(left)}` : 'trying now';
  return [next, model].filter(Boolean).join(' · ');
}

function shortPath(path = '') {
  const names = path.split('/').filter(Boolean);
  return names.length > 2 ? `…/${names.slice(-2).join('/')}` : path;
}

/** Neighbours of one colour become one piece. */
function gradient(timeline) {
  const stops = runs(timeline).map(({ letter, from, to }) => {
    const colour = letter === '.' ? 'var(--none)' : `var(--${LETTERS[letter]})`;
    return `${colour} ${(from / timeline.length) * 100}% ${(to / timeline.length) * 100}%`;
  });
  return stops.length === 0 ? 'none' : `linear-gradient(90deg, ${stops.join(', ')})`;
}

/** For those who cannot see it: `last hour: busy 40 min, retrying 3 min`. */
function timelineWords(timeline) {
  const minutes = new Map();
  for (const letter of timeline) minutes.set(letter, (minutes.get(letter) ?? 0) + 0.5);
  const words = [...minutes]
    .filter(([letter]) => letter !== '.')
    .sort((a, b) => b[1] - a[1])
    .map(
      ([letter, amount]) =>
        `${LETTERS[letter]} ${amount < 1 ? 'under a minute' : counted(Math.round(amount), 'minute')}`,
    );
  return `last hour: ${words.join(', ') || 'nothing'}`;
}

function runs(timeline) {
  const found = [];
  for (let from = 0; from < timeline.length; ) {
    let to = from + 1;
    while (to < timeline.length && timeline[to] === timeline[from]) to += 1;
    found.push({ letter: timeline[from], from, to });
    from = to;
  }
  return found;
}

function latestIncidents() {
  const latest = new Map();
  for (const incident of state.incidents.values()) {
    if (incident.sessionID === undefined) continue;
    const known = latest.get(incident.sessionID);
    if (known === undefined || known.id < incident.id) latest.set(incident.sessionID, incident);
  }
  return latest;
}
