/** The server's card: its state in words and figures, its memory and its states over the last hour. */
import { now, state } from './state.js';
import { bytes, clock, clockSeconds, counted, el, say, span, spent } from './words.js';

const HOUR_MS = 3_600_000;
const SVG = 'http://www.w3.org/2000/svg';
/** A gap between two measurements that is longer than this is a gap in the curve. */
const GAP_MS = 150_000;

const svg = document.getElementById('memory');

export function drawServer() {
  const { server, watchdog } = state.status;
  const health = document.getElementById('server-health');
  health.dataset.health = server.health;
  say(
    health.firstElementChild,
    server.health === 'held' ? 'held: too many restarts' : server.health,
  );
  say(document.getElementById('server-url'), server.url);
  const facts = document.getElementById('server-facts');
  const { breaker, stream } = server;
  const entries = [
    ['since', server.since === undefined ? '–' : span(now() - Date.parse(server.since))],
    ['opencode', `${server.version ?? '–'}${server.api === 2 ? ' (API of OpenCode 2)' : ''}`],
    ['pid', server.pid === undefined ? '–' : String(server.pid)],
    ['events', stream.connected ? 'connected' : 'lost'],
    [
      'restarts',
      `${server.restarts}${server.recentRestarts > 0 ? `, ${server.recentRestarts} lately` : ''}`,
    ],
    [
      'breaker',
      breaker.until === undefined
        ? breaker.state.replace('_', ' ')
        : `${breaker.state}, ${span(Date.parse(breaker.until) - now())} left`,
    ],
    ['watchdog', `${watchdog.version}, up ${span(now() - Date.parse(watchdog.startedAt))}`],
    ['its memory', bytes(watchdog.memoryBytes)],
    ['spent today', spent(state.status.spentToday) || '–'],
  ];
  entries.forEach(([name, value], at) => {
    const pair =
      facts.children[at] ?? facts.appendChild(el('div', { class: 'pair' }, el('dt'), el('dd')));
    say(pair.children[0], name);
    say(pair.children[1], value);
  });
}

export function drawHistory() {
  const { history, restarts } = state.status;
  const to = now();
  const from = to - HOUR_MS;
  const x = (time) => Math.max(0, ((time - from) / HOUR_MS) * 1000);
  const points = history.memory.filter(([time]) => time >= from);
  const most = Math.max(...points.map(([, amount]) => amount), 0);
  const top = niceTop(most);
  const y = (amount) => 100 - (amount / top) * 96;
  svg.replaceChildren(
    ...[25, 50, 75].map((at) => shape('line', { class: 'grid', x1: 0, x2: 1000, y1: at, y2: at })),
    ...pieces(points).flatMap((piece) => {
      const line = piece
        .map(([time, amount]) => `${x(time).toFixed(1)},${y(amount).toFixed(1)}`)
        .join(' ');
      const ends = [x(piece[0][0]), x(piece.at(-1)[0])];
      return [
        shape('polygon', { class: 'area', points: `${ends[0]},100 ${line} ${ends[1]},100` }),
        shape('polyline', { class: 'line', points: line }),
      ];
    }),
    ...restarts
      .filter(({ at }) => Date.parse(at) >= from)
      .map(({ at, reason }) => {
        const mark = shape('line', {
          class: 'mark',
          x1: x(Date.parse(at)),
          x2: x(Date.parse(at)),
          y1: 0,
          y2: 100,
        });
        mark.append(titled(`${clock(at)} restarted (${reason})`));
        return mark;
      }),
  );
  const last = points.at(-1)?.[1];
  say(document.getElementById('memory-top'), points.length === 0 ? '' : bytes(top));
  say(document.getElementById('memory-now'), last === undefined ? 'not measured' : bytes(last));
  const least = Math.min(...points.map(([, amount]) => amount));
  svg.setAttribute(
    'aria-label',
    last === undefined
      ? 'no measurement yet'
      : `now ${bytes(last)}, between ${bytes(least)} and ${bytes(most)}, ${counted(restarts.length, 'restart')}`,
  );
  drawStates(history.states, from, to);
}

/** The value under the pointer. */
export function startChart() {
  const output = document.getElementById('memory-now');
  const plot = svg.parentElement;
  plot.addEventListener('pointermove', (event) => {
    const points = state.status?.history.memory ?? [];
    const { left, width } = plot.getBoundingClientRect();
    const time = now() - HOUR_MS * (1 - (event.clientX - left) / width);
    const nearest = points.reduce(
      (best, point) =>
        best === undefined || Math.abs(point[0] - time) < Math.abs(best[0] - time) ? point : best,
      undefined,
    );
    if (nearest !== undefined) say(output, `${clockSeconds(nearest[0])}  ${bytes(nearest[1])}`);
  });
  plot.addEventListener('pointerleave', () => {
    const last = state.status?.history.memory.at(-1);
    if (last !== undefined) say(output, bytes(last[1]));
  });
}

function drawStates(states, from, to) {
  const band = document.getElementById('states');
  const pieces = states
    .map(([begin, health], at) => ({
      begin: Math.max(from, begin),
      end: states[at + 1]?.[0] ?? to,
      health,
    }))
    .filter(({ begin, end }) => end > begin);
  const stops = pieces.map(({ begin, end, health }) => {
    const at = (time) => `${(((time - from) / HOUR_MS) * 100).toFixed(2)}%`;
    // What lasts a second would be thinner than a pixel.
    return `var(--${health}, var(--none)) ${at(begin)} ${at(Math.max(end, begin + (healthy(health) ? 0 : 8_000)))}`;
  });
  const first = pieces[0]?.begin ?? to;
  const before = `var(--none) 0 ${(((first - from) / HOUR_MS) * 100).toFixed(2)}%`;
  band.style.backgroundImage = `linear-gradient(90deg, ${[before, ...stops].join(', ')})`;
  const words = pieces.map(({ begin, health }) => `${clock(begin)} ${health}`);
  band.setAttribute(
    'aria-label',
    words.length === 0 ? 'no history yet' : `states: ${words.slice(-8).join(', ')}`,
  );
  band.title = words.slice(-8).join('\n');
}

const healthy = (health) => health === 'healthy';

/** Lines break where nothing was measured. */
function pieces(points) {
  const found = [];
  for (const point of points) {
    const piece = found.at(-1);
    if (piece === undefined || point[0] - piece.at(-1)[0] > GAP_MS) found.push([point]);
    else piece.push(point);
  }
  return found.filter((piece) => piece.length > 1);
}

/** A round figure above the highest value. */
function niceTop(most) {
  const unit = 64 * 1024 ** 2;
  return Math.max(unit * 2, Math.ceil((most * 1.1) / unit) * unit);
}

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function titled(text) {
  const title = document.createElementNS(SVG, 'title');
  title.textContent = text;
  return title;
}
