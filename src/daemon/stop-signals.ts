/**
 * What a signal does to the daemon: it names the runs that end with the server, and stops.
 *
 * On a terminal, a Ctrl-C that would cut healthy runs asks for a second one, because the person may not have meant to
 * cut them.
 */
import type { SessionFacts } from '../status/source.js';
import type { Telemetry } from '../telemetry/logger.js';

/** Nobody would miss a run that is over a limit already. */
const UNHEALTHY: ReadonlySet<string> = new Set(['stuck', 'wedged']);
/** At most this many are named in the question. */
const NAMED = 5;

export interface StopSignalsOptions {
  telemetry: Telemetry;
  /** True on a terminal: a person stops the daemon there and reads what it prints. */
  isTerminal: boolean;
  /** The runs that would end now. */
  cut(): Promise<SessionFacts[]>;
  ask(question: string): void;
  /** Called once. */
  stop(signal: string): void;
}

export class StopSignals {
  readonly #o: StopSignalsOptions;
  #asked = false;
  #told: string | undefined;

  constructor(options: StopSignalsOptions) {
    this.#o = options;
  }

  /** The signal that ended the daemon. Undefined if none has. */
  get told(): string | undefined {
    return this.#told;
  }

  /**
   * To be called when a signal has come. A further signal changes nothing: stopping takes a bounded time, and half a
   * stop leaves orphans.
   */
  async came(signal: string): Promise<void> {
    if (this.#told !== undefined) return;
    const mayAsk = this.#o.isTerminal && signal === 'SIGINT' && !this.#asked;
    if (mayAsk) this.#asked = true;
    else this.#told = signal;
    const cut = await this.#cut();
    // A second Ctrl-C has stopped the daemon already while the first one was being considered.
    if (mayAsk && this.#told !== undefined) return;
    const healthy = cut.filter(({ health }) => !UNHEALTHY.has(health));
    if (mayAsk && healthy.length > 0) {
      this.#o.ask(question(healthy));
      return;
    }
    this.#told = signal;
    const interrupted = cut.map(({ sessionID }) => sessionID);
    this.#o.telemetry.emit('daemon.stopping', { signal, interrupted });
    this.#o.stop(signal);
  }

  /** If the runs cannot be found out, none is named: that is no reason not to stop. */
  async #cut(): Promise<SessionFacts[]> {
    try {
      return await this.#o.cut();
    } catch (err) {
      this.#o.telemetry.emit('error', { err, doing: 'naming the runs that end with the server' });
      return [];
    }
  }
}

function question(healthy: readonly SessionFacts[]): string {
  const names = healthy.slice(0, NAMED).map(({ title, sessionID }) => title ?? sessionID);
  const more = healthy.length > NAMED ? ` and ${healthy.length - NAMED} more` : '';
  const what = healthy.length === 1 ? 'a run is' : `${healthy.length} runs are`;
  return `${what} at work and would be cut: ${names.join(', ')}${more}. Ctrl-C again stops all the same; server.onExit: leave keeps the server.`;
}
