/** Numbers in the words of a sentence: rounded and with units, to be read by people and not parsed. */
import { oneLine } from '../lib/printable.js';

/** `350 ms`, `4.2 s`, `1 min 5 s`, `2 h 3 min`. */
export function time(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1).replace(/\.0$/, '')} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return join(minutes, 'min', seconds % 60, 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return join(hours, 'h', minutes % 60, 'min');
  return join(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function join(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** `512 MiB`, `3.4 GiB`. */
export function bytes(amount: number): string {
  const mebibytes = amount / 1024 ** 2;
  return mebibytes < 1024
    ? `${Math.round(mebibytes)} MiB`
    : `${(mebibytes / 1024).toFixed(1).replace(/\.0$/, '')} GiB`;
}

/** `1 session`, `3 sessions`, `no sessions`. */
export function counted(amount: number, noun: string): string {
  return `${amount === 0 ? 'no' : amount} ${noun}${amount === 1 ? '' : 's'}`;
}

/** The text in brackets, to go behind a sentence; empty if there is none. */
export function aside(text: string | undefined): string {
  return text ? ` (${text.replace(/\.$/, '')})` : '';
}

/** The parts that are not empty, with spaces between them. */
export function phrase(...parts: (string | false | undefined)[]): string {
  return parts.filter((part) => part !== false && part !== undefined && part !== '').join(' ');
}

/** The same with commas, for facts that stand beside each other. */
export function listed(...parts: (string | false | undefined)[]): string {
  return parts.filter((part) => part !== false && part !== undefined && part !== '').join(', ');
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** All of an error's message, on one line. */
export function wholeOf(err: unknown): string {
  const text = err instanceof Error ? err.message : String(err);
  return oneLine(text, '; ').replace(/ {2,}/g, ' ');
}

/** The first line of an error's message. */
export function reasonOf(err: unknown): string {
  const text = err instanceof Error ? err.message : String(err);
  return text.split('\n', 1)[0] ?? '';
}
