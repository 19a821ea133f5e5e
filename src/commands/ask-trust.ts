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
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question('Trust it as it is now? [y/N] ');
    if (!/^y(es)?$/i.test(answer.trim())) return false;
  } finally {
    terminal.close();
  }
  trustFile(process.env, file, digest);
  return true;
}
