import { describe, expect, it } from 'vitest';
import { KIND_NAMES, kindOf } from '../../../chaos/kinds.js';
import { FAULT_NAMES, FAULTS, plan, possible } from '../../../chaos/schedule.js';
import { Shuffler } from '../../../chaos/shuffler.js';
import { Random } from '../../support/random.js';

const MINUTES = 60_000;
const long = { ms: 15 * MINUTES, nat: true };

describe('the schedule of chaos', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(plan({ ...long, seed: 7 })).toEqual(plan({ ...long, seed: 7 }));
    expect(plan({ ...long, seed: 7 })).not.toEqual(plan({ ...long, seed: 8 }));
  });

  it('has every fault and every kind of session in a quarter of an hour, whatever the seed', () => {
    for (let seed = 0; seed < 50; seed++) {
      const [phase] = plan({ ...long, seed });
      const faults = new Set(phase!.faults.map(({ fault }) => fault));
      const kinds = new Set(phase!.sessions.map(({ kind }) => kind));
      expect([...faults].sort()).toEqual([...FAULT_NAMES].sort());
      const planned = KIND_NAMES.filter((name) => !kindOf(name).byFault);
      expect([...kinds].sort()).toEqual(planned.sort());
    }
  });

  it('leaves the sessions as they are where other faults are chosen', () => {
    const all = plan({ ...long, seed: 3 });
    const only = plan({ ...long, seed: 3, only: ['net-cut'] });
    expect(only[0]!.sessions).toEqual(all[0]!.sessions);
    expect(new Set(only[0]!.faults.map(({ fault }) => fault))).toEqual(new Set(['net-cut']));
  });

  it('leaves out of the dense form what takes longer than it lasts', () => {
    for (let seed = 0; seed < 50; seed++) {
      const [phase] = plan({ ...long, dense: true, seed });
      expect(phase!.faults.map(({ fault }) => fault)).not.toContain('abort-swallow');
      for (const { kind } of phase!.sessions) expect(kindOf(kind).slow).toBeUndefined();
    }
  });

  it('comes in two halves without NAT, each with what it can do', () => {
    const phases = plan({ ...long, nat: false, seed: 1 });
    expect(phases.map(({ topology }) => topology)).toEqual(['direct', 'observed']);
    const groups = phases.map(({ faults }) => new Set(faults.map(({ fault }) => FAULTS[fault])));
    expect(groups[0]).not.toContain('network');
    expect(groups[1]).toContain('network');
    expect(groups[1]).not.toContain('process');
    expect(plan({ ...long, nat: false, seed: 1, only: ['network'] })).toHaveLength(1);
  });

  it('knows the groups of faults', () => {
    expect(possible('nat', ['disk'])).toEqual(['disk-daemon', 'disk-server']);
    expect(possible('direct', ['network'])).toEqual([]);
  });
});

describe('chance', () => {
  it('stays within its bounds and reaches them', () => {
    const random = new Random(1);
    const seen = new Set(Array.from({ length: 1_000 }, () => random.between(3, 6)));
    expect([...seen].sort()).toEqual([3, 4, 5, 6]);
  });

  it('deals every card before any comes again', () => {
    const shuffler = new Shuffler(['a', 'b', 'c'], new Random(2));
    for (let round = 0; round < 5; round++) {
      expect([shuffler.deal(), shuffler.deal(), shuffler.deal()].sort()).toEqual(['a', 'b', 'c']);
    }
  });
});
