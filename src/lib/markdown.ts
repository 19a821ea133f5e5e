/** Makes text from elsewhere plain in Markdown (CommonMark, GitHub, Discord). */

/**
 * Escapes what formats, links, mentions or embeds. A backslash before ASCII punctuation is obeyed everywhere (CommonMark
 * 2.4); after `://` and `www.` chats link what follows, and `&lt;` would become a `<`.
 */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_[\]<>|~@#&]|:(?=\/\/)|(?<=\bwww)\./gi, '\\$&');
}
