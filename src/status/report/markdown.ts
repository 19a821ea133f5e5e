/** A report as Markdown, for a chat or a ticket. */
import { escapeMarkdown } from '../../lib/markdown.js';
import type { Report } from './collect.js';
import { partsOf } from './text.js';

export function markdownReport(report: Report): string {
  const { head, parts } = partsOf(report);
  return [
    ...head.map((line) => `**${escapeMarkdown(line)}**`),
    ...parts.flatMap(({ title, rows, more }) => [
      '',
      `**${escapeMarkdown(title)}**`,
      ...(rows.length === 0 ? [] : ['']),
      ...rows.map((row) => `- ${escapeMarkdown(row)}`),
      ...(more > 0 ? [`- … and ${more} more`] : []),
    ]),
  ].join('\n');
}
