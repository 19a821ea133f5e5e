/** What the person at the terminal reads: the story, the daemon's log lines beneath it, the summary. */
import type { LogLine } from './daemon.js';
import { table } from './table.js';

/** Lines that are true and useful, but not what the demo is about. */
const UNTOLD = new Set([
  'daemon.started',
  'daemon.stopping',
  'daemon.stopped',
  'health.summary',
  'server.notice',
  'server.output',
  'stream.connected',
  'stream.lost',
]);

const MIN_WIDTH = 60;
const MAX_WIDTH = 110;

/** Something did not go as the demo says it goes. */
export class NotAsTold extends Error {}

/** One row of the summary. */
export interface Outcome {
  happened: string;
  did: string;
  evidence: string[];
}

export class Narrator {
  readonly #colour: boolean;
  readonly #width: number;
  #muted = false;

  constructor(
    private readonly out: NodeJS.WriteStream,
    env: NodeJS.ProcessEnv,
  ) {
    // NO_COLOR counts if it is set and not empty (no-color.org).
    this.#colour = out.isTTY === true && !env.NO_COLOR;
    // A terminal may claim to have no columns at all.
    this.#width = Math.max(MIN_WIDTH, Math.min(out.columns || MAX_WIDTH, MAX_WIDTH));
  }

  say(...lines: string[]): void {
    this.out.write(`${lines.join('\n')}\n`);
  }

  act(title: string): void {
    this.say(`\n${this.#paint(1, `== ${title}`)}`);
  }

  /** Prints a line of the daemon's log as the daemon wrote it, with titles instead of ids. */
  log(line: LogLine): void {
    if (this.#muted || UNTOLD.has(line.event)) return;
    // Periodic health lines repeat what is known; a change has `previous`.
    if (line.event === 'session.health' && line.previous === undefined) return;
    const { sessionID, title } = line;
    const msg = sessionID && title ? line.msg.replaceAll(sessionID, `"${title}"`) : line.msg;
    const time = new Date(line.time).toLocaleTimeString('en-GB');
    const head = `    ${time} ${line.level.toUpperCase().padEnd(5)} ${line.event.padEnd(19)}`;
    this.say(this.#paint(2, `${head} ${msg}`));
  }

  /** To be called when the story is over: what the daemon logs after that is about its stop. */
  mute(): void {
    this.#muted = true;
  }

  /** Prints a claim and whether it held. @throws NotAsTold if it did not */
  told(claim: string, held: boolean): void {
    this.say(`  ${held ? this.#paint(32, '✓') : this.#paint(31, '✗')} ${claim}`);
    if (!held) throw new NotAsTold(claim);
  }

  summary(outcomes: readonly Outcome[]): void {
    this.say(`\n${this.#paint(1, '== Summary')}`);
    const rows = outcomes.map(({ happened, did, evidence }) => [
      happened,
      did,
      evidence.join('; '),
    ]);
    this.say(
      table(
        ['what happened', 'what the watchdog did', 'evidence'],
        [0.25, 0.3, 0.45],
        rows,
        this.#width,
      ),
    );
  }

  problem(text: string): void {
    this.say(this.#paint(31, text));
  }

  #paint(code: number, text: string): string {
    return this.#colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}
