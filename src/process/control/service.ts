/**
 * `server.control: service`: OpenCode 2's own background service, shared by its clients (opencode-2-facts, section
 * 1.5).
 *
 * Its clients start it again within a second of its end, and replace it if it does not answer. So only opencode's own
 * command ends and starts it, and a server that a client has started in the meantime is accepted as it is.
 */
import { existsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { registrationFiles } from '../../lib/registration-files.js';
import { whyMissing } from '../identity/binary.js';
import { describeProcess } from '../identity/describe.js';
import type { Finding } from '../identity/identity.js';
import { environmentOf, type ServerUser } from '../identity/user.js';
import { awaitHealth } from '../server/await-health.js';
import type { LocalOptions, Proven } from '../server/local-server.js';
import { type ProcessInfo, sameProcess } from '../table/process-table.js';
import { attached } from './attached.js';
import { CommandControl } from './command.js';
import {
  type AttachOptions,
  ControlError,
  type OnStarting,
  type ProcessIdentity,
  type RestartedServer,
  type StartedServer,
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

/** A build of opencode, and whose service it is. */
interface Build {
  /** What comes before `service restart`. */
  argv: readonly string[];
  user: ServerUser | undefined;
}

export class ServiceControl extends CommandControl {
  override readonly mode = 'service';
  /** Each claimed run continues by itself in the new server (section 6). */
  readonly resumesRuns = true;
  readonly #options: ServiceOptions;
  readonly #configured: Build;
  /** Each channel's build has a service of its own: another build's command would end that build's service. */
  #serving: Build | undefined;
  /** The server that was seen last, even if it has ended since. */
  #seen: ProcessIdentity | undefined;

  constructor(options: ServiceOptions) {
    const [program = 'opencode'] = options.command;
    super({
      ...options,
      // Its command starts it again, and root must not do that with another user's.
      owner: 'ours',
      restartCommand: [program, 'service', 'restart'],
      commandTimeoutMs: COMMAND_MS,
    });
    this.#options = options;
    this.#configured = { argv: [program], user: options.user };
  }

  override async attach(
    signal: AbortSignal,
    options?: AttachOptions,
  ): Promise<ProcessIdentity | null> {
    const identity = await super.attach(signal, options);
    if (identity) this.#seen = identity;
    return identity;
  }

  /** Read while the server is alive: after its end the kernel no longer knows its program. */
  protected override onFound({ server }: Proven): void {
    const argv = programOf(server);
    const { user } = this.#options;
    this.#serving = argv && { argv, user: server.uid === user?.uid ? user : undefined };
  }

  override async start(signal: AbortSignal, onStarting?: OnStarting): Promise<StartedServer> {
    onStarting?.();
    return (await this.#broughtUp(signal)) ?? this.#ensure(signal);
  }

  override async restart(signal: AbortSignal): Promise<RestartedServer> {
    const watched = this.#seen;
    const found = await this.#find();
    const isSame =
      found.kind === 'proven' && (watched === undefined || sameProcess(found.server, watched));
    if (isSame) return this.#restart(found, signal);
    // The server is gone, or a client has already replaced it: if the new one answers, the reason for the restart is over.
    this.local.letGo();
    const broughtUp = await this.#broughtUp(signal);
    if (broughtUp === undefined && found.kind === 'proven') return this.#restart(found, signal);
    const started = broughtUp ?? (await this.#ensure(signal));
    return { ...started, ...(watched && { oldPid: watched.pid }) };
  }

  async #restart(found: Proven, signal: AbortSignal): Promise<RestartedServer> {
    this.onFound(found);
    const { server } = found;
    if (this.#serving === undefined) {
      throw new ControlError(
        `${describeProcess(server)} is not the background service (\`opencode serve --service\`), which \`opencode service restart\` restarts: use server.control "auto"`,
        { serverAlive: true },
      );
    }
    const build = this.#build();
    if (build !== this.#serving) this.#refuseUnlessOnly(this.#serving);
    const { argv, user } = build;
    return this.restartWith([...argv, 'service', 'restart'], signal, user);
  }

  /** `service start` does nothing if a server already runs. @throws ControlError */
  async #ensure(signal: AbortSignal): Promise<StartedServer> {
    await this.#find();
    const { argv, user } = this.#build();
    return this.runCommand([...argv, 'service', 'start'], signal, undefined, user);
  }

  /** The build that serves; the configured one if none is known, or if an upgrade has taken its program away. */
  #build(): Build {
    if (this.#serving === undefined) return this.#configured;
    if (missingOf(this.#serving) === undefined) return this.#serving;
    return { ...this.#serving, argv: this.#configured.argv };
  }

  /**
   * The program of the service is gone. The configured build may end the service in its place only where it has no
   * other service to end. @throws ControlError
   */
  #refuseUnlessOnly(serving: Build): void {
    const { directory, env = process.env } = this.#options;
    const theirs = serving.user ? environmentOf(serving.user, env) : env;
    const files = registrationFiles(theirs);
    const why =
      files.length > 1
        ? `another channel's service is registered too (${files.join(', ')}), which the configured command might end: restart it yourself`
        : whyMissing(this.#configured.argv, theirs, directory);
    if (why === undefined) return;
    throw new ControlError(
      `the service's program ${missingOf(serving)} is gone, perhaps by an upgrade, and ${why}`,
      { serverAlive: true },
    );
  }

  /** @throws ControlError if somebody else's process holds the port */
  async #find(): Promise<Exclude<Finding, { kind: 'refused' }>> {
    const found = await this.local.find();
    if (found.kind !== 'refused') return found;
    const { message } = found;
    throw new ControlError(`the service is left alone: ${message}`, { serverAlive: 'unknown' });
  }

  async #broughtUp(signal: AbortSignal): Promise<StartedServer | undefined> {
    const { deps, clock, respawnMs = RESPAWN_MS } = this.#options;
    const outcome = await awaitHealth({ deps, clock, timeoutMs: respawnMs, signal });
    if (outcome.kind !== 'healthy') return undefined;
    return attached(this, outcome, signal);
  }
}

/** The path of the program that is not there any more; undefined if it can be started. */
function missingOf({ argv }: Build): string | undefined {
  return argv.find((word) => isAbsolute(word) && !existsSync(word));
}

/** The program of a service, with its script if a runtime runs it; undefined for a server that is no service. */
function programOf({ command, exe }: ProcessInfo): string[] | undefined {
  const [program, ...words] = command.slice(0, Math.max(0, command.indexOf('serve')));
  if (program === undefined || !command.includes('--service')) return undefined;
  return [exe ?? program, ...words];
}
