import { afterAll, beforeAll, expect, test } from 'vitest';
import { runInHome } from '../support/command.js';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.js';
import { prepareHome } from '../support/opencode.js';
import { freePort } from '../support/ports.js';
import { isAlive } from '../support/processes.js';

let provider: FakeProvider;
let home: Awaited<ReturnType<typeof prepareHome>>;

beforeAll(async () => {
  provider = await startFakeProvider();
  home = await prepareHome(provider);
});
afterAll(async () => {
  await home.remove();
  await provider.stop();
});

test('a server that is down is red with exit code 3, and --start brings it up and leaves it running', async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const down = await runInHome(home, ['check', '--url', url]);
  expect(down.code).toBe(3);
  expect(down.out).toMatch(/^ok {4}binary .* at /m);
  expect(down.out).toMatch(/^FAIL {2}server .*ECONNREFUSED.*check --start/m);
  expect(down.out).toMatch(/^- {5}providers .*not asked/m);

  const up = await runInHome(home, ['check', '--url', url, '--start']);
  expect(up.out).toMatch(/^ok {4}server .* answers at /m);
  expect(up.out).toMatch(/^ok {4}providers {2}connected: .*fake, fake2/m);
  expect(up.out).toMatch(/^ok {4}model {6}fake\/m1/m);
  expect(up.code).toBe(0);

  const json = await runInHome(home, ['check', '--url', url, '--json']);
  const report = JSON.parse(json.out) as { ok: boolean; steps: { step: string; ok: boolean }[] };
  expect(report.ok).toBe(true);
  expect(report.steps.map(({ step, ok }) => [step, ok])).toEqual([
    ['binary', true],
    ['server', true],
    ['providers', true],
    ['model', true],
  ]);
  expect(home.processes().filter(isAlive)).not.toEqual([]);
});
