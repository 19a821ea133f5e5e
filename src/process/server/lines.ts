/** Splits text into lines as it comes. Of a line that goes on without end only the beginning is given, and kept. */
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
      // The head of an overlong line was given when it grew too long.
      if (!this.#tooLong) this.#onLine(line);
      this.#tooLong = false;
    }
    if (this.#pending.length > this.#maxChars) {
      if (!this.#tooLong) this.#onLine(this.#pending);
      this.#tooLong = true;
      this.#pending = '';
    }
  }

  /** Gives the unfinished last line, where there is one. */
  end(): void {
    if (this.#pending !== '' && !this.#tooLong) this.#onLine(this.#pending);
    this.#pending = '';
  }
}
