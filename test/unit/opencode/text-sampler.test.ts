/** Samples of answers that stream on and on: when text is wanted, and what is said of it. */
import { describe, expect, it } from 'vitest';
import { MAX_COLLECTED, TextSampler } from '../../../src/opencode/text-sampler.js';

const PASSAGE =
  'Let me look at the configuration once more, since the value that the test expects is not the one ' +
  'which the loader returns, and therefore the assertion must fail again; I will now change the ' +
  'default and run the whole suite another time to be sure. ';

/** Streams `text(n)` every second; gives what was said, by second. */
function stream(sampler: TextSampler, seconds: number, text: (n: number) => string, part = 'p') {
  const said: [number, number][] = [];
  for (let n = 0; n < seconds; n += 1) {
    const at = n * 1_000;
    if (!sampler.wants('s', at)) continue;
    const count = sampler.take({ sessionID: 's', partID: part, delta: text(n) }, at);
    if (count !== undefined) said.push([n, count]);
  }
  return said;
}

describe('an answer that streams on', () => {
  it('is not read in its first minute', () => {
    expect(stream(new TextSampler(), 60, () => PASSAGE)).toEqual([]);
  });

  it('is sampled at 80 s, and once a minute from then on', () => {
    const said = stream(new TextSampler(), 200, () => PASSAGE);
    expect(said.map(([second]) => second)).toEqual([80, 140]);
    for (const [, count] of said) expect(count).toBeGreaterThan(15);
  });

  it('that says something new all the time repeats nothing', () => {
    const said = stream(new TextSampler(), 100, (n) => `${n} ${PASSAGE.slice(n % 90)} ${n * 7}`);
    expect(said).toEqual([[80, 1]]);
  });

  it('begins anew after a pause, and with another part', () => {
    const sampler = new TextSampler();
    stream(sampler, 70, () => PASSAGE);
    expect(sampler.wants('s', 80_000)).toBe(false);
    expect(sampler.wants('s', 81_000)).toBe(false);
    const parts = new TextSampler();
    stream(parts, 80, () => PASSAGE);
    parts.wants('s', 80_000);
    expect(parts.take({ sessionID: 's', partID: 'q', delta: PASSAGE }, 80_000)).toBe(1);
  });

  it('waits where as many as there is room for are read already', () => {
    const sampler = new TextSampler();
    const ids = Array.from({ length: MAX_COLLECTED + 1 }, (_, n) => `s${n}`);
    let wanted: boolean[] = [];
    for (let at = 0; at <= 61_000; at += 1_000) wanted = ids.map((id) => sampler.wants(id, at));
    expect(wanted.filter(Boolean)).toHaveLength(MAX_COLLECTED);
    for (let at = 62_000; at < 70_000; at += 1_000) sampler.wants('s50', at);
    expect(sampler.wants('s50', 70_000)).toBe(true);
  });
});
