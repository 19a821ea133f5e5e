/** Which routes a server lacks: only what says so counts, and is asked again later. */
import { expect, it } from 'vitest';
import { OpencodeError } from '../../../../src/opencode/http/errors.js';
import {
  RECHECK_ROUTE_MS,
  ServerRoutes,
  saysNoSuchRoute,
} from '../../../../src/opencode/v1/server-routes.js';
import { FakeClock } from '../../../support/fake-clock.js';

const http = (statusCode: number) =>
  new OpencodeError({
    kind: 'http',
    request: 'GET /x',
    outcome: `answered ${statusCode}`,
    statusCode,
  });
const shows = (outcome: string) =>
  new OpencodeError({ kind: 'not_opencode', request: 'GET /x', outcome });

it('says "no such route" with 404, 405 and the web app’s page, and with nothing else', () => {
  const said = [
    http(404),
    http(405),
    shows('answered 200 with text/html; charset=utf-8, not JSON'),
  ];
  expect(said.map(saysNoSuchRoute)).toEqual([true, true, true]);
  const unsaid = [
    ...[400, 429, 500, 501, 502, 503, 504].map(http),
    shows('answered 200 with text/plain, not JSON'),
    shows('answered with JSON of another shape than opencode gives'),
    new Error('answered 404'),
  ];
  expect(unsaid.filter(saysNoSuchRoute)).toEqual([]);
});

it('takes a 500 for it only where the version is known to answer unknown routes so', () => {
  const routes = new ServerRoutes(new FakeClock());
  const says = () => [routes.isMissing(http(500)), routes.isMissing(http(503))];
  expect(says()).toEqual([false, false]);
  for (const [version, isOld] of [
    ['1.2.27', true],
    ['1.13.9', true],
    ['1.14.0', false],
    ['1.18.33', false],
    ['2.0.0', false],
    ['local', false],
  ] as const) {
    routes.healthTold(version);
    expect([version, ...says()]).toEqual([version, isOld, false]);
  }
  routes.healthTold('1.2.27');
  routes.forget();
  expect(says()).toEqual([false, false]);
});

it('takes a server for older than 1.1 when its health route says that it is not there, or fails again and again', () => {
  const routes = new ServerRoutes(new FakeClock());
  routes.healthFailed(http(404));
  expect(routes.answers500).toBe(true);
  routes.healthTold('1.18.33');
  expect(routes.answers500).toBe(false);
  routes.forget();
  routes.healthFailed(http(500));
  routes.healthFailed(http(503));
  routes.healthFailed(http(500));
  expect(routes.answers500).toBe(false);
  routes.healthFailed(http(500));
  expect(routes.answers500).toBe(true);
});

it('asks again for a route that was missing', async () => {
  const clock = new FakeClock();
  const routes = new ServerRoutes(clock);
  routes.remember('/experimental/session');
  expect(routes.lacks('/experimental/session')).toBe(true);
  await clock.advance(RECHECK_ROUTE_MS);
  expect(routes.lacks('/experimental/session')).toBe(false);
});
