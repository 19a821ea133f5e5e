import { setMaxListeners } from 'node:events';

/** For work that goes on many times at once: Node takes more than ten listeners of one signal for a leak, and says so. */
export function sharedAbort(): AbortController {
  const control = new AbortController();
  setMaxListeners(0, control.signal);
  return control;
}
