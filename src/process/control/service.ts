/**
 * `server.control: service`: OpenCode 2's own background service, shared by its clients (opencode-2-facts, section
 * 1.5).
 *
 * Its clients start it again within a second of its end, and replace it if it does not answer. So only opencode's own
 * command ends and starts it, and a server that a client has started in the meantime is accepted as it is.
 */
import { awaitHealth } from '../server/await-health.js';
import type { LocalOptions } from '../server/local-server.js';
import { sameProcess } from '../table/process-table.js';
import { attached } from './attached.js';
import { CommandControl } from './command.js';
import type {
  AttachOptions,
  OnStarting,
  ProcessIdentity,
  RestartedServer,
  StartedServer,
} from './control.js';

/**
 * How long a client gets to start the server again. An open client takes about a second; its own timeout is far longer.
 */
const RESPAWN_MS = 5_000;
/** `opencode service restart` waits up to 120 s in all for the new server (section 1.5), and needs a moment itself. */
const COMMAND_MS = 130_000;

export interface ServiceOptions extends LocalOptions {
  /** For tests. Default: 5 s. */
  respawnMs?: number;
}

export class ServiceControl extends CommandControl {
  override readonly mode = 'service';
  /** Each claimed run continues by itself in the new server (section 6). */
  readonly resumesRuns = true;
  readonly #options: ServiceOptions;
  readonly #program: string;
  /** The server that was seen last, even if it has ended since. */
  #seen: ProcessIdentity | undefined;

  constructor(options: ServiceOptions) {
    const [program = 'opencode'] = options.command;
    super({
      ...options,
      restartCommand: [program, 'service', 'restart'],
      commandTimeoutMs: COMMAND_MS,
    });
    this.#options = options;
    this.#program = program;
  }

  override async attach(
    signal: AbortSignal,
    options?: AttachOptions,
  ): Promise<ProcessIdentity | null> {
    const identity = await super.attach(signal, options);
    if (identity) this.#seen = identity;
    return identity;
  }

  override async start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    onStarting?.();
    return (await this.#broughtUp(signal)) ?? this.#ensure(signal);
  }

  override async restart(signal: AbortSignal): Promise<RestartedServer> {
    const watched = this.#seen;
    const found = await this.local.find();
    const isSame =
      found.kind === 'proven' && (watched === undefined || sameProcess(found.server, watched));
    if (isSame) return super.restart(signal);
    // The server is gone, or a client has already replaced it: if the new one answers, the reason for the restart is over.
    this.local.letGo();
    const broughtUp = await this.#broughtUp(signal);
    if (broughtUp === undefined && found.kind === 'proven') return super.restart(signal);
    const started = broughtUp ?? (await this.#ensure(signal));
    return { ...started, ...(watched && { oldPid: watched.pid }) };
  }

  /** `service start` does nothing if a server already runs. */
  #ensure(signal: AbortSignal): Promise<StartedServer> {
    return this.runCommand([this.#program, 'service', 'start'], signal, undefined);
  }

  async #broughtUp(signal: AbortSignal): Promise<StartedServer | undefined> {
    const { deps, clock, respawnMs = RESPAWN_MS } = this.#options;
    const outcome = await awaitHealth({ deps, clock, timeoutMs: respawnMs, signal });
    if (outcome.kind !== 'healthy') return undefined;
    return attached(this, outcome, signal);
  }
}
