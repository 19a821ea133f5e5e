/** Reads stdin to its end, for the one input of a command that is given as `-`. */
import { EXIT, ExitError } from './shared.js';

let takenFor: string | undefined;

/**
 * `what` is what it is read for: `the prompt`. @throws ExitError with code 2 if it is too large, or was read already
 */
export async function readStdin(what: string, maxBytes: number): Promise<string> {
  if (takenFor !== undefined) {
    throw new ExitError(
      EXIT.usage,
      `stdin is read already, for ${takenFor}: give ${what} as a file`,
    );
  }
  takenFor = what;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      throw new ExitError(
        EXIT.usage,
        `stdin has more than ${maxBytes / 1024} KiB: give ${what} as a file`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
