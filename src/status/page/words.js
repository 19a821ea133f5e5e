/** Numbers and times as the page says them. */

/** Worst first. */
export const HEALTHS = [
  'wedged',
  'stuck',
  'stalled',
  'looping',
  'retrying',
  'delegating',
  'waiting',
  'busy',
  'idle',
];

/** How a run ended, as the page says it. */
export const ENDED = {
  completed: 'finished',
  empty: 'ended with nothing said or done',
  truncated: 'ended in the middle of an answer',
  failed: 'failed',
  aborted: 'aborted',
  aborted_elsewhere: 'aborted by somebody else',
  interrupted: 'interrupted',
};

/** The letters of a timeline (see src/status/health-timeline.ts). */
export const LETTERS = {
  i: 'idle',
  b: 'busy',
  w: 'waiting',
  d: 'delegating',
  r: 'retrying',
  l: 'looping',
  x: 'stalled',
  s: 'stuck',
  W: 'wedged',
};

/** `42 s`, `7 min`, `3 h 5 min`, `2 d 4 h`. */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0
    ? `${Math.floor(hours / 24)} d`
    : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Short times exactly: how long an abort or a restart took. */
export function took(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : span(ms);
}

export function bytes(amount) {
  const mebibytes = amount / 1024 ** 2;
  return mebibytes < 1024 ? `${Math.round(mebibytes)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
}

/** `$1.25`, or `12,000 tokens` where the model has no price. */
export function spent({ costUsd = 0, tokens = 0 }) {
  if (costUsd >= 0.01) return `$${costUsd.toFixed(2)}`;
  return tokens > 0 ? `${tokens.toLocaleString('en')} tokens` : '';
}

export function clock(time) {
  return new Date(time).toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
}

export function clockSeconds(time) {
  return new Date(time).toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
}

/** `1 session`, `3 sessions`. */
export function counted(amount, noun) {
  return `${amount === 0 ? 'no' : amount} ${noun}${amount === 1 ? '' : 's'}`;
}

/** An element with text or children; attributes by name. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== ''));
  return element;
}

/** Sets text only where it differs: what is the same costs no layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
