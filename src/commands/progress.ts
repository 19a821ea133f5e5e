/** One line on a terminal that says how far a batch is. Elsewhere it writes nothing. */
import type { WriteStream } from 'node:tty';

const WIDTH = 24;
const CLEAR_LINE = '\r\x1b[2K';

export class Progress {
  readonly #total: number;
  readonly #out: WriteStream;
  #ok = 0;
  #failed = 0;
  #running = 0;

  constructor(total: number, out: WriteStream = process.stderr) {
    this.#total = total;
    this.#out = out;
  }

  started(): void {
    this.#running += 1;
    this.#draw();
  }

  ended(ok: boolean): void {
    this.#running -= 1;
    if (ok) this.#ok += 1;
    else this.#failed += 1;
    this.#draw();
  }

  /** Writes something else to the terminal: the line is cleared before, and drawn again below. */
  async around(write: () => Promise<void>): Promise<void> {
    if (this.#out.isTTY) this.#out.write(CLEAR_LINE);
    await write();
    this.#draw();
  }

  end(): void {
    if (this.#out.isTTY) this.#out.write(CLEAR_LINE);
  }

  #draw(): void {
    if (!this.#out.isTTY) return;
    const done = this.#ok + this.#failed;
    const filled = Math.round((WIDTH * done) / Math.max(1, this.#total));
    const bar = `${'█'.repeat(filled)}${'░'.repeat(WIDTH - filled)}`;
    const words = `${done}/${this.#total}  ok ${this.#ok}  failed ${this.#failed}  running ${this.#running}`;
    this.#out.write(`${CLEAR_LINE}${bar} ${words}`);
  }
}
