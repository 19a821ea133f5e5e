/** Plans what happens when, from a seed alone: the same seed gives the same faults and sessions, in the same order. */

import { Random } from '../test/support/random.js';
import { KIND_NAMES, type KindName, kindOf } from './kinds.js';
import { Shuffler } from './shuffler.js';

/**
 * How network faults are made. `nat`: the kernel redirects the daemon's connections to opencode's port to the proxy, so
 * that every fault can happen in one world. `direct` and `observed` are the two halves if NAT is not available: first
 * no proxy at all, then a proxy in the URL, with a server whose process the daemon may not touch.
 */
export type Topology = 'nat' | 'direct' | 'observed';

export const FAULTS = {
  'server-kill': 'process',
  'server-term': 'process',
  /** Continued before the daemon has a reason to restart it, or just when it has found one. */
  'server-freeze': 'process',
  /** It is stopped again whenever it is continued, so only a new server helps. */
  'server-freeze-for-good': 'process',
  'server-kill-while-booting': 'process',
  /** A server of the other API has the port. It is alive, and must never be ended. */
  'server-other-api': 'process',
  /** Another program has the port, and must never be ended. */
  'server-stranger': 'process',
  /** A restart command fails while the server is healthy. */
  'restart-fails': 'process',
  'daemon-kill': 'daemon',
  'daemon-term': 'daemon',
  'daemon-freeze': 'daemon',
  'daemon-double': 'daemon',
  /** Somebody deletes the files that the server writes its output to. */
  'output-remove': 'daemon',
  'both-kill': 'process',
  /** A run kills the server, and does so again when it is continued. */
  'run-kills-server': 'process',
  'net-cut': 'network',
  'net-refuse': 'network',
  'net-blackhole': 'network',
  'net-delay': 'network',
  /**
   * How a slow server looks from outside: each answer comes seconds late, about as late as the verification of an abort
   * waits.
   */
  'net-slow': 'network',
  'net-truncate': 'network',
  'net-reset': 'network',
  /** Aborts are answered and do nothing, so stuck sessions become wedged. */
  'abort-swallow': 'network',
  'disk-daemon': 'disk',
  'disk-server': 'disk',
  'provider-down': 'provider',
  'provider-flap': 'provider',
} as const;

export type FaultName = keyof typeof FAULTS;
export type FaultGroup = (typeof FAULTS)[FaultName];
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];
export const FAULT_GROUPS = [...new Set(Object.values(FAULTS))] as FaultGroup[];

export interface PlannedFault {
  /** Since the phase's beginning, ms. */
  at: number;
  fault: FaultName;
  /** How long it lasts, if we decide that. */
  ms: number;
  /** A number with a meaning of its own for each fault: added delay in ms, bytes until a cut. */
  amount: number;
}

export interface PlannedSession {
  at: number;
  kind: KindName;
  /** The index of a project folder. */
  project: number;
}

export interface Phase {
  topology: Topology;
  ms: number;
  faults: PlannedFault[];
  sessions: PlannedSession[];
}

export interface ScheduleOptions {
  seed: number;
  ms: number;
  /** Whether the kernel's NAT is available. */
  nat: boolean;
  /** Only these faults or groups of faults are planned. */
  only?: readonly string[];
  /** Faults and sessions follow each other quickly, for the short form. */
  dense?: boolean;
}

export const PROJECTS = 3;

/**
 * What each topology allows. A server that the daemon only observes must not be killed: nobody would start it again.
 */
const POSSIBLE: Record<Topology, (fault: FaultName) => boolean> = {
  nat: () => true,
  // A second daemon for the same server needs a second route to it.
  direct: (fault) => FAULTS[fault] !== 'network' && fault !== 'restart-fails',
  observed: (fault) =>
    !['process', 'disk'].includes(FAULTS[fault]) &&
    fault !== 'daemon-double' &&
    fault !== 'output-remove',
};

/** Their effect takes longer than the dense form lasts. */
const SLOW: readonly FaultName[] = ['run-kills-server', 'abort-swallow'];

export function possible(
  topology: Topology,
  only: readonly string[] = [],
  dense = false,
): FaultName[] {
  return FAULT_NAMES.filter(
    (fault) =>
      POSSIBLE[topology](fault) &&
      (only.length === 0
        ? !(dense && SLOW.includes(fault))
        : only.includes(fault) || only.includes(FAULTS[fault])),
  );
}

export function plan(options: ScheduleOptions): Phase[] {
  const { seed, ms, nat, only } = options;
  const topologies: Topology[] = nat ? ['nat'] : ['direct', 'observed'];
  const usable = topologies.filter((topology) => possible(topology, only).length > 0);
  return usable.map((topology, index) => {
    const length = Math.round(ms / usable.length);
    // Each has its own random stream, so that another length or another choice of faults does not change the sessions.
    const faults = planFaults(new Random(seed * 31 + index), topology, length, options);
    const sessions = planSessions(new Random(seed * 37 + 1000 + index), length, options);
    return { topology, ms: length, faults, sessions };
  });
}

/** The last faults come early enough that their effect is still observed. */
const TAIL_SHARE = 0.06;

function planFaults(
  random: Random,
  topology: Topology,
  ms: number,
  { only, dense = false }: ScheduleOptions,
): PlannedFault[] {
  const shuffler = new Shuffler(possible(topology, only, dense), random);
  const faults: PlannedFault[] = [];
  const [least, most] = dense ? [1_500, 5_000] : [2_000, 10_000];
  let at = random.between(least, most);
  while (at < ms * (1 - TAIL_SHARE)) {
    const fault = shuffler.deal();
    const length = dense ? random.between(2_000, 4_000) : random.between(2_500, 22_000);
    faults.push({ at, fault, ms: length, amount: random.between(80, 900) });
    // One in three comes on top of the last one. One in seven leaves time for everything to settle.
    const dice = random.next();
    if (dense) at += length + random.between(least, most);
    else if (dice < 0.35) at += random.between(500, length);
    else if (dice < 0.85) at += length + random.between(least, most);
    else at += length + random.between(25_000, 45_000);
  }
  return faults;
}

function planSessions(
  random: Random,
  ms: number,
  { dense = false }: ScheduleOptions,
): PlannedSession[] {
  const kinds = KIND_NAMES.filter((name) => {
    const { byFault = false, slow = false } = kindOf(name);
    return !byFault && !(slow && dense);
  });
  const shuffler = new Shuffler(kinds, random);
  const sessions: PlannedSession[] = [];
  const [least, most] = dense ? [300, 1_600] : [1_000, 4_500];
  // Nothing new near the end of a dense run, because it must end soon.
  const until = dense ? ms * 0.6 : ms * (1 - TAIL_SHARE);
  for (let at = random.between(0, least); at < until; at += random.between(least, most)) {
    sessions.push({ at, kind: shuffler.deal(), project: random.between(0, PROJECTS - 1) });
  }
  return sessions;
}
