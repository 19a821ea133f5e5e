/**
 * The one catalogue of everything that is logged: each event's level, occasion, fields and sentence. Log lines,
 * docs/log-events.md, metrics and the status page come from here. To add an event, write its type in `events.ts` and
 * one entry; the compiler asks for both.
 */
import { daemonEvents } from './daemon-events.js';
import { directoryEvents } from './directory-events.js';
import type { CatalogueEntry, CatalogueOf, EventFields, EventName, Level } from './events.js';
import { serverEvents } from './server-events.js';
import { sessionEvents } from './session-events.js';
import { statusEvents } from './status-events.js';

export const CATALOGUE: CatalogueOf<EventName> = {
  ...daemonEvents,
  ...serverEvents,
  ...directoryEvents,
  ...sessionEvents,
  ...statusEvents,
};

export const EVENT_NAMES = Object.keys(CATALOGUE) as EventName[];

export function levelOf<E extends EventName>(event: E, fields: EventFields[E]): Level {
  const entry: CatalogueEntry<E> = CATALOGUE[event];
  return typeof entry.level === 'string' ? entry.level : entry.level.of(fields);
}

/** Whether the event says what is being done. A dry run does not do it. */
export function isAct(event: EventName): boolean {
  return CATALOGUE[event].would !== undefined;
}

export function messageOf<E extends EventName>(
  event: E,
  fields: EventFields[E],
  { dryRun = false, server = 'the URL' } = {},
): string {
  const entry: CatalogueEntry<E> = CATALOGUE[event];
  const say = () => entry.message(fields, { server });
  const message = dryRun ? (entry.would?.(fields) ?? say()) : say();
  // Messages from elsewhere may end with their own full stop.
  return message.replace(/([.!?…])\.$/, '$1');
}
