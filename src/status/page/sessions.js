/** The session rows: made once each, changed in place, in groups: what needs a look first, then each project, the idle last. */
import * as address from './address.js';
import { now, state } from './state.js';
import {
  costOf,
  costWords,
  counted,
  doingWords,
  el,
  endedBadly,
  HEALTHS,
  LETTERS,
  needsAttention,
  projectOf,
  say,
  span,
} from './words.js';

/** While somebody is busy with the rows they do not move. */
const HANDS_OFF_MS = 4_000;
/** Names of groups that no project can have. */
const ATTENTION = ' attention';
const ENDED_BADLY = ' ended badly';
const PARKED = ' parked';
const IDLE = ' idle';
const TITLES = {
  [ATTENTION]: 'Needs a look',
  [ENDED_BADLY]: 'Did not end well',
  [PARKED]: 'Parked until their quota is back',
  [IDLE]: 'Idle',
};

const rows = document.getElementById('rows');
const search = document.getElementById('search');
const order = document.getElementById('sort');
const counts = document.getElementById('counts');
const drawn = new Map();
/** Heading rows of the groups. */
const headings = new Map();
/** Health words that are shown; all where it is empty. */
const wanted = new Set(
  address
    .get('health')
    .split(',')
    .filter((health) => HEALTHS.includes(health)),
);
/** The idle are folded until somebody looks. */
const folded = new Set([IDLE]);
let touchedAt = 0;

export function startSessions({ onAbort, onOpen }) {
  for (const health of HEALTHS) {
    const button = el('button', {
      type: 'button',
      class: 'count',
      'data-health': health,
      'aria-pressed': String(wanted.has(health)),
    });
    button.append(el('span', { class: 'dot' }), el('b', {}, '0'), ` ${health}`);
    button.addEventListener('click', () => {
      if (!wanted.delete(health)) wanted.add(health);
      button.setAttribute('aria-pressed', String(wanted.has(health)));
      address.set('health', [...wanted].join(','));
      arrange();
    });
    counts.append(button);
  }
  search.value = address.get('q');
  search.addEventListener('input', () => {
    address.set('q', search.value.trim());
    arrange();
  });
  order.value = address.get('sort') || 'worst';
  if (order.value === '') order.value = 'worst';
  order.addEventListener('change', () => {
    address.set('sort', order.value === 'worst' ? '' : order.value);
    touchedAt = 0;
    arrange();
  });
  rows.addEventListener('pointermove', () => {
    touchedAt = Date.now();
  });
  rows.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button === null) return;
    const group = button.closest('.group')?.dataset.group;
    if (group !== undefined) {
      if (!folded.delete(group)) folded.add(group);
      touchedAt = 0;
      arrange(true);
      return;
    }
    const row = state.sessions.get(button.closest('.row').dataset.id);
    if (row === undefined) return;
    if (button.classList.contains('title')) onOpen(row);
    else onAbort(row);
  });
}

/** After every message. */
export function drawSessions() {
  for (const row of state.sessions.values()) update(row);
  for (const [id, { element }] of drawn) {
    if (state.sessions.has(id)) continue;
    element.remove();
    drawn.delete(id);
  }
  arrange();
  for (const button of counts.querySelectorAll('button')) {
    const amount = state.status.counts[button.dataset.health] ?? 0;
    say(button.querySelector('b'), String(amount));
    button.classList.toggle('none', amount === 0 && !wanted.has(button.dataset.health));
  }
}

/** Every second: how long each has been so, and when the next attempt comes. */
export function tickSessions() {
  for (const { row, parts, element } of drawn.values()) {
    if (element.hidden || (row.health === 'idle' && row.parkedUntil === undefined)) continue;
    say(parts.for, span(now() - row.since));
    say(parts.doing, doing(row));
    if (row.nextAt !== undefined) say(parts.next, nextWords(row));
  }
}

const doing = (row) => doingWords(row, state.status.watchdog.limits, now());

function update(row) {
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
  if (before === row) return;
  element.dataset.health = row.health;
  element.classList.toggle('bad', endedBadly(row));
  element.classList.toggle('child', row.parentID !== undefined);
  say(parts.health, row.health);
  say(parts.title, row.title ?? shortId(row.id));
  const project = projectOf(row.directory);
  say(
    parts.where,
    [project, row.title === undefined ? '' : shortId(row.id)].filter(Boolean).join(' · '),
  );
  parts.where.title = [row.directory, row.id].filter(Boolean).join('\n');
  say(parts.doing, doing(row));
  say(parts.words, row.lastWords === undefined ? '' : `“${row.lastWords}”`);
  say(parts.next, nextWords(row));
  say(parts.for, span(now() - row.since));
  parts.abort.hidden = row.health === 'idle';
  parts.abort.setAttribute('aria-label', `Abort ${row.title ?? row.id}`);
  entry.text = `${row.id} ${row.title ?? ''} ${row.directory ?? ''}`.toLowerCase();
}

function make(row) {
  const parts = {
    health: el('span', { class: 'word' }),
    title: el('button', { type: 'button', class: 'title' }),
    where: el('span', { class: 'where' }),
    timeline: el('span', { class: 'timeline', role: 'img' }),
    doing: el('span', { class: 'what' }),
    words: el('span', { class: 'words' }),
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
    el('td', { class: 'doing' }, parts.doing, ' ', parts.words, ' ', parts.next),
    parts.for,
    el('td', { class: 'act' }, parts.abort),
  );
  return { element, parts, row: undefined, text: '', timeline: undefined };
}

