/** Spoiled recordings: a line is read or refused with its number, and what is read can be replayed without surprise. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { observationSchema } from '../../../src/recording/format.js';
import { RecordingError, readRecording, replay } from '../../../src/recording/replay.js';
import type { Observation } from '../../../src/watchdog/observation.js';
import { DEFAULT_POLICY } from '../../../src/watchdog/policy.js';
import { Watchdog } from '../../../src/watchdog/watchdog.js';
import {
  fuzz,
  fuzzAsync,
  longestText,
  mutateBytes,
  mutateJson,
  rearrange,
  recordings,
  runs,
} from '../../support/mutate.js';
import { folder } from '../recording/support.js';

const all = recordings();
const lines = all.flatMap(({ lines: [, ...rest] }) => rest);

describe('a recording', () => {
  it('of spoiled lines is observations or none, and the watchdog takes what is left', () => {
    const policy = DEFAULT_POLICY;
    let watchdog = new Watchdog({ policy, acts: true });
    let at = 0;
    let read = 0;
    const inputs = fuzz(20_000, (random) => {
      if (random.chance(0.01)) watchdog = new Watchdog({ policy, acts: true });
      const result = observationSchema.safeParse(
        mutateJson(random, JSON.parse(random.pick(lines))),
      );
      if (!result.success) return;
      read += 1;
      const observation = result.data as Observation;
      at += 50;
      const decided = watchdog.observe({ ...observation, at });
      expect(decided.length).toBeLessThan(200);
      for (const each of decided) {
        if (longestText(each) > 20_000) throw new Error(`too long: ${JSON.stringify(each)}`);
      }
      const { deadline } = watchdog;
      if (deadline !== undefined) expect(deadline).toBeGreaterThan(at);
    });
    expect(inputs).toBeGreaterThanOrEqual(runs(20_000));
    expect(read).toBeGreaterThan(inputs / 50);
    expect(read).toBeLessThan(inputs);
  });

  it('of spoiled bytes is read to its end, or refused with file and line', async () => {
    const dir = folder();
    const file = join(dir, 'spoiled.ndjson');
    let read = 0;
    let decisions = 0;
    const inputs = await fuzzAsync(1_500, async (random) => {
      const [head = '', ...rest] = random.pick(all).lines;
      const body = rearrange(random, rest.slice(0, 40)).join('\n');
      const spoiled = mutateBytes(random, Buffer.from(body), Buffer.from(head));
      const start = random.chance(0.9) ? Buffer.from(`${head}\n`) : Buffer.alloc(0);
      writeFileSync(file, Buffer.concat([start, spoiled]));
      try {
        const { observations } = await readRecording(file);
        read += 1;
        for (const asRecorded of [true, false]) {
          const decided = [
            ...replay(observations, { policy: DEFAULT_POLICY, acts: true, asRecorded }),
          ];
          expect(decided.length).toBeLessThan(1_000);
          decisions += decided.length;
        }
      } catch (error) {
        expect(error).toBeInstanceOf(RecordingError);
        expect((error as Error).message).toContain('spoiled.ndjson');
        expect((error as Error).message.length).toBeLessThan(600);
      }
    });
    expect(read).toBeGreaterThan(inputs / 50);
    expect(read).toBeLessThan(inputs);
    expect(decisions).toBeGreaterThan(0);
  });
});
