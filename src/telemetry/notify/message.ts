/** What a webhook is sent: one message about one event or about many, as JSON or as Slack takes it. */
import { hostname } from 'node:os';
import { printable } from '../../lib/printable.js';
import type { TelemetryRecord } from '../logger.js';
import { counted } from '../number-text.js';

export type WebhookFormat = 'json' | 'slack';

/**
 * Lines of one webhook message. A digest is read on a phone: the first lines tell. At the limit: the rest is counted.
 */
export const MAX_LINES = 10;
/**
 * Characters of one webhook message. Slack cuts a text at 40,000 characters, and shows far less. At the limit: it is
 * cut.
 */
export const MAX_TEXT = 3_000;

export interface Digest {
  records: readonly TelemetryRecord[];
  /** Events beyond those, which were only counted. */
  more: number;
  /** URL of the watched server. */
  server: string;
}

export function messageFor(format: WebhookFormat, digest: Digest): Record<string, unknown> {
  const text = printable(textOf(digest), 'block');
  if (format === 'slack') return { text: escapeSlack(text) };
  const { records, more, server } = digest;
  return {
    source: 'opencode-watchdog',
    host: hostname(),
    server,
    text,
    events: records.map(({ event, level, time, msg, fields }) => ({
      ...fields,
      event,
      level,
      time: new Date(time).toISOString(),
      msg,
    })),
    more,
  };
}

function textOf({ records, more, server }: Digest): string {
  const [first] = records;
  if (records.length === 1 && more === 0 && first !== undefined) {
    return `${sign(first)} ${printable(first.msg, 'line')} (${server})`.slice(0, MAX_TEXT);
  }
  const kinds = new Map<string, number>();
  for (const { event } of records) kinds.set(event, (kinds.get(event) ?? 0) + 1);
  const summary = [...kinds].map(([event, amount]) => `${amount} × ${event}`).join(', ');
  const lines = records
    .slice(0, MAX_LINES)
    .map((record) => `${sign(record)} ${printable(record.msg, 'line')}`);
  const rest = records.length - lines.length + more;
  return [
    `${counted(records.length + more, 'event')} at ${server}: ${summary}`,
    ...lines,
    ...(rest > 0 ? [`… and ${rest} more`] : []),
  ]
    .join('\n')
    .slice(0, MAX_TEXT);
}

function sign({ level }: TelemetryRecord): string {
  switch (level) {
    case 'error':
      return '🔴';
    case 'warn':
      return '🟠';
    default:
      return '🟢';
  }
}

/** Slack, "Formatting text for app surfaces": these three are its control characters, also of mentions. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
