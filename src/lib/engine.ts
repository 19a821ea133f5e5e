/**
 * How V8 treats this process: as one that idles for weeks, until it turns out to be busy. Only the command calls this;
 * a program that uses the library keeps its own settings.
 */
import { setFlagsFromString } from 'node:v8';

/** V8 11's own (`node --v8-options`): the bytes of code that a function runs before it is looked at for optimizing. */
const INTERRUPT_BUDGET = 66 * 1024;
/** The size of functions that are optimized sooner than that. */
const EARLY_OPT_BYTES = 81;

/**
 * What V8 from 12 on (Node 22 and later) does for speed at the cost of memory: an optimizing compiler or two, whose own
 * code stays in memory once it has run, the baseline compiler, and a heap that may grow before it is tidied up.
 */
const SPEED = ['opt', 'sparkplug'];
/** V8 12 has it too, switched off. */
const SPEED_SINCE_13 = ['maglev'];
const MEMORY = ['optimize-for-size'];

const v8Version = Number.parseInt(process.versions.v8, 10);
let isSlowed = false;

/** To be called before anything else is loaded. `bench/idle.ts` shows what each is worth. */
export function expectToIdle(): void {
  // V8 doubles the space for new objects up to 16 MB, twice, while it starts, and keeps it: 1 MB does for what comes later.
  setFlagsFromString('--semi-space-growth-factor=1');
  // V8 11 calls its optimizing compiler for whatever ran hot during the start, and the compiler's own code then stays in
  // memory: 3 MB. So a function has to run sixteen times as much as usual first, also where it is small.
  if (v8Version === 11) {
    setFlagsFromString(`--interrupt-budget=${16 * INTERRUPT_BUDGET}`);
    setFlagsFromString('--max-bytecode-size-for-early-opt=0');
  } else preferSpeed(false);
  isSlowed = true;
}

/** Much is to be done: optimized code is worth its memory now. `bench/scale.ts` shows it: a quarter less CPU. */
export function expectWork(): void {
  if (!isSlowed) return;
  isSlowed = false;
  if (v8Version === 11) {
    setFlagsFromString(`--interrupt-budget=${INTERRUPT_BUDGET}`);
    setFlagsFromString(`--max-bytecode-size-for-early-opt=${EARLY_OPT_BYTES}`);
  } else preferSpeed(true);
}

function preferSpeed(isPreferred: boolean): void {
  // V8 10 and older are not supported.
  if (v8Version < 12) return;
  const set = (flag: string, on: boolean) => setFlagsFromString(on ? `--${flag}` : `--no-${flag}`);
  const speed = v8Version >= 13 ? [...SPEED, ...SPEED_SINCE_13] : SPEED;
  for (const flag of speed) set(flag, isPreferred);
  for (const flag of MEMORY) set(flag, !isPreferred);
}
