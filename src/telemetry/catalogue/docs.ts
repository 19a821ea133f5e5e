/** The text of docs/log-events.md, from the catalogue. */
import { CATALOGUE, EVENT_NAMES } from './catalogue.js';
import type { EventName } from './events.js';

const HEAD = `# Log events

Generated from \`src/telemetry/catalogue/catalogue.ts\` by \`npm run docs\`; do not edit.

The log is NDJSON on stdout, one object a line: \`level\` (a word), \`time\` (ISO 8601, UTC), \`event\` (below), \`msg\` (one
plain sentence), \`server\` (the URL), then the event's fields. On a terminal it is readable instead; \`log.format\` forces
one. Units are in the name (\`...Ms\`, \`...Bytes\`). Every \`session.*\` event about one session has \`sessionID\`, and where
known \`directory\`, \`project\` (its last part), \`title\` and \`parentID\`; its sentence says title and project, or the id's end. A field that is not known is left out. A dry run's
lines about acts have \`would\`: true, and nothing of them was done. Passwords and tokens are replaced by
\`[secret]\`; long strings and lists are cut, and say so.
`;

export function logEventsPage(): string {
  return [
    HEAD,
    '| event | level | when | fields beyond the common |',
    '| --- | --- | --- | --- |',
    ...EVENT_NAMES.map(row),
    '',
  ].join('\n');
}

function row(event: EventName): string {
  const entry: {
    level: string | { words: string };
    when: string;
    fields: Readonly<Record<string, string>>;
  } = CATALOGUE[event];
  const level = typeof entry.level === 'string' ? entry.level : entry.level.words;
  const fields = Object.entries(entry.fields).map(([name, meaning]) => `\`${name}\`: ${meaning}`);
  const cells = [`\`${event}\``, level, entry.when, fields.join('<br>')];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
