/** Chooses the control: the configured one, or for `auto` the one that fits the situation, with the reason. */

import { describeProcess } from '../identity/describe.js';
import type { Finding } from '../identity/identity.js';
import { type LocalOptions, LocalServer } from '../server/local-server.js';
import { isLocalHost } from '../table/port.js';
import { AdoptControl } from './adopt.js';
import { CommandControl } from './command.js';
import { ControlError, type ControlMode, type ServerControl } from './control.js';
import { ExternalControl } from './external.js';
import { ObserveControl } from './observe.js';
import { ServiceControl } from './service.js';
import { SpawnControl } from './spawn.js';

export interface ControlFacts {
  /** The URL's host is this machine (or this network namespace). */
  local: boolean;
  /** Something answers at the URL. */
  answers: boolean;
  /** The answer is not understood: the server may not be opencode at all. */
  strange?: boolean;
  found: Finding;
  /** An earlier daemon of ours started, by `server.command`, a server that is still alive. */
  ours: boolean;
  /** An earlier daemon of ours restarted a server of somebody else as its owner had started it, and it is still alive. */
  adopted?: boolean;
}

export interface Choice {
  mode: ControlMode;
  /** One sentence for the log. */
  reason: string;
}

export function chooseControl(mode: ControlMode | 'auto', facts: ControlFacts): Choice {
  if (mode !== 'auto') return { mode, reason: 'configured as server.control' };
  const { local, answers, strange = false, found, ours, adopted = false } = facts;
  if (!local) {
    return {
      mode: 'observe',
      reason: 'the server is on another host, where no process can be seen or signalled',
    };
  }
  if (ours) return { mode: 'spawn', reason: 'an earlier run of this daemon started the server' };
  // Once it listens it is proven, as any other server is. Until then nothing shows how its owner started it but itself.
  if (adopted && found.kind !== 'proven') {
    return {
      mode: 'adopt',
      reason: 'an earlier run of this daemon restarted the server as its owner had started it',
    };
  }
  switch (found.kind) {
    case 'proven':
      if (found.server.command.includes('--service')) {
        return {
          mode: 'service',
          reason: `${describeProcess(found.server)} is OpenCode's own background service, which its clients bring up again`,
        };
      }
      return found.role === 'tui'
        ? {
            mode: 'observe',
            reason: `${describeProcess(found.server)} belongs to the person at its terminal`,
          }
        : { mode: 'adopt', reason: `opencode runs already: ${describeProcess(found.server)}` };
    case 'refused':
      // If nothing healthy answers, the port may become free. Until then every start reports who holds it.
      return (answers && !strange) || found.why === 'pid1' || found.why === 'inside'
        ? { mode: 'observe', reason: found.message }
        : { mode: 'spawn', reason: `nothing healthy answers; ${found.message}` };
    case 'nobody':
      return answers
        ? {
            mode: 'observe',
            reason:
              'a server answers, but no process that can be seen listens: it may run in a container (use "docker", "external" or "command") or in another network namespace',
          }
        : { mode: 'spawn', reason: 'nothing answers at the URL' };
  }
}

export interface CreateOptions extends LocalOptions {
  mode: ControlMode | 'auto';
  /** For `command`. */
  restartCommand?: readonly string[];
  restartCommandTimeoutMs?: number;
  /** For `docker`. */
  container?: string;
  dockerSocket?: string;
}

export interface CreatedControl extends Choice {
  control: ServerControl;
}

const DEFAULT_COMMAND_TIMEOUT_MS = 60_000;

/** @throws ControlError if the mode lacks what it needs */
export async function createControl(
  options: CreateOptions,
  signal: AbortSignal,
): Promise<CreatedControl> {
  const choice = chooseControl(options.mode, await gatherFacts(options, signal));
  return { ...choice, control: await build(choice, options) };
}

async function gatherFacts(options: CreateOptions, signal: AbortSignal): Promise<ControlFacts> {
  if (options.mode !== 'auto') {
    return { local: true, answers: false, found: { kind: 'nobody' }, ours: false };
  }
  const server = new LocalServer(options);
  const local = await isLocalHost(server.host);
  const answer = await options.deps.isHealthy(signal);
  const found = await server.find();
  const launched = await server.booting();
  const adopted = launched?.adopted === true;
  // Nothing is taken over here: the chosen control checks again.
  server.release();
  return {
    local,
    answers: answer !== null,
    strange: answer?.strange !== undefined,
    found,
    ours: launched !== undefined && !adopted,
    adopted,
  };
}

async function build(choice: Choice, options: CreateOptions): Promise<ServerControl> {
  switch (choice.mode) {
    case 'spawn':
      return new SpawnControl(options);
    case 'adopt':
      return new AdoptControl(options);
    case 'external':
      return new ExternalControl(options);
    case 'service':
      return new ServiceControl(options);
    case 'observe':
      return new ObserveControl(options, choice.reason);
    case 'command': {
      const { restartCommand, restartCommandTimeoutMs: commandTimeoutMs } = options;
      if (!restartCommand?.length) throw missing('command', 'a restart command');
      return new CommandControl({
        ...options,
        restartCommand,
        commandTimeoutMs: commandTimeoutMs ?? DEFAULT_COMMAND_TIMEOUT_MS,
      });
    }
    case 'docker': {
      const { container, dockerSocket: socketPath } = options;
      if (!container) throw missing('docker', "the container's name");
      // Loaded only if it is used.
      const { DockerControl } = await import('./docker.js');
      return new DockerControl({ ...options, container, ...(socketPath && { socketPath }) });
    }
  }
}

function missing(mode: ControlMode, what: string): ControlError {
  return new ControlError(`server.control "${mode}" needs ${what} in the configuration`, {
    serverAlive: false,
  });
}
