/** Says what was tried, what came of it and what was measured. */
const counts = { ok: 0, failed: 0, skipped: 0 };

export function part(name) {
  console.log(`\n${name}`);
}

/** A check that throws has failed; the others go on. */
export async function check(name, run) {
  const began = Date.now();
  try {
    const note = await run();
    counts.ok += 1;
    const took = `${((Date.now() - began) / 1000).toFixed(1)} s`;
    console.log(`  ok    ${name}${note ? ` (${note})` : ''} [${took}]`);
    return true;
  } catch (error) {
    counts.failed += 1;
    console.log(
      `  FAIL  ${name}\n        ${String(error?.stack ?? error).replaceAll('\n', '\n        ')}`,
    );
    return false;
  }
}

export function skip(name, reason) {
  counts.skipped += 1;
  console.log(`  skip  ${name}: ${reason}`);
}

export function measured(what, value) {
  console.log(`  =     ${what}: ${value}`);
}

export function assert(truth, message) {
  if (!truth) throw new Error(message);
}

/** @returns the exit code */
export function summary() {
  const { ok, failed, skipped } = counts;
  console.log(`\n${ok} ok, ${failed} failed, ${skipped} skipped`);
  return failed > 0 ? 1 : 0;
}
