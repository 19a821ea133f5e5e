/** Runs commands of the host, and says what they said when they fail. */
import { spawn } from 'node:child_process';

/** @returns {Promise<{ code: number, out: string, err: string }>} whatever the exit code */
export function sh(command, args = [], { input, timeoutMs = 600_000, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      ...options,
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text;
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code: code ?? 128, signal, out, err }));
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
  });
}

/** The output of a command that must work. */
export async function must(command, args = [], options = {}) {
  const { code, out, err } = await sh(command, args, options);
  if (code === 0) return out.trim();
  throw new Error(
    `${[command, ...args].join(' ')} ended with ${code}: ${(err + out).slice(-2000)}`,
  );
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `look` gives something true, and gives that. */
export async function until(what, look, timeoutMs = 60_000, everyMs = 250) {
  const end = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      last = await look();
    } catch (error) {
      last = error;
    }
    if (last && !(last instanceof Error)) return last;
    if (Date.now() > end)
      throw new Error(`not seen within ${timeoutMs} ms: ${what}; last: ${last}`);
    await pause(everyMs);
  }
}
