/**
 * Loads node-cron where a cron expression is read or run, and not before: it brings all of JavaScript's time zones along
 * (7 MB, 25 ms).
 */
import { createRequire } from 'node:module';

export function loadCron(): typeof import('node-cron') {
  return createRequire(import.meta.url)('node-cron') as typeof import('node-cron');
}
