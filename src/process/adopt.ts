/**
 * `server.control: adopt`: somebody else started the server; it is watched, and when it must be restarted, its
 * successor is ours, with the same command line, working directory and environment.
 */
import { awaitHealth } from './await-health.js';
import { ControlError, type RestartedServer, type StartedServer } from './control.js';
import { describeProcess } from './describe.js';
import { LocalControl } from './local-control.js';
import type { Proven } from './local-server.js';
import { configuredRecipe, type ReadRecipe, type Recipe, readRecipe } from './recipe.js';

export class AdoptControl extends LocalControl {
  readonly mode = 'adopt';
  #read: ReadRecipe | undefined;
  #person: string | undefined;

  /** False for an opencode with its terminal face: it belongs to the person in front of it. */
  override get acts(): boolean {
    return this.#person === undefined;
  }

  async start(signal: AbortSignal): Promise<StartedServer> {
    this.#refusePerson();
    if (this.#read) return this.startBy(this.#recipe(this.#read), signal);
    return this.#waitForOne(signal);
  }

  async restart(signal: AbortSignal): Promise<RestartedServer> {
    const found = await this.local.find();
    if (found.kind === 'proven') this.onFound(found);
    this.#refusePerson();
    if (found.kind === 'nobody' && !this.#read) {
      throw new ControlError('the server is not restarted: no opencode was found to adopt', {
        serverAlive: false,
      });
    }
    const fallback = configuredRecipe(this.local.options);
    return this.restartBy(this.#read ? this.#recipe(this.#read) : fallback, signal);
  }

  /** Read while it lives: after its end the kernel has forgotten how it was started. */
  protected override onFound({ server, wrappers, role }: Proven): void {
    // What our own wrapper started is restarted by the wrapper's command, as the user typed it.
    this.#read = readRecipe(wrappers.at(-1) ?? server, configuredRecipe(this.local.options));
    const person = role === 'tui' ? describeProcess(server) : undefined;
    if (person && !this.#person) {
      this.notice(
        'warn',
        `${person} is opencode with its terminal face: it is watched, not restarted`,
      );
    }
    this.#person = person;
  }

  #recipe({ recipe, missing }: ReadRecipe): Recipe {
    if (missing.length > 0) {
      this.notice('warn', `could not read of the old server: ${missing.join(', ')}`, { missing });
    }
    return recipe;
  }

  #refusePerson(): void {
    if (this.#person === undefined) return;
    throw new ControlError(
      `${this.#person} is opencode with its terminal face, which only the person in front of it can restart; for a server without one start \`opencode serve\``,
      { serverAlive: true },
    );
  }

  async #waitForOne(signal: AbortSignal): Promise<StartedServer> {
    const { deps, clock, startTimeoutMs } = this.local.options;
    const outcome = await awaitHealth({ deps, clock, timeoutMs: startTimeoutMs, signal });
    const { tookMs } = outcome;
    if (outcome.kind !== 'healthy') {
      throw new ControlError(
        `no opencode to adopt: nothing answered within ${startTimeoutMs} ms, and server.control "adopt" starts none; start it, or use "auto" or "spawn"`,
        { serverAlive: false },
      );
    }
    const identity = await this.attach(signal);
    const { version } = outcome;
    return {
      tookMs,
      ...(identity && { pid: identity.pid }),
      ...(version !== undefined && { version }),
    };
  }
}
