import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRedactor, maskUserinfo, secretsInUrl } from '../../../src/lib/redaction.js';
import { runs } from '../../support/mutate.js';
import { captured } from '../telemetry/fixtures.js';

const secret = { reveal: () => 'hunter2 "+/?' };
const redactor = createRedactor([secret]);

describe('redaction', () => {
  it('finds a secret as it stands, in a URL, in JSON and in Basic authentication', () => {
    const value = secret.reveal();
    const basic = Buffer.from(`opencode:${value}`).toString('base64');
    for (const shape of [
      value,
      encodeURIComponent(value),
      JSON.stringify({ x: value }),
      `x${basic}`,
    ]) {
      const shown = redactor.text(`before ${shape} after`);
      expect(shown).toContain('[secret]');
      expect(shown).not.toContain('hunter2');
      expect(Buffer.from(shown, 'base64').toString()).not.toContain('hunter2');
    }
  });

  it.each([
    ['GET http://me:pw@host/x', 'GET http://[secret]@host/x'],
    ['http://me:p@ss@host', 'http://[secret]@host'],
    ['Authorization: Basic b3BlbmNvZGU6eA==', 'Authorization: Basic [secret]'],
    ['authorization=abc, next', 'authorization=[secret], next'],
    ['Bearer abc.def-ghi', 'Bearer [secret]'],
    ['{"apiKey":"abc","x":1}', '{"apiKey":"[secret]","x":1}'],
    ['https://x/?api_key=abc&y=1', 'https://x/?api_key=[secret]&y=1'],
    ['key sk-abcdefghijklmnop1234 refused', 'key [secret] refused'],
    ['server password Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE', 'server password [secret]'],
    ['http://h/x?a=1&session_token=abc#top', 'http://h/x?a=1&session_token=[secret]#top'],
    ['http://h/?token=abc is refused', 'http://h/?token=[secret] is refused'],
    ['the password prompt, a token limit of 4096', 'the password prompt, a token limit of 4096'],
    ['nothing of the kind: user@host, /path', 'nothing of the kind: user@host, /path'],
  ])('finds what nobody told it about: %s', (text, shown) => {
    expect(redactor.text(text)).toBe(shown);
  });

  it('finds a secret that is learned, or changes, while we run', () => {
    let password = '';
    const learning = createRedactor([secret, { reveal: () => password }]);
    expect(learning.text('correct horse')).toBe('correct horse');
    password = 'correct horse';
    expect(learning.text('correct horse')).toBe('[secret]');
    password = 'battery staple';
    expect(learning.text('battery staple, hunter2 "+/?')).toBe('[secret], [secret]');
  });

  it('masks by name what is named like a secret, and not what only tells where it is', () => {
    expect(
      redactor.value({
        password: 'a',
        headers: { Authorization: 'b', 'x-api-key': 'c', Cookie: ['d'] },
        statusToken: 'e',
        token: null,
        passwordFile: '/f',
        tokens: 7,
      }),
    ).toEqual({
      password: '[secret]',
      headers: { Authorization: '[secret]', 'x-api-key': '[secret]', Cookie: '[secret]' },
      statusToken: '[secret]',
      token: null,
      passwordFile: '/f',
      tokens: 7,
    });
  });

  it('bounds strings, lists, objects and depth, and says so', () => {
    const deep = { a: { b: { c: { d: { e: { f: { g: 1 } } } } } } };
    expect(JSON.stringify(redactor.value(deep))).toContain('"[object]"');
    const list = redactor.value(Array.from({ length: 120 }, (_, i) => i)) as unknown[];
    expect(list).toHaveLength(101);
    expect(list.at(-1)).toBe('… and 20 more');
    const wide = redactor.value(Object.fromEntries(list.map((_, i) => [`k${i}`, i])));
    expect(Object.keys(wide as object)).toHaveLength(101);
    expect(redactor.text(`${'x'.repeat(2_047)}😀y`)).toBe(
      `${'x'.repeat(2_047)}… (2050 characters)`,
    );
  });

  it('makes errors plain, with their causes, and survives cycles', () => {
    const error = new Error('outer hunter2 "+/?', {
      cause: Object.assign(new Error('inner'), { code: 'EX' }),
    });
    const plain = redactor.value(error) as { message: string; cause: object };
    expect(plain.message).toBe('outer [secret]');
    expect(plain.cause).toMatchObject({ name: 'Error', message: 'inner', code: 'EX' });
    const circle: Record<string, unknown> = { n: 1n, f: () => 1, d: new Date(Number.NaN) };
    circle.self = circle;
    expect(redactor.value(circle)).toEqual({
      n: '1',
      f: undefined,
      d: 'no date',
      self: '[circular]',
    });
  });

  it('comes to an end with any text, however its patterns repeat', () => {
    // Milliseconds in proportion to the length; were it quadratic, the test's own limit would be passed.
    for (const unit of ['a.', 'a://', 'Basic ', 'authorization ', 'password:"', '@']) {
      const text = unit.repeat(65_536 / unit.length);
      expect(redactor.text(text, text.length).length).toBeGreaterThan(0);
    }
  });

  it('lets no secret through in any line, whatever is logged', () => {
    const anySecret = fc
      .string({ minLength: 6, unit: 'grapheme-ascii' })
      .filter((s) => s.trim().length > 5);
    fc.assert(
      fc.property(anySecret, fc.object({ maxDepth: 2 }), fc.string(), (password, detail, text) => {
        // A secret that is part of every line's own words cannot be hidden there.
        fc.pre(
          !'[secret]… ("level":"warn","time":"event":"server.notice","severity":"detail"'.includes(
            password,
          ),
        );
        const { telemetry, written } = captured({ secrets: [{ reveal: () => password }] });
        telemetry.emit('server.notice', {
          severity: 'warn',
          notice: `${text}${password}${text}`,
          detail: {
            ...detail,
            [`k${password}`]: password,
            list: [password, { x: `a${password}` }],
          },
        });
        telemetry.emit('server.output', { stream: 'stderr', line: password });
        telemetry.emit('error', { err: new Error(password) });
        for (const line of written) {
          const parsed = JSON.parse(line);
          delete parsed.time;
          expect(JSON.stringify(parsed)).not.toContain(JSON.stringify(password).slice(1, -1));
        }
      }),
      { numRuns: runs(300) },
    );
  });
});

