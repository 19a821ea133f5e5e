/** No secret is ever shown: not in a log line, an answer, a file that others can read, or the list of processes. */
import { type Evidence, Law } from '../evidence.js';

export class NoSecret extends Law {
  readonly name = 'no secret printed';
  readonly #secrets: readonly { name: string; value: string }[];

  /** The planted values. Each is unlike anything else in the world. */
  constructor(secrets: Readonly<Record<string, string>>) {
    super();
    this.#secrets = Object.entries(secrets).flatMap(([name, value]) =>
      // A password is sent in this form, and might be shown in it.
      [value, Buffer.from(`opencode:${value}`).toString('base64')].map((form) => ({
        name,
        value: form,
      })),
    );
  }

  take(e: Evidence): void {
    if (e.kind === 'shown') this.#look(e.at, e.where, e.text);
    else if (e.kind === 'log')
      this.#look(e.at, `the log (${e.line.event})`, JSON.stringify(e.line));
    else if (e.kind === 'log.broken') this.#look(e.at, 'the log', e.text);
    else if (e.kind === 'daemon.ended') this.#look(e.at, 'stderr', e.stderr);
  }

  #look(at: number, where: string, text: string): void {
    for (const { name, value } of this.#secrets) {
      this.check(!text.includes(value), at, `the ${name} is shown in ${where}`);
    }
  }
}
