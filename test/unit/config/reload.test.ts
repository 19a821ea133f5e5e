/** A changed configuration: what is applied to the running daemon, and what waits for its restart. */
import { expect, test } from 'vitest';
import { applyLive } from '../../../src/config/reload.js';
import { configSchema, defaultConfig } from '../../../src/config/schema.js';
import { loadCron } from '../../../src/lib/cron.js';

const configWith = (value: object) => configSchema.parse(value);

test('a changed limit is in force for whoever holds its level', () => {
  const config = defaultConfig();
  const { retry } = config;
  const result = applyLive(config, configWith({ retry: { maxAttempts: 2 } }));
  expect(result).toEqual({ applied: ['retry.maxAttempts'], needRestart: [] });
  expect(retry.maxAttempts).toBe(2);
});

test('a dry run neither begins nor ends in a daemon that may own a server, or has no claim on it', () => {
  const config = defaultConfig();
  expect(applyLive(config, configWith({ dryRun: true }))).toEqual({
    applied: [],
    needRestart: ['dryRun'],
  });
  expect(config.dryRun).toBe(false);
});

test('a key that is read once at start is named and left', () => {
  const config = defaultConfig();
  const next = configWith({ server: { url: 'http://localhost:5000' }, probe: { interval: '9s' } });
  expect(applyLive(config, next)).toEqual({
    applied: [],
    needRestart: ['server.url', 'probe.interval'],
  });
  expect(config).toEqual(defaultConfig());
});

test('an unchanged configuration changes nothing', () => {
  const config = defaultConfig();
  expect(applyLive(config, defaultConfig())).toEqual({ applied: [], needRestart: [] });
});

test('levels below levels and lists are applied too', () => {
  const config = defaultConfig();
  const next = configWith({
    restart: { backoff: { initial: '3s' } },
    recover: { models: ['fake/m2'] },
  });
  expect(applyLive(config, next).applied).toEqual(['restart.backoff.initial', 'recover.models']);
  expect(config.restart.backoff.initial).toBe(3_000);
  expect(config.recover.models).toEqual(['fake/m2']);
});

test('a schedule that is read again and again leaves no task of node-cron behind', () => {
  const cron = loadCron();
  const before = cron.getTasks().size;
  for (let reload = 0; reload < 3; reload += 1) configWith({ recycle: { schedule: '0 4 * * *' } });
  expect(cron.getTasks().size).toBe(before);
});
