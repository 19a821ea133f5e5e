import { setMaxListeners } from 'node:events';

/** For work that goes on many times at once: Node warns of a leak if a signal has more than ten listeners. */
export function sharedAbort(): AbortController {
  const control = new AbortController();
  setMaxListeners(0, control.signal);
  return control;
}
