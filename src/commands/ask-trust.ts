/** Asks on a terminal whether a file of the working directory is trusted, and remembers a yes. */
import { createInterface } from 'node:readline/promises';
import type { Untrusted } from '../config/load.js';
import { trustFile } from '../config/trust.js';

/** Returns false also if nobody can answer. @throws if a yes cannot be remembered */
export async function askForTrust({ file, digest, keys }: Untrusted): Promise<boolean> {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) return false;
  const lines = keys.map(({ key, value }) => `  ${key}: ${value}`.replace(/\p{Cc}/gu, '?'));
  process.stderr.write(
    `${file} is in the working directory, may be anybody's, and sets\n${lines.join('\n')}\n`,
  );
  const answer = await ask('Trust it as it is now? [y/N] ');
  if (!/^y(es)?$/i.test(answer.trim())) return false;
  trustFile(process.env, file, digest);
  return true;
}

/** Resolves to nothing at the end of the input (Ctrl-D). Ctrl-C ends this process as the signal does elsewhere. */
async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // A question that is still open when its terminal closes never settles.
  const closed = new Promise<string>((resolve) => terminal.once('close', () => resolve('')));
  let isInterrupted = false;
  terminal.once('SIGINT', () => {
    isInterrupted = true;
    terminal.close();
  });
  try {
    return await Promise.race([terminal.question(question).catch(() => ''), closed]);
  } finally {
    terminal.close();
    // The terminal is itself again only now.
    if (isInterrupted) process.kill(process.pid, 'SIGINT');
  }
}
