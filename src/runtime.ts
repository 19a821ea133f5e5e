/**
 * What is said to V8 before anything else is loaded: this is a process that idles for weeks, not one that hurries once.
 * `bench/idle.ts` shows what each is worth; bench/events.ts, that a busy daemon pays nothing for it.
 */
import { setFlagsFromString } from 'node:v8';

/** V8 doubles the space for new objects up to 16 MB, twice, while it starts, and keeps it. 1 MB does for what comes later. */
setFlagsFromString('--semi-space-growth-factor=1');

/**
 * V8 11 (Node 20) calls its optimizing compiler for whatever ran hot during the start, and the compiler's own code then
 * stays in memory: 3 MB. So a function has to run eight times as much as usual first, also where it is small. Later
 * versions wait for thousands of calls by themselves, and know no such flags.
 */
if (process.versions.v8.startsWith('11.')) {
  setFlagsFromString(`--interrupt-budget=${8 * 132 * 1024}`);
  setFlagsFromString('--max-bytecode-size-for-early-opt=0');
}
