/** Splits incoming text into lines. Of an overlong line only the beginning is kept and passed on. */
export class Lines {
  readonly #maxChars: number;
  readonly #onLine: (line: string) => void;
  #pending = '';
  #tooLong = false;

  constructor(maxChars: number, onLine: (line: string) => void) {
    this.#maxChars = maxChars;
    this.#onLine = onLine;
  }

  push(text: string): void {
    const lines = (this.#pending + text).split('\n');
    this.#pending = lines.pop() ?? '';
    for (const line of lines) {
      // The beginning of an overlong line was passed on when it grew too long.
      if (!this.#tooLong) this.#onLine(line);
      this.#tooLong = false;
    }
    if (this.#pending.length > this.#maxChars) {
      if (!this.#tooLong) this.#onLine(this.#pending);
      this.#tooLong = true;
      this.#pending = '';
    }
  }

  /** Passes on the unfinished last line, if there is one. */
  end(): void {
    if (this.#pending !== '' && !this.#tooLong) this.#onLine(this.#pending);
    this.#pending = '';
  }
}
