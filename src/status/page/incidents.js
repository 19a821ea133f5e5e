/** Incidents with what was done about each, restarts, and the counters. */
import { now, state } from './state.js';
import {
  clock,
  clockSeconds,
  counted,
  el,
  projectOf,
  reasonWords,
  say,
  span,
  took,
} from './words.js';

const SHOWN = 40;
const list = document.getElementById('incidents');
/** What each entry was drawn from, so that an open one stays open while others change. */
const drawn = new Map();

const COUNTERS = {
  stuck: 'stuck',
  aborted: 'aborted',
  abortsFailed: 'aborts failed',
  wedged: 'wedged',
  recovered: 'recovered',
  failed: 'runs failed',
  interrupted: 'interrupted',
  continued: 'continued',
  streamLost: 'stream lost',
  restarts: 'restarts',
};

export function drawIncidents() {
  const all = [...state.incidents.values()].sort((a, b) => b.id - a.id);
  const open = all.filter(({ endedAt }) => endedAt === undefined);
  const shown = [...open, ...all.filter(({ endedAt }) => endedAt !== undefined)].slice(0, SHOWN);
  say(
    document.getElementById('incidents-total'),
    all.length === 0 ? '' : `${open.length} open, ${all.length} in all`,
  );
  const ids = new Set(shown.map(({ id }) => id));
  for (const [id, { element }] of drawn) {
    if (ids.has(id)) continue;
    element.remove();
    drawn.delete(id);
  }
  let place = list.firstElementChild;
  for (const incident of shown) {
    const element = elementOf(incident);
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
  }
  list.querySelector('.empty')?.remove();
  if (shown.length === 0)
    list.append(el('li', { class: 'empty' }, 'None since the daemon started.'));
}

function elementOf(incident) {
  const key = `${incident.endedAt} ${incident.outcome} ${incident.kind} ${incident.steps.length}`;
  const known = drawn.get(incident.id);
  if (known?.key === key) return known.element;
  const element = known?.element ?? el('li', { class: 'incident' });
  const wasOpen = element.querySelector('details')?.open ?? false;
  const { startedAt, endedAt, kind, steps, outcome } = incident;
  element.dataset.health = kind;
  element.classList.toggle('over', endedAt !== undefined);
  const lasted =
    endedAt === undefined
      ? ''
      : `${outcome} after ${took(Date.parse(endedAt) - Date.parse(startedAt))}`;
  element.replaceChildren(
    el(
      'p',
      { class: 'line' },
      el('span', { class: 'dot' }),
      el('b', {}, kind.replace('_', ' ')),
      el(
        'span',
        { class: endedAt === undefined ? 'open' : 'muted' },
        endedAt === undefined ? 'open' : lasted,
      ),
      el('time', { datetime: startedAt, class: 'muted' }, clock(startedAt)),
    ),
    el('p', { class: 'says' }, ...sentence(incident)),
    ...(steps.length === 0
      ? []
      : [
          el(
            'details',
            { open: wasOpen },
            el('summary', {}, `what was done: ${counted(steps.length, 'step')}`),
            el(
              'ol',
              {},
              ...steps.map(({ at, event, says: words }) =>
                el('li', {}, el('time', { datetime: at }, clockSeconds(at)), ' ', words ?? event),
              ),
            ),
          ),
        ]),
  );
  drawn.set(incident.id, { element, key });
  return element;
}

/** The sentence names title and project; without the token there is the reason alone. */
function sentence({ says, sessionID, directory, reason }) {
  if (says !== undefined) return [el('span', { title: sessionID ?? '' }, says)];
  const why = reason === undefined ? '' : reasonWords(reason);
  return [[projectOf(directory), sessionID, why].filter(Boolean).join(' · ')];
}

export function drawRestarts() {
  const { restarts } = state.status;
  const items = restarts.slice(0, 12).map((restart) => {
    const { at, reason, detail, interrupted, error } = restart;
    const result = restartEnd(restart);
    return el(
      'li',
      { class: 'incident', 'data-health': error === undefined ? 'restarting' : 'down' },
      el(
        'p',
        { class: 'line' },
        el('span', { class: 'dot' }),
        el('b', {}, reason),
        el('span', { class: 'muted' }, result),
        el('time', { datetime: at, class: 'muted' }, clock(at)),
      ),
      el(
        'p',
        { class: 'says' },
        [error ?? detail, `cut ${counted(interrupted, 'session')}`].filter(Boolean).join('; '),
      ),
    );
  });
  if (items.length === 0)
    items.push(el('li', { class: 'empty' }, 'None since the daemon started.'));
  document.getElementById('restarts').replaceChildren(...items);
}

function restartEnd({ tookMs, error, endUnseen }) {
  if (error !== undefined) return 'failed';
  if (tookMs !== undefined) return `healthy after ${took(tookMs)}`;
  return endUnseen ? 'its end was not seen' : 'under way';
}

export function drawCounters() {
  const { counters } = state.status;
  const target = document.getElementById('counters');
  Object.entries(COUNTERS).forEach(([name, words], at) => {
    const pair =
      target.children[at] ?? target.appendChild(el('div', { class: 'pair' }, el('dt'), el('dd')));
    say(pair.children[0], words);
    say(pair.children[1], String(counters[name] ?? 0));
  });
}

/** For those who listen: what is new, in a sentence. */
export function announce(fresh = []) {
  if (fresh.length === 0) return;
  const words =
    fresh.length === 1
      ? (fresh[0].says ?? fresh[0].kind)
      : `${fresh.length} new incidents, the last: ${fresh.at(-1).says ?? fresh.at(-1).kind}`;
  document.getElementById('news').replaceChildren(el('span', {}, words));
}

/** In a tab's title, what needs a person comes first. */
export function pageTitle() {
  const { status, live } = state;
  if (status === undefined) return 'opencode-watchdog';
  const open = [...state.incidents.values()].filter(({ endedAt }) => endedAt === undefined).length;
  const health =
    live === 'live'
      ? status.server.health
      : `no connection for ${span(now() - Date.parse(status.time))}`;
  const mode = status.watchdog.paused ? 'paused · ' : status.watchdog.dryRun ? 'dry run · ' : '';
  return `${open > 0 ? `(${open}) ` : ''}${mode}${health} · opencode-watchdog`;
}
