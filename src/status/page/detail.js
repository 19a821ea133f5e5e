/** One session, opened: what it is, what happened to it, the end of its transcript. */
import { opencodeLink } from './opencode-link.js';
import { now, state } from './state.js';
import { credentials } from './token.js';
import { clockSeconds, costWords, doingWords, el, projectOf, say, span } from './words.js';

const EVERY_MS = 5_000;
const dialog = document.getElementById('detail');
const body = document.getElementById('detail-body');
let openID;
let timer;
let asked;

dialog.addEventListener('close', () => {
  clearTimeout(timer);
  asked?.abort();
  openID = undefined;
});
document.getElementById('detail-close').addEventListener('click', () => dialog.close());

export function openDetail(row) {
  openID = row.id;
  say(document.getElementById('detail-title'), row.title ?? row.id);
  body.replaceChildren(el('p', { class: 'muted' }, 'Asking …'));
  if (!dialog.open) dialog.showModal();
  refresh();
}

async function refresh() {
  const id = openID;
  asked?.abort();
  asked = new AbortController();
  try {
    const response = await fetch(`sessions/${encodeURIComponent(id)}`, {
      headers: credentials(),
      signal: asked.signal,
    });
    const found = await response.json();
    if (openID !== id) return;
    if (response.ok) draw(found);
    else body.replaceChildren(el('p', { class: 'muted' }, found.error));
  } catch {
    if (openID === id && body.querySelector('dl') === null) {
      body.replaceChildren(el('p', { class: 'muted' }, 'The daemon did not answer.'));
    }
  }
  if (openID === id) timer = setTimeout(refresh, EVERY_MS);
}

function draw({ session, children, events, messages = [], withheld }) {
  const top = dialog.scrollTop;
  const facts = [
    ['health', `${session.health} for ${span(now() - session.since)}`],
    ['doing', doingWords(session, state.status.watchdog.limits, now())],
    ['project', projectOf(session.directory)],
    ['directory', session.directory],
    ['id', session.id],
    ['model', session.model],
    ['run', session.runSince === undefined ? undefined : span(now() - session.runSince)],
    ['spent', costWords(session)],
  ].filter(([, value]) => value !== undefined && value !== '');
  body.replaceChildren(
    el(
      'dl',
      { class: 'facts' },
      ...facts.map(([name, value]) =>
        el('div', { class: 'pair' }, el('dt', {}, name), el('dd', {}, value)),
      ),
    ),
    ...section(
      'Subagents',
      children.map((child) => el('li', {}, `${child.health} · ${child.title ?? child.id}`)),
    ),
    ...section(
      'What happened',
      events
        .toReversed()
        .map(({ time, event, msg }) =>
          el('li', {}, el('time', { datetime: time }, clockSeconds(time)), ' ', msg ?? event),
        ),
    ),
    ...section(
      'The end of its transcript',
      messages.map(({ role, text, tools, error }) =>
        el(
          'li',
          { class: 'message' },
          el('b', {}, role),
          text === '' ? '' : el('p', {}, text),
          ...tools.map((tool) => el('p', { class: 'muted' }, tool)),
          error === undefined ? '' : el('p', { class: 'open' }, error),
        ),
      ),
    ),
    ...(withheld === undefined ? [] : [el('p', { class: 'muted' }, withheld)]),
    ...link(session),
  );
  dialog.scrollTop = top;
}

function section(title, items) {
  if (items.length === 0) return [];
  return [el('h3', {}, title), el('ol', { class: 'plain' }, ...items)];
}

function link(session) {
  const href = opencodeLink(state.status.server, session);
  if (href === undefined) return [];
  return [
    el(
      'p',
      {},
      el('a', { href, target: '_blank', rel: 'noreferrer noopener' }, 'Open in opencode'),
    ),
  ];
}
