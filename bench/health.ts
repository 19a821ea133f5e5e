/** When a server answers, measured the same way for everybody. */

const PROBE_MS = 250;
const PAUSE_MS = 10;

/** Milliseconds until a health probe is answered. */
export async function untilHealthy(url: string): Promise<number> {
  const began = performance.now();
  for (;;) {
    try {
      const answer = await fetch(`${url}/global/health`, { signal: AbortSignal.timeout(PROBE_MS) });
      if (((await answer.json()) as { healthy?: boolean }).healthy)
        return performance.now() - began;
    } catch {
      // Not yet.
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
