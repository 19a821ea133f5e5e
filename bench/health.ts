/** Measures when a server answers, in the same way for every supervisor. */

const PROBE_MS = 250;
const PAUSE_MS = 10;

/** Waits until a health probe is answered. Returns how long that took, ms. */
export async function untilHealthy(url: string): Promise<number> {
  return (await healthyWithin(url, Number.POSITIVE_INFINITY)) ?? Number.NaN;
}

/** Like `untilHealthy`, but undefined if it takes longer than `limitMs`. */
export async function healthyWithin(url: string, limitMs: number): Promise<number | undefined> {
  const began = performance.now();
  while (performance.now() - began < limitMs) {
    try {
      const answer = await fetch(`${url}/global/health`, { signal: AbortSignal.timeout(PROBE_MS) });
      if (((await answer.json()) as { healthy?: boolean }).healthy)
        return performance.now() - began;
    } catch {
      // Not healthy yet.
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return undefined;
}
