/** Ends several things in order. If one fails, the others are still ended. */

export interface EndStep {
  /** For the error's line: "closing the status endpoint". */
  doing: string;
  end(): unknown;
}

/** Settles when all have been ended or have failed; never rejects. */
export async function endAll(
  steps: readonly EndStep[],
  onError: (error: unknown, doing: string) => void,
): Promise<void> {
  for (const { doing, end } of steps) {
    try {
      await end();
    } catch (error) {
      onError(error, doing);
    }
  }
}