/** Filters, groups and sorts. */
function arrange(isAsked = false) {
  const text = search.value.trim().toLowerCase();
  const isSearch = text !== '' || wanted.size > 0;
  const shown = [];
  for (const entry of drawn.values()) {
    const fits = (wanted.size === 0 || wanted.has(entry.row.health)) && entry.text.includes(text);
    if (fits) shown.push(entry);
    else if (!entry.element.hidden) entry.element.hidden = true;
  }
  const total = state.status?.sessionsTotal ?? 0;
  const few = shown.length < total ? `${shown.length} of ${total}` : String(total);
  say(document.getElementById('sessions-total'), total === 0 ? '' : few);
  const empty = document.getElementById('no-rows');
  empty.hidden = shown.length > 0;
  say(
    empty,
    drawn.size === 0
      ? 'No session has been active in the last hour.'
      : 'No session fits the search.',
  );
  const groups = groupsOf(shown);
  const place = { at: rows.firstElementChild };
  const isStill =
    !isAsked && (Date.now() - touchedAt < HANDS_OFF_MS || rows.contains(document.activeElement));
  for (const [name, heading] of headings) {
    if (groups.has(name)) continue;
    heading.remove();
    headings.delete(name);
    place.at = rows.firstElementChild;
  }
  for (const [name, entries] of groups) {
    // Who searches sees what is found, folded or not.
    const isFolded = folded.has(name) && !isSearch;
    if (name !== '') put(headingOf(name, entries, isFolded), place, isStill);
    for (const { element } of entries) {
      if (element.hidden !== isFolded) element.hidden = isFolded;
      put(element, place, isStill);
    }
  }
}

function put(element, place, isStill) {
  if (element === place.at) {
    place.at = place.at.nextElementSibling;
    return;
  }
  if (isStill && element.parentElement === rows) return;
  rows.insertBefore(element, place.at);
}

/** By name, in their order; one without a name where a person has chosen an order. */
function groupsOf(entries) {
  if (order.value !== 'worst') return new Map([['', entries.toSorted(ORDERS[order.value])]]);
  const groups = new Map();
  for (const entry of entries.toSorted(worstFirst)) {
    const name = groupOf(entry.row);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(entry);
  }
  const rank = (name) =>
    [ATTENTION, undefined, PARKED, ENDED_BADLY, IDLE].indexOf(TITLES[name] ? name : undefined);
  const names = [...groups.keys()].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  return new Map(names.map((name) => [name, withChildren(groups.get(name))]));
}

function groupOf(row) {
  if (needsAttention(row)) return ATTENTION;
  if (row.parkedUntil !== undefined) return PARKED;
  if (endedBadly(row)) return ENDED_BADLY;
  if (row.health === 'idle') return IDLE;
  return projectOf(row.directory) || 'no project known';
}

/** Subagents stand behind the session that they work for. */
function withChildren(entries) {
  const ids = new Set(entries.map(({ row }) => row.id));
  const children = Map.groupBy
    ? Map.groupBy(
        entries.filter(({ row }) => ids.has(row.parentID)),
        ({ row }) => row.parentID,
      )
    : new Map();
  if (children.size === 0) return entries;
  const seen = new Set();
  const family = (entry) => {
    if (seen.has(entry)) return [];
    seen.add(entry);
    return [entry, ...(children.get(entry.row.id) ?? []).flatMap(family)];
  };
  const roots = entries.filter(({ row }) => !ids.has(row.parentID)).flatMap(family);
  return [...roots, ...entries.filter((entry) => !seen.has(entry))];
}

const rankOf = (health) => HEALTHS.indexOf(health);
const idOrder = (a, b) => (a.id < b.id ? -1 : 1);
function worstFirst({ row: a }, { row: b }) {
  return (
    rankOf(a.health) - rankOf(b.health) ||
    (a.health === 'idle' ? b.since - a.since : a.since - b.since) ||
    idOrder(a, b)
  );
}
const ORDERS = {
  longest: ({ row: a }, { row: b }) => a.since - b.since || idOrder(a, b),
  name: ({ row: a }, { row: b }) =>
    (a.title ?? a.id).localeCompare(b.title ?? b.id) || idOrder(a, b),
  cost: ({ row: a }, { row: b }) =>
    (b.costUsd ?? 0) - (a.costUsd ?? 0) || (b.tokens ?? 0) - (a.tokens ?? 0) || idOrder(a, b),
};

function headingOf(name, entries, isFolded) {
  let heading = headings.get(name);
  if (heading === undefined) {
    heading = el(
      'tr',
      { class: 'group', 'data-group': name },
      el('th', { scope: 'rowgroup' }, el('button', { type: 'button', 'aria-expanded': 'true' })),
    );
    headings.set(name, heading);
  }
  const button = heading.querySelector('button');
  button.setAttribute('aria-expanded', String(!isFolded));
  const cost = costOf(entries.map(({ row }) => row));
  say(
    button,
    [
      TITLES[name] ?? name,
      counted(entries.length, 'session'),
      cost >= 0.01 ? `$${cost.toFixed(2)}` : '',
    ]
      .filter(Boolean)
      .join(' · '),
  );
  return heading;
}

/** When it tries again, on which model, and what it has come to. */
function nextWords(row) {
  const { nextAt, model } = row;
  const left = nextAt === undefined ? undefined : nextAt - now();
  const next = left === undefined ? '' : left > 0 ? `next in ${span(left)}` : 'trying now';
  return [next, model, costWords(row)].filter(Boolean).join(' · ');
}

/** The end of an id says which one it is. */
const shortId = (id) => (id.length <= 9 ? id : `…${id.slice(-6)}`);

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
