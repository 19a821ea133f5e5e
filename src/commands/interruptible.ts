/** Ctrl-C, SIGTERM and SIGHUP while a command acts: it brings what it has begun to an end, and then ends. */
import { complain, guardOutput } from './shared.js';

export interface Interruptible {
  code: number;
  /** The exit code that a shell gives for a program that the signal has ended (POSIX, "Exit Status for Commands"). */
  interrupted: number | undefined;
}

/**
 * Does `work`, whose signal is aborted when the command is told to end. A second signal changes nothing: what is left to
 * do takes a bounded time, and half of it would leave a ghost or no server.
 * @param says what the command does when it is told to end
 */
export async function interruptible(
  says: string,
  work: (signal: AbortSignal) => Promise<number>,
): Promise<Interruptible> {
  // The terminal that is gone after a SIGHUP takes no output.
  guardOutput();
  const stop = new AbortController();
  let interrupted: number | undefined;
  const onSignal = (_: string, signal: number) => {
    if (!stop.signal.aborted) complain(says);
    interrupted ??= 128 + signal;
    stop.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).on('SIGHUP', onSignal);
  try {
    const code = await work(stop.signal);
    return { code, interrupted };
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal).off('SIGHUP', onSignal);
  }
}
