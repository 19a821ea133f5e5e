/** Nothing that a terminal obeys, and nothing that turns what is read around, passes. */
import { describe, expect, it } from 'vitest';
import { printable, printableDeep, printableJson } from '../../../src/lib/printable.js';

const CASES: [what: string, text: string, line: string, block: string][] = [
  ['plain text', 'Fix the cart', 'Fix the cart', 'Fix the cart'],
  [
    'other scripts and emoji',
    'Žluťoučký 测试 مرحبا 👩‍💻',
    'Žluťoučký 测试 مرحبا 👩‍💻',
    'Žluťoučký 测试 مرحبا 👩‍💻',
  ],
  ['a colour', '\u001b[31mred\u001b[0m', 'red', 'red'],
  ['a cursor movement', 'a\u001b[2J\u001b[1;1Hb', 'ab', 'ab'],
  ['a window title', '\u001b]0;owned\u0007x', 'x', 'x'],
  ['a link', '\u001b]8;;http://evil\u0007text\u001b]8;;\u0007', 'text', 'text'],
  ['a title with blanks', '\u001b]0;my own title\u001b\\x', 'x', 'x'],
  ['a device control string', '\u001bPq#0;2~\u001b\\x', 'x', 'x'],
  ['a character set', '\u001b(Ba\u001b#8b\u001bMc', 'abc', 'abc'],
  ['a colour in colons', '\u001b[38:2::1:2:3mred', 'red', 'red'],
  ['an escape that is cut off', 'a\u001b', 'a ', 'a '],
  ['a title without an end', 'a\u001b]0;b\nc', 'a0;b | c', 'a0;b\nc'],
  ['C1 codes', 'a\u009b31mb', 'ab', 'ab'],
  ['a C1 string', 'a\u009dx\u009cb', 'a x b', 'a x b'],
  ['a bell and a backspace', 'a\u0007\u0008b', 'a  b', 'a  b'],
  ['an override', 'file\u202egpj.exe', 'file gpj.exe', 'file gpj.exe'],
  ['isolates and marks', 'a\u2066b\u2069c\u200fd\u061ce', 'a b c d e', 'a b c d e'],
  ['tag characters', 'a\u{e0041}b', 'a b', 'a b'],
  ['line breaks', 'one\ntwo\r\nthree\rfour', 'one | two | three | four', 'one\ntwo\nthree\nfour'],
  ['other line breaks', 'one\u0085two\u2028three', 'one | two | three', 'one\ntwo\nthree'],
  ['tabs', 'a\tb', 'a b', 'a\tb'],
];

describe('printable', () => {
  it.each(CASES)('%s', (_what, text, line, block) => {
    expect(printable(text, 'line')).toBe(line);
    expect(printable(text, 'block')).toBe(block);
  });

  it('takes no longer for many blanks and breaks than for words', () => {
    const blanks = `${' '.repeat(1_000_000)}x`;
    expect(printable(blanks, 'line')).toBe(blanks);
    expect(printable(`a\n${blanks}\n${' \n'.repeat(100_000)}b\n`, 'line')).toBe('a | x | b');
  });

  it('takes no longer for sequences without an end than for words', () => {
    // Seconds at the most; were the time quadratic, the runner's limit would be passed.
    for (const unit of [
      '##;',
      '\u001b##;',
      '\u001b]',
      '\u001b[0',
      '\u009b;',
      '\u001bP;',
      '\u001b ',
    ]) {
      const text = `\u001b${unit.repeat(1_000_000 / unit.length)}`;
      expect(printable(text, 'line')).not.toContain('\u001b');
    }
  });

  it('leaves no control, bidi or separator character of all of Unicode in a line', () => {
    const left: string[] = [];
    for (let code = 0; code <= 0x10ffff; code += 1) {
      if (code >= 0xd800 && code <= 0xdfff) continue;
      const character = String.fromCodePoint(code);
      if (!/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u.test(character)) continue;
      if (printable(`a${character}b`, 'line').includes(character)) left.push(code.toString(16));
    }
    expect(left).toEqual([]);
  });
});

it('every string of an answer is one line', () => {
  expect(printableDeep({ a: ['x\u001b[1m\ny', 1, null], 'b\u0007': { c: '\u202e' } })).toEqual({
    a: ['x | y', 1, null],
    'b ': { c: ' ' },
  });
});

it('JSON keeps its meaning', () => {
  const value = { title: 'a\u009b31m\u202e\u2028\u{e0041}\n\u001b' };
  const json = printableJson(JSON.stringify(value));
  expect(JSON.parse(json)).toEqual(value);
  expect(json).toMatch(/^[\x20-\x7e]+$/);
});
