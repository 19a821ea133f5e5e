/** When a server answers, measured the same way for everybody. */

const PROBE_MS = 250;
const PAUSE_MS = 10;

/** Milliseconds until a health probe is answered. */
export async function untilHealthy(url: string): Promise<number> {
  return (await healthyWithin(url, Number.POSITIVE_INFINITY)) ?? Number.NaN;
}

/** As `untilHealthy`; undefined where it took longer than `limitMs`. */
export async function healthyWithin(url: string, limitMs: number): Promise<number | undefined> {
  const began = performance.now();
  while (performance.now() - began < limitMs) {
    try {
      const answer = await fetch(`${url}/global/health`, { signal: AbortSignal.timeout(PROBE_MS) });
      if (((await answer.json()) as { healthy?: boolean }).healthy)
        return performance.now() - began;
    } catch {
      // Not yet.
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return undefined;
}
