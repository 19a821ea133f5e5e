/** The configuration under spoiled files of the kind that people write: refused with every problem, or read. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { parseConfig } from '../../../src/config/file.js';
import { ConfigError } from '../../../src/config/problem.js';
import { MAX_ITEMS } from '../../../src/config/value-types.js';
import { fuzz, mutateBytes, mutateJson, runs } from '../../support/mutate.js';
import { ConfigHome } from '../config/home.js';

const SECRET = 'https://hooks.example.com/services/T0/B0/s3cr3t';
/** One of everything. */
const FULL = `
server:
  url: http://localhost:4096
  username: opencode
  control: spawn
  command: [opencode, serve]
  startTimeout: 60s
watch: { pollInterval: 5s, heartbeatTimeout: 30s }
retry: { maxAttempts: 5, maxDuration: 60s, maxWait: 5m }
stall:
  maxSilence: 10m
  maxToolTime: 60m
waiting: { maxDuration: 0, action: report }
restart:
  backoff: { initial: 1s, max: 60s }
recycle: { maxMemory: 4GiB, schedule: "0 4 * * *" }
recover: { afterAbort: continue, models: [fake/m1, fake/m2], maxPerSession: 2 }
notify:
  webhooks:
    - { url: "${SECRET}", events: [session.stuck, server], format: slack }
status: { listen: "127.0.0.1:4097" }
log: { level: info, format: json }
dryRun: true
`;
const bytes = Buffer.from(FULL);
const docs = readFileSync(new URL('../../../docs/configuration.md', import.meta.url));

function isSound(problems: readonly { key: string; expected: string }[]): void {
  expect(problems.length).toBeLessThan(1_000);
  for (const { key, expected } of problems) {
    if (key.length > 60_000 || expected === '') throw new Error(`not sound: ${key} ${expected}`);
  }
}

describe('the configuration', () => {
  it('read from spoiled files is a layer or problems', () => {
    let clean = 0;
    const inputs = fuzz(3_000, (random) => {
      const text = mutateBytes(random, bytes, docs).toString('utf8');
      const { problems } = parseConfig(text, 'c');
      isSound(problems);
      if (problems.length === 0) clean += 1;
    });
    expect(inputs).toBeGreaterThanOrEqual(runs(3_000));
    expect(clean).toBeGreaterThan(inputs / 20);
    expect(clean).toBeLessThan(inputs);
  });

  it('loaded from files with nonsense for values is whole or refused, and no secret is shown', () => {
    const home = new ConfigHome();
    let loaded = 0;
    const inputs = fuzz(600, (random) => {
      const value = mutateJson(random, parse(FULL));
      home.write('c', random.chance(0.5) ? JSON.stringify(value) : stringify(value));
      try {
        const { config } = home.load({ file: 'c' });
        loaded += 1;
        expect(config.retry.maxAttempts).toBeGreaterThanOrEqual(1);
        expect(config.notify.webhooks.length).toBeLessThanOrEqual(MAX_ITEMS);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        isSound((error as ConfigError).problems);
        const { message } = error as ConfigError;
        expect(message).not.toContain('s3cr3t');
        expect(message.length).toBeLessThan(100_000);
      }
    });
    home.remove();
    expect(loaded).toBeGreaterThan(inputs / 50);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});
