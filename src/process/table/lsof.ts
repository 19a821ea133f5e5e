/** Finds the owners of a listening port with `lsof` on systems without /proc (macOS). */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { PortHolder } from './port-holder.js';

const run = promisify(execFile);

/** lsof may hang on a dead network mount even with -b. The owner of a port is not worth a longer wait. */
const LSOF_TIMEOUT_MS = 5_000;

export async function lsofHolders(port: number, lsof = 'lsof'): Promise<PortHolder[]> {
  try {
    // -F pu: one field a line, p for the pid and u for its uid. -nP: no names are looked up.
    const { stdout } = await run(lsof, ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpu'], {
      timeout: LSOF_TIMEOUT_MS,
    });
    return parseLsof(stdout);
  } catch (error) {
    const { code, stdout } = error as { code?: unknown; stdout?: string };
    if (code === 'ENOENT') {
      throw new Error(
        `cannot find out who listens on port ${port}: this system has no /proc, and \`lsof\` is not installed`,
        { cause: error },
      );
    }
    // lsof exits with 1 if nothing matches (lsof(8), DIAGNOSTICS).
    if (code === 1) return parseLsof(stdout ?? '');
    throw error;
  }
}

export function parseLsof(text: string): PortHolder[] {
  const holders: PortHolder[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('p')) holders.push({ pid: Number(line.slice(1)) });
    const last = holders.at(-1);
    if (line.startsWith('u') && last) last.uid = Number(line.slice(1));
  }
  return holders;
}
