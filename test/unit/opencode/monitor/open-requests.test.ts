/** Open permissions and questions: what a list shows against what events have told. */
import { describe, expect, it } from 'vitest';
import { OpenRequests } from '../../../../src/opencode/monitor/open-requests.js';

describe('open requests', () => {
  const asked = (requestID: string, at: number) =>
    ({
      kind: 'request.asked',
      at,
      sessionID: 'ses_a',
      directory: '/p',
      request: { requestID, on: 'permission' },
    }) as const;
  const listed = (requestID: string) =>
    ({ requestID, sessionID: 'ses_a', on: 'permission' }) as const;
  const kinds = (list: Array<{ kind: string }>) => list.map(({ kind }) => kind);

  it('that the list shows and nobody told of are news, once', () => {
    const requests = new OpenRequests();
    expect(kinds(requests.compare('permission', '/p', [listed('1')], 10, 11))).toEqual([
      'request.asked',
    ]);
    expect(requests.compare('permission', '/p', [listed('1')], 20, 21)).toEqual([]);
  });

  it('that are gone from the list were answered while nobody listened', () => {
    const requests = new OpenRequests();
    requests.note(asked('1', 5));
    expect(requests.compare('permission', '/other', [], 10, 11)).toEqual([]);
    expect(requests.compare('question', '/p', [], 10, 11)).toEqual([]);
    expect(kinds(requests.compare('permission', '/p', [], 10, 11))).toEqual(['request.answered']);
    expect(requests.compare('permission', '/p', [], 20, 21)).toEqual([]);
  });

  it('that were asked after the list was are not missed in it', () => {
    const requests = new OpenRequests();
    requests.note(asked('1', 15));
    expect(requests.compare('permission', '/p', [], 10, 16)).toEqual([]);
  });

  it('that were answered while the list was on its way are not asked again', () => {
    const requests = new OpenRequests();
    requests.note({ kind: 'request.answered', at: 12, sessionID: 'ses_a', requestID: '1' });
    expect(requests.compare('permission', '/p', [listed('1')], 10, 13)).toEqual([]);
  });

  it('of a kind that the lists do not show are never missed in them', () => {
    const requests = new OpenRequests();
    requests.note(asked('1', 5), false);
    expect(requests.compare('permission', '/p', [], 10, 11)).toEqual([]);
  });
});
