/** Text from elsewhere stays text in a chat or a ticket. */
import { expect, it } from 'vitest';
import { escapeMarkdown } from '../../../src/lib/markdown.js';

it.each([
  ['plain words, 22:00, 3.5 s (twice)', 'plain words, 22:00, 3.5 s (twice)'],
  ['**bold** _it_ `code` ~~no~~', '\\*\\*bold\\*\\* \\_it\\_ \\`code\\` \\~\\~no\\~\\~'],
  ['[x](http://evil) <b>', '\\[x\\](http\\://evil) \\<b\\>'],
  ['see https://evil or WWW.evil', 'see https\\://evil or WWW\\.evil'],
  ['@here #12 a|b', '\\@here \\#12 a\\|b'],
  ['&lt;b&gt; \\*', '\\&lt;b\\&gt; \\\\\\*'],
])('%s', (text, escaped) => {
  expect(escapeMarkdown(text)).toBe(escaped);
});
