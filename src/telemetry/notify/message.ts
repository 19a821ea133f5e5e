/** Makes a webhook's message, about one event or many, in the format of the service that receives it. */
import { hostname } from 'node:os';
import { escapeMarkdown } from '../../lib/markdown.js';
import { printable } from '../../lib/printable.js';
import type { TelemetryRecord } from '../logger.js';
import { counted } from '../number-text.js';
import { isUrgent } from './topic.js';

export const WEBHOOK_FORMATS = ['json', 'slack', 'discord', 'ntfy', 'telegram'] as const;
export type WebhookFormat = (typeof WEBHOOK_FORMATS)[number];

/**
 * Lines of one webhook message, the urgent ones first. It is read on a phone, where the first lines count. At the
 * limit: the rest is counted.
 */
export const MAX_LINES = 10;
/**
 * Characters of one webhook message. Telegram takes 4,096, ntfy 4,096 bytes, Discord 4,096 in an embed; Slack cuts at
 * 40,000, and shows far less. At the limit: it is cut.
 */
export const MAX_TEXT = 3_000;
/** ntfy turns a longer message into an attachment (docs.ntfy.sh, "Limitations"). Its limit is in bytes. */
const NTFY_CHARACTERS = 1_000;
/** Discord refuses a longer description of an embed ("Embed Limits"). Escapes may make ours longer. */
const DISCORD_CHARACTERS = 4_096;

export interface Digest {
  records: readonly TelemetryRecord[];
  /** How many further events there were; they were only counted. */
  more: number;
  /** URL of the watched server. */
  server: string;
  /** The status page, without its token. */
  page?: string | undefined;
  /** The records that are the end of what was told before. */
  closing?: Pick<WeakSet<TelemetryRecord>, 'has'>;
}

export interface Message {
  url: string;
  body: Record<string, unknown>;
}

/** Returns the URL and the body. For ntfy the body names the topic, for Telegram the recipient. */
export function messageTo(url: string, format: WebhookFormat, digest: Digest): Message {
  const body = messageFor(format, digest);
  const target = new URL(url);
  switch (format) {
    case 'ntfy': {
      // JSON goes to the root of the server (docs.ntfy.sh, "Publish as JSON").
      const [, root = '/', topic = ''] = /^(.*\/)([^/]*)\/?$/.exec(target.pathname) ?? [];
      target.pathname = root;
      return { url: target.href, body: { topic, ...body } };
    }
    case 'telegram':
      return { url, body: { chat_id: target.searchParams.get('chat_id'), ...body } };
    case 'json':
    case 'slack':
    case 'discord':
      return { url, body };
  }
}

export function messageFor(format: WebhookFormat, digest: Digest): Record<string, unknown> {
  const { records, more, server, page } = digest;
  const link = page === undefined ? '' : `\n${page}`;
  const words = printable(wordsOf(digest).slice(0, MAX_TEXT - link.length), 'block');
  const text = `${words}${link}`;
  switch (format) {
    case 'slack':
      return { text: escapeSlack(text) };
    case 'discord': {
      const escaped = escapeMarkdown(words).slice(0, DISCORD_CHARACTERS - link.length);
      return {
        // A session's words must not notify anybody (Discord, "Allowed Mentions").
        allowed_mentions: { parse: [] },
        embeds: [{ description: `${escaped}${link}`, color: COLOUR[worst(digest)] }],
      };
    }
    case 'ntfy':
      return {
        title: `opencode-watchdog on ${hostname()}`,
        message: text.slice(0, NTFY_CHARACTERS),
        // 4 is high, 3 is the default (docs.ntfy.sh, "Message priority").
        priority: worst(digest) === 'bad' ? 4 : 3,
        ...(page === undefined ? {} : { click: page }),
      };
    case 'telegram':
      // Without parse_mode nothing in the text is markup.
      return { text, link_preview_options: { is_disabled: true } };
    case 'json':
      return {
        source: 'opencode-watchdog',
        host: hostname(),
        server,
        ...(page === undefined ? {} : { page }),
        text,
        events: records.map(eventJson),
        more,
      };
  }
}

/** One event in the form for programs: the log's fields, flat. */
export function eventJson({ event, level, time, msg, would, fields }: TelemetryRecord): object {
  const head = { event, level, time: new Date(time).toISOString(), msg };
  return { ...fields, ...head, ...(would && { would }) };
}

function wordsOf(digest: Digest): string {
  const { records, more, server } = digest;
  const [first] = records;
  if (records.length === 1 && more === 0 && first !== undefined) {
    return `${sign(first, digest)} ${printable(first.msg, 'line')} (${server})`;
  }
  const kinds = new Map<string, number>();
  for (const { event } of records) kinds.set(event, (kinds.get(event) ?? 0) + 1);
  const summary = [...kinds].map(([event, amount]) => `${amount} × ${event}`).join(', ');
  const lines = records
    .toSorted((a, b) => Number(isUrgent(b)) - Number(isUrgent(a)))
    .slice(0, MAX_LINES)
    .map((record) => `${sign(record, digest)} ${printable(record.msg, 'line')}`);
  const rest = records.length - lines.length + more;
  return [
    `${counted(records.length + more, 'event')} at ${server}: ${summary}`,
    ...lines,
    ...(rest > 0 ? [`… and ${rest} more`] : []),
  ].join('\n');
}

type Mood = 'bad' | 'warning' | 'resolved' | 'news';

const COLOUR: Readonly<Record<Mood, number>> = {
  bad: 0xd92d20,
  warning: 0xf79009,
  resolved: 0x12b76a,
  news: 0x98a2b3,
};
const SIGN: Readonly<Record<Mood, string>> = {
  bad: '🔴',
  warning: '🟠',
  resolved: '✅',
  news: '🟢',
};

/** Red is for what needs a person. */
function moodOf(record: TelemetryRecord, { closing }: Digest): Mood {
  if (closing?.has(record)) return 'resolved';
  if (record.level === 'error' || record.event === 'session.waiting') return 'bad';
  return record.level === 'warn' ? 'warning' : 'news';
}

function worst(digest: Digest): Mood {
  const moods = new Set(digest.records.map((record) => moodOf(record, digest)));
  return (['bad', 'warning', 'resolved'] as const).find((mood) => moods.has(mood)) ?? 'news';
}

function sign(record: TelemetryRecord, digest: Digest): string {
  return SIGN[moodOf(record, digest)];
}

/** Slack, "Formatting text for app surfaces": these three are its control characters, for mentions too. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
