/** Sessions at work, retries and cost over the chosen time, beside the server's memory. */
import * as address from './address.js';
import { activeNow, now } from './state.js';
import { credentials } from './token.js';
import { bytes, clock, el, say } from './words.js';

const SVG = 'http://www.w3.org/2000/svg';
const RANGES = { '1h': 3_600_000, '24h': 86_400_000, '7d': 604_800_000 };
const FRESH_MS = 60_000;
/** A gap between two points that is longer than so many steps is a gap in the curve. */
const GAP_STEPS = 2.5;

const CHARTS = [
  { name: 'active', title: 'At work', of: ({ active }) => active, words: String },
  { name: 'retrying', title: 'Retrying', of: ({ retrying }) => retrying, words: String },
  {
    name: 'cost',
    title: 'Cost of the day',
    of: ({ costTodayUsd }) => costTodayUsd,
    words: (value) => `$${value.toFixed(2)}`,
  },
  { name: 'memory', title: 'Memory', of: ({ memoryBytes }) => memoryBytes, words: bytes },
];

const strip = document.getElementById('charts');
const buttons = [...document.querySelectorAll('#range button')];
let range = RANGES[address.get('range')] === undefined ? '1h' : address.get('range');
let asked = { at: 0, range: '', series: [], stepMs: 300_000 };

export function startCharts() {
  for (const { name, title } of CHARTS) {
    strip.append(
      el(
        'figure',
        { class: 'small-chart', 'data-chart': name },
        el('figcaption', {}, el('span', {}, title), el('output', {})),
      ),
    );
    const svg = document.createElementNS(SVG, 'svg');
    for (const [key, value] of Object.entries({
      viewBox: '0 0 1000 100',
      preserveAspectRatio: 'none',
      role: 'img',
      'aria-label': `${title}: no figures yet`,
    }))
      svg.setAttribute(key, value);
    strip.lastElementChild.append(svg);
  }
  for (const button of buttons) {
    button.addEventListener('click', () => {
      range = button.dataset.range;
      address.set('range', range === '1h' ? '' : range);
      drawCharts();
    });
  }
}

export async function drawCharts() {
  for (const button of buttons) {
    button.setAttribute('aria-pressed', String(button.dataset.range === range));
  }
  if (asked.range !== range || Date.now() - asked.at > FRESH_MS) {
    asked = { ...asked, at: Date.now(), range };
    try {
      const response = await fetch(`history?since=${range}&only=series`, {
        headers: credentials(),
      });
      if (response.ok) asked = { ...asked, ...(await response.json()) };
    } catch {
      // The page says elsewhere that the daemon is gone; what is drawn stays.
    }
  }
  const to = now();
  const from = to - RANGES[range];
  for (const chart of CHARTS) draw(chart, from, to);
}

function draw({ name, title, of, words }, from, to) {
  const figure = strip.querySelector(`[data-chart="${name}"]`);
  const svg = figure.querySelector('svg');
  const points = asked.series
    .filter(({ at }) => at >= from)
    .flatMap((point) => (of(point) === undefined ? [] : [[point.at, of(point)]]));
  const most = Math.max(0, ...points.map(([, value]) => value));
  const last = points.at(-1)?.[1];
  const latest = name === 'active' ? activeNow() : last;
  say(figure.querySelector('output'), latest === undefined ? '–' : words(latest));
  const x = (time) => ((time - from) / (to - from)) * 1000;
  const y = (value) => 98 - (most === 0 ? 0 : (value / most) * 92);
  svg.replaceChildren(
    ...pieces(points).map((piece) => {
      const line = document.createElementNS(SVG, 'polyline');
      line.setAttribute('class', 'line');
      line.setAttribute(
        'points',
        piece.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(' '),
      );
      return line;
    }),
  );
  svg.setAttribute(
    'aria-label',
    points.length === 0
      ? `${title}: no figures yet`
      : `${title} since ${clock(points[0][0])}: at most ${words(most)}, now ${words(latest ?? last)}`,
  );
}

/** A point alone is a short line, so that it is seen. */
function pieces(points) {
  const found = [];
  for (const point of points) {
    const piece = found.at(-1);
    if (piece === undefined || point[0] - piece.at(-1)[0] > asked.stepMs * GAP_STEPS)
      found.push([point]);
    else piece.push(point);
  }
  return found.map((piece) =>
    piece.length > 1 ? piece : [piece[0], [piece[0][0] + asked.stepMs, piece[0][1]]],
  );
}
