/** The page leads to a session in opencode's own page where its address is known, and nowhere else. */
import { expect, it } from 'vitest';
// biome-ignore lint/suspicious/noTsIgnore: a script of the page has no types
// @ts-ignore
import { opencodeLink } from '../../../src/status/page/opencode-link.js';

const SESSION = { id: 'ses_1', directory: '/home/ada/é?>' };
const url = 'http://127.0.0.1:4096';

it.each(['1.14.0', '1.18.34', '1.19.3'])(
  'opencode %s has the session at its directory',
  (version) => {
    expect(opencodeLink({ url, version, api: 1 }, SESSION)).toBe(
      `${url}/L2hvbWUvYWRhL8OpPz4/session/ses_1`,
    );
  },
);

it.each([
  ['OpenCode 2, whose page addresses sessions in another way', { url, version: '2.0.26', api: 2 }],
  ['a version that is not known', { url }],
  ['a version that brings no page', { url, version: '1.2.27', api: 1 }],
  ['a server at a socket', { url: 'unix:/run/opencode.sock', version: '1.18.34', api: 1 }],
])('no address is made up for %s', (_, server) => {
  expect(opencodeLink(server, SESSION)).toBeUndefined();
});

it('no address is made up for a session without a directory', () => {
  expect(opencodeLink({ url, version: '1.18.34' }, { id: 'ses_1' })).toBeUndefined();
});
