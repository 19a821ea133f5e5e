/** The status page: ties what the daemon says to what is drawn, and buttons to acts. */
import { alertOf, startAlerts } from './alerts.js';
import { drawCharts, startCharts } from './charts.js';
import { openDetail } from './detail.js';
import { announce, drawCounters, drawIncidents, drawRestarts, pageTitle } from './incidents.js';
import { drawHistory, drawServer, startChart } from './server.js';
import './keys.js';
import { drawSessions, startSessions, tickSessions } from './sessions.js';
import { activeNow, connect, now, state } from './state.js';
import { credentials } from './token.js';
import { counted, say, span } from './words.js';

const by = (id) => document.getElementById(id);
/** The curves move by a pixel every few seconds; more often is of no use. */
const HISTORY_EVERY_MS = 5_000;
const TOAST_MS = 6_000;
const LINK = 'open the link that “opencode-watchdog page” prints.';

let pending = {};
let scheduled = false;
let drawnAt = 0;
let toastTimer;

startSessions({ onAbort: abort, onOpen: openDetail });
startChart();
startCharts();
startAlerts();
by('pause').addEventListener('click', pauseOrResume);
by('restart').addEventListener('click', restart);
connect((news) => {
  const { fresh = [], ...rest } = news;
  for (const [key, value] of Object.entries(rest)) pending[key] ||= value;
  pending.fresh = [...(pending.fresh ?? []), ...fresh];
  if (scheduled) return;
  scheduled = true;
  // Nothing is drawn in a tab that nobody sees.
  requestAnimationFrame(draw);
});
setInterval(tick, 1_000);

function draw() {
  const news = pending;
  pending = {};
  scheduled = false;
  drawLive();
  if (state.status === undefined) return;
  drawServer();
  drawSessions();
  drawIncidents();
  drawCounters();
  if (news.restarts) drawRestarts();
  if (news.history || news.rolled) drawCurves();
  announce(news.fresh);
  alertOf(news.fresh);
}

function tick() {
  if (document.hidden || state.status === undefined) return;
  drawServer();
  tickSessions();
  drawLive();
  if (Date.now() - drawnAt > HISTORY_EVERY_MS) drawCurves();
}

function drawCurves() {
  drawnAt = Date.now();
  drawHistory();
  void drawCharts();
}

function drawLive() {
  const live = by('live');
  live.dataset.live = state.live;
  const { status } = state;
  const since = status === undefined ? '' : ` since ${span(now() - Date.parse(status.time))}`;
  say(
    live,
    state.live === 'lost' ? `no connection${since}: what is shown is the last known` : state.live,
  );
  document.body.classList.toggle('stale', state.live !== 'live');
  if (document.title !== pageTitle()) document.title = pageTitle();
  if (status === undefined) {
    by('banner').hidden = !state.refused;
    say(by('banner'), state.refused ? `Nothing is shown without the token: ${LINK}` : '');
    return;
  }
  const { watchdog, server, withheld } = status;
  const locked = withheld !== undefined || !watchdog.acts;
  const offline = state.live !== 'live' || locked;
  document.body.classList.toggle('locked', locked || watchdog.dryRun);
  document.body.classList.toggle('dry', watchdog.dryRun);
  by('pause').disabled = offline || watchdog.dryRun;
  by('restart').disabled = offline || watchdog.dryRun;
  say(by('pause'), watchdog.paused ? 'Resume' : 'Pause');
  const words = watchdog.paused
    ? 'Paused: the watchdog watches and decides, and acts no more until it is resumed.'
    : watchdog.dryRun
      ? 'Dry run: nothing on this page was done. The watchdog says what it would do, and does nothing.'
      : server.says !== undefined
        ? `The server is ${server.health}: ${server.says}.`
        : server.breaker.state === 'open'
          ? 'The restart breaker is open: the server was restarted too often, and rests.'
          : withheld !== undefined
            ? `Titles and messages are hidden, and nothing can be done from here: ${LINK}`
            : '';
  by('banner').hidden = words === '';
  say(by('banner'), words);
}

async function abort(row) {
  if (row === undefined) return;
  const name = row.title ?? row.id;
  const text = `Its run ends at once, and is seen to have ended. What it has done so far stays. (${row.id})`;
  if (await asked(`Abort “${name}”?`, text, 'Abort session'))
    await act(`sessions/${encodeURIComponent(row.id)}/abort`);
}

async function restart() {
  const text = `Every running session is cut: ${counted(activeNow(), 'session')} now.`;
  if (await asked('Restart the server?', text, 'Restart server')) await act('restart');
}

async function pauseOrResume() {
  const { paused } = state.status.watchdog;
  if (paused) {
    if (await asked('Resume?', 'The watchdog acts again, also on what it left undone.', 'Resume'))
      await act('resume');
  } else if (
    await asked(
      'Pause the watchdog?',
      'It watches and logs on, but aborts and restarts nothing until it is resumed.',
      'Pause',
    )
  ) {
    await act('pause');
  }
}

/** Resolves to whether the person confirmed. */
function asked(title, text, yes) {
  const dialog = by('ask');
  say(by('ask-title'), title);
  say(by('ask-text'), text);
  say(by('ask-yes'), yes);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

async function act(path) {
  toast('…');
  try {
    const response = await fetch(path, { method: 'POST', headers: credentials() });
    const body = await response.json();
    toast(body.says ?? body.error ?? `status ${response.status}`, response.ok);
  } catch {
    toast('The daemon did not answer.', false);
  }
}

function toast(words, ok = true) {
  const element = by('toast');
  clearTimeout(toastTimer);
  element.hidden = false;
  element.classList.toggle('bad', !ok);
  say(element, words.charAt(0).toUpperCase() + words.slice(1));
  toastTimer = setTimeout(() => {
    element.hidden = true;
  }, TOAST_MS);
}
