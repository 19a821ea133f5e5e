/** Ends several things in order; one that fails keeps none of the others from being ended. */

export interface Ending {
  /** For the error's line: "closing the status endpoint". */
  doing: string;
  end(): unknown;
}

/** Settles when all have been ended or have failed; never rejects. */
export async function endAll(
  endings: readonly Ending[],
  onError: (error: unknown, doing: string) => void,
): Promise<void> {
  for (const { doing, end } of endings) {
    try {
      await end();
    } catch (error) {
      onError(error, doing);
    }
  }
}
