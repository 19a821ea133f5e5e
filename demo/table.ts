/** A plain text table whose cells wrap, so that it fits the terminal. */

const GAP = '  ';

/** `shares` says how the width is divided between the columns. */
export function table(
  head: readonly string[],
  shares: readonly number[],
  rows: readonly (readonly string[])[],
  width: number,
): string {
  const room = width - GAP.length * (head.length - 1);
  const widths = shares.map((share) => Math.floor(room * share));
  const rule = widths.map((each) => '-'.repeat(each));
  return [head, rule, ...rows.flatMap((row, index) => (index === 0 ? [row] : [[], row]))]
    .flatMap((row) => lines(row, widths))
    .join('\n');
}

function lines(row: readonly string[], widths: readonly number[]): string[] {
  const cells = widths.map((width, column) => wrap(row[column] ?? '', width));
  const height = Math.max(1, ...cells.map((cell) => cell.length));
  return Array.from({ length: height }, (_, line) =>
    widths
      .map((width, column) => (cells[column]?.[line] ?? '').padEnd(width))
      .join(GAP)
      .trimEnd(),
  );
}

/** Breaks between words; a word longer than the width stands alone and sticks out. */
function wrap(text: string, width: number): string[] {
  const wrapped: string[] = [];
  for (const word of text.split(' ')) {
    const last = wrapped.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      wrapped[wrapped.length - 1] = `${last} ${word}`;
    } else {
      wrapped.push(word);
    }
  }
  return wrapped;
}
