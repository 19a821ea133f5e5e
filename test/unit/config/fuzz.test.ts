import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../../src/config/file.js';
import { flatten } from '../../../src/config/flatten.js';
import { KEYS, KEYS_BY_VARIABLE, nest } from '../../../src/config/keys.js';
import { ConfigError } from '../../../src/config/problem.js';
import { runs } from '../../support/mutate.js';
import { ConfigHome } from './home.js';

/** Loads, and lets nothing but a ConfigError pass. */
function tryLoad(home: ConfigHome, options: Parameters<ConfigHome['load']>[0]): void {
  try {
    home.load(options);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).problems.length).toBeGreaterThan(0);
  }
}

const words = fc.constantFrom(
  'server',
  'retry',
  'url',
  'backoff',
  'webhooks',
  '__proto__',
  'constructor',
  '',
);

describe('the loader', () => {
  const home = new ConfigHome();

  it('throws nothing but a ConfigError, whatever the file holds', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.json()), (content) => {
        home.write('c', content);
        tryLoad(home, { file: 'c' });
      }),
      { numRuns: runs(500) },
    );
  });

  it('throws nothing but a ConfigError, whatever objects the file holds', () => {
    const value = fc.object({ key: fc.oneof(words, fc.string()), maxDepth: 4 });
    fc.assert(
      fc.property(value, (object) => {
        home.write('c', JSON.stringify(object));
        tryLoad(home, { file: 'c' });
      }),
      { numRuns: runs(500) },
    );
  });

  it('throws nothing but a ConfigError, whatever value any key has', () => {
    const key = fc.constantFrom(...KEYS.keys());
    const value = fc.oneof(fc.jsonValue(), fc.string(), fc.double(), fc.constant('0'), fc.webUrl());
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { maxLength: 6 }), (entries) => {
        home.write('c', stringify(nest(entries)));
        tryLoad(home, { file: 'c' });
      }),
      { numRuns: runs(500) },
    );
  });

  it('throws nothing but a ConfigError, whatever the environment holds', () => {
    const name = fc.oneof(
      fc.constantFrom(...KEYS_BY_VARIABLE.keys()),
      fc.string().map((text) => `OPENCODE_WATCHDOG_${text}`),
    );
    fc.assert(
      fc.property(fc.dictionary(name, fc.string({ unit: 'binary' })), (env) =>
        tryLoad(home, { env }),
      ),
      { numRuns: runs(500) },
    );
  });

  it('survives objects that contain themselves, bombs of aliases and nesting without end', () => {
    const circular: Record<string, unknown> = {};
    circular.server = circular;
    expect(() => flatten(circular, () => '')).not.toThrow();
    home.write('c', 'notify: &a { webhooks: [*a] }\nserver: { command: &b [*b] }');
    tryLoad(home, { file: 'c' });
    const bomb = ['a0: &a0 [x, x, x]'];
    for (let i = 1; i < 30; i++) bomb.push(`a${i}: &a${i} [*a${i - 1}, *a${i - 1}, *a${i - 1}]`);
    expect(parseConfig(bomb.join('\n'), 'c').problems.length).toBeGreaterThan(0);
    home.write('c', '['.repeat(20_000));
    tryLoad(home, { file: 'c' });
    home.remove();
  });
});
