/**
 * Reads a busy stream in batches. Each time that the process wakes costs far more than what one small frame costs to
 * read: hundreds of wakings a second become a few dozen, and what is read keeps its order and its bytes.
 */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../lib/clock.js';
import { expectWork } from '../lib/engine.js';

/** What a frame may have to wait, ms; far below the 20 ms at which a reaction would begin to be late. */
const REST_MS = 15;
/** A stream that says less than this (some 90 deltas a second) is read at once: bytes ... */
const BUSY_BYTES = 6_000;
/** ... in this time, ms. */
const BUSY_MS = 200;

/** For the socket to be read so: else a paused one reads on until 16 KiB and more are waiting. */
export const BATCHED_SOCKET = { highWaterMark: 1 };

export function readInBatches(answer: IncomingMessage, clock: Clock): void {
  const { socket } = answer;
  let bytes = 0;
  let countedSince = clock.now();
  let isBusy = false;
  let resting = false;
  const rest = () => {
    socket.pause();
    const goOn = () => {
      resting = false;
      socket.resume();
    };
    clock.after(REST_MS, goOn, { unref: true });
  };
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    const now = clock.now();
    if (now - countedSince >= BUSY_MS) {
      isBusy = bytes >= BUSY_BYTES;
      if (isBusy) expectWork();
      bytes = 0;
      countedSince = now;
    }
    if (!isBusy || resting) return;
    resting = true;
    // Not now: whoever reads the answer asks the socket for more before this event is over.
    setImmediate(rest);
  });
}
