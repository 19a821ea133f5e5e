/** Browser notifications, where a person has asked for them: what is new and open, by name and project. */
import { projectOf, reasonWords } from './words.js';

const KEY = 'opencode-watchdog alerts';
const button = document.getElementById('alerts');

export function startAlerts() {
  if (!('Notification' in window)) return;
  button.hidden = false;
  draw();
  button.addEventListener('click', async () => {
    if (isOn()) localStorage.removeItem(KEY);
    else if ((await Notification.requestPermission()) === 'granted')
      localStorage.setItem(KEY, 'on');
    draw();
  });
}

const isOn = () => Notification.permission === 'granted' && localStorage.getItem(KEY) === 'on';

function draw() {
  button.setAttribute('aria-pressed', String(isOn()));
}

/** @param fresh incidents that have just begun */
export function alertOf(fresh = []) {
  if (button.hidden || !isOn() || !document.hidden) return;
  for (const { id, kind, title, directory, reason } of fresh.slice(-3)) {
    const name = [projectOf(directory), title].filter(Boolean).join(' · ');
    const why = reason === undefined ? '' : ` (${reasonWords(reason)})`;
    new Notification(`${name || 'The server'}: ${kind.replace('_', ' ')}${why}`, {
      tag: `incident ${id}`,
    });
  }
}