it('knows the parts of a webhook’s URL that may be its token, sent or decoded', () => {
  const url = 'https://hooks.test/services/T01/%C3%BCber-geheim?thread=abcdefgh12&x=1';
  const { text } = createRedactor(secretsInUrl(url));
  expect(text('no hook at /services/T01/%C3%BCber-geheim?thread=abcdefgh12&x=1')).toBe(
    'no hook at [secret]',
  );
  expect(text('T01 has no über-geheim')).toBe('T01 has no [secret]');
  expect(text('T01: abcdefgh12 unknown')).toBe('T01: [secret] unknown');
  expect(createRedactor(secretsInUrl('https://h.test/%E0%A4')).text('as it is')).toBe('as it is');
});

it.each([
  ['http://me:p@ss@host:1/x', 'http://[secret]@host:1/x'],
  ['me:pw@host', '[secret]@host'],
  ['say "me:pw@host" \\', '[secret]@host" \\'],
  ['http://host/x?token=abc#top', 'http://host/x?[secret]'],
  ['see http://a/ and http://me:pw@host/#abc', '[secret]@host/#abc'],
  ['http://me:pw@host/#abc', 'http://[secret]@host/#[secret]'],
  ['http://host/?', 'http://host/?'],
  ['a? b# c', 'a? b# c'],
])('shows of a value that may be a URL neither userinfo nor query: %s', (text, shown) => {
  expect(maskUserinfo(JSON.stringify([text, { [text]: 1 }]))).toBe(
    JSON.stringify([shown, { [shown]: 1 }]),
  );
});

it.each(['"', '\\', '://', 'a://', '@', 'a:', '?', '"?://'])(
  'takes no longer for a value of many %s than for words',
  (unit) => {
    // Milliseconds; were the time quadratic, the runner's limit would be passed.
    const text = unit.repeat(2 ** 20 / unit.length);
    expect(maskUserinfo(JSON.stringify(`me:pw@${text}`))).toMatch(/^"\[secret\]@/);
    expect(maskUserinfo(JSON.stringify(text)).length).toBeGreaterThan(2);
  },
);
